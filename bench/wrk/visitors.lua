-- Heads from a file, one after the other: FILE START. No two of them are alike (bench/visitors.py).
local requests, at = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  local from = 1
  while true do
    local _, to = text:find("\r\n\r\n", from, true)
    if not to then break end
    requests[#requests + 1] = text:sub(from, to)
    from = to + 1
  end
  at = tonumber(args[2]) % #requests
end

function request()
  at = at + 1
  if at > #requests then at = 1 end
  return requests[at]
end
