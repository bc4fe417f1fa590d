-- Heads that differ in path, query and cookie, twenty thousand of them one after the other.
local requests, at = {}, 0

function init(args)
  for n = 1, 20000 do
    wrk.headers["Cookie"] = "session=6f1d2b9c8a7e4f" .. n .. "; theme=dark"
    requests[n] = wrk.format("GET", "/assets/" .. n .. "/app.js?v=" .. n)
  end
end

function request()
  at = at + 1
  if at > #requests then at = 1 end
  return requests[at]
end
