-- POST with a body of so many bytes.
function init(args)
  wrk.method = "POST"
  wrk.body = string.rep("x", tonumber(args[1]))
  wrk.headers["Content-Type"] = "application/octet-stream"
  whole = wrk.format()
end

function request()
  return whole
end
