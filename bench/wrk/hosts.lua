-- Requests to many hosts: ORDER PREFIX SUFFIX COUNT. `zipf`: the n-th most popular is asked for 1/n as often as the
-- first; `each`: one after the other; `fresh`: names that nobody has asked for before, of those that don't exist.
local requests, order, at = {}, {}, 0

function init(args)
  local mode, prefix, suffix, count = args[1], args[2], args[3], tonumber(args[4])
  local path = args[5] or "/"
  for n = 0, count - 1 do
    wrk.headers["Host"] = prefix .. n .. suffix
    requests[n + 1] = wrk.format("GET", (path:gsub("HOST", wrk.headers["Host"])))
  end
  if mode == "zipf" then
    local sums, sum = {}, 0
    for n = 1, count do
      sum = sum + 1 / n
      sums[n] = sum
    end
    math.randomseed(1)
    for i = 1, 262144 do
      local x, low, high = math.random() * sum, 1, count
      while low < high do
        local middle = math.floor((low + high) / 2)
        if sums[middle] < x then low = middle + 1 else high = middle end
      end
      order[i] = low
    end
  else
    for n = 1, count do order[n] = n end
  end
  at = mode == "each" and tonumber(args[6] or 0) or 0
end

function request()
  at = at + 1
  if at > #order then at = 1 end
  return requests[order[at]]
end
