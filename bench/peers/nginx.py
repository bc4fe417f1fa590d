"""nginx: as a static proxy, with an upstream for each host, and with Lua that routes by a shared dictionary with Redis behind it.

Response and request buffering are off, as a proxy of event streams and uploads needs them. The Lua variant checks the
name by a pattern, looks it up, asks Redis on a miss, and picks the backend in `balancer_by_lua`.
"""

import subprocess
from pathlib import Path

from bench.backend import address_of
from bench.peers import LIVE, Ground, Peer
from tests.support.processes import Process

CONNECTIONS = 50_000  # of clients and backends, for which nginx has room from its start
_MODULES = Path("/usr/lib/nginx/modules")

_MAIN = """
worker_processes 1;
worker_rlimit_nofile 60000;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
{modules}
events {{ worker_connections {connections}; }}
http {{
  log_format line escape=json '{{"ts":"$time_iso8601","request_id":"$request_id","client":"$remote_addr",'
    '"method":"$request_method","scheme":"$scheme","host":"$host","path":"$request_uri","bytes_in":$request_length,'
    '"bytes_out":$body_bytes_sent,"duration":$request_time,"first_byte":"$upstream_header_time",'
    '"http":"$server_protocol","status":$status,"backend":"$upstream_addr","ua":"$http_user_agent",'
    '"referer":"$http_referer"}}';
  access_log {folder}/nginx-access.log line buffer=64k flush=1s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  client_max_body_size 0;
  keepalive_requests 100000000;
  map_hash_max_size 65536;
  map_hash_bucket_size 128;
  map $http_upgrade $hop {{ default upgrade; '' ''; }}
  proxy_http_version 1.1;
  proxy_buffering off;
  proxy_request_buffering off;
  proxy_read_timeout 3600s;
  proxy_set_header Connection $hop;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Request-ID $request_id;
  {routing}
}}
"""

_STATIC = """
  upstream static {{ server 127.0.0.1:{static}; keepalive 512; keepalive_requests 100000000; }}
  upstream live {{ server 127.0.0.1:{live}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096 default_server;
    location / {{ proxy_pass http://static; }}
  }}
  server {{
    listen 127.0.0.1:{port};
    server_name {live_name};
    location / {{ proxy_pass http://live; }}
  }}
"""

# One pool of connections for each host, as ours has: the fair peer where there are many.
_PER_HOST = """
  map $host $of_host {{ default static; {live_name} live; {names} }}
  upstream static {{ server 127.0.0.1:{static}; keepalive 512; keepalive_requests 100000000; }}
  upstream live {{ server 127.0.0.1:{live}; keepalive 512; keepalive_requests 100000000; }}
  {upstreams}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://$of_host; }}
  }}
"""

_LUA = """
  lua_shared_dict routes 20m;
  lua_package_path "{folder}/?.lua;/usr/share/lua/5.1/?.lua;;";
  upstream looked_up {{
    server 0.0.0.1;
    balancer_by_lua_block {{
      local target = ngx.ctx
      local ok, why = require("ngx.balancer").set_current_peer(target.address, target.port)
      if not ok then ngx.log(ngx.ERR, why) return ngx.exit(502) end
    }}
    keepalive 512;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      access_by_lua_block {{ require("bench_routes").find({lifetime}, {redis}) }}
      proxy_pass http://looked_up;
    }}
  }}
"""

# Debian has no lua-resty-redis; GET is all that is asked.
_ROUTES = r"""
local routes = ngx.shared.routes
local find = ngx.re.find
local M = {}

local function ask(host, port)
  local redis = ngx.socket.tcp()
  redis:settimeout(250)
  local ok = redis:connect("127.0.0.1", port)
  if not ok then return ngx.exit(503) end
  redis:send("*2\r\n$3\r\nGET\r\n$" .. (#host + 6) .. "\r\nbench:" .. host .. "\r\n")
  local size = redis:receive()
  if not size then return ngx.exit(503) end
  local value
  if size ~= "$-1" then value = redis:receive(tonumber(size:sub(2)) + 2) end
  redis:setkeepalive(30000, 64)
  return value and tonumber((value:sub(1, -3)))
end

function M.find(lifetime, redis)
  local host = ngx.var.host  -- in lower case, without a port
  if not host or not find(host, [[^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]+$]], "jo") then
    return ngx.exit(400)
  end
  local address, port = routes:get(host)
  if not address then
    port = ask(host, redis)
    if not port then return ngx.exit(404) end
    address = "127.0.0.1"
    if lifetime > 0 then routes:set(host, address, lifetime, port) end
  end
  local target = ngx.ctx
  target.address, target.port = address, port
end

return M
"""


def _version() -> str:
    return subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip().rpartition("/")[2]


def _start(ground: Ground, routing: str, modules: str, connections: int = CONNECTIONS) -> Peer:
    file = ground.folder / "nginx.conf"
    file.write_text(_MAIN.format(folder=ground.folder, routing=routing, modules=modules, connections=connections))
    process = Process(["nginx", "-c", file, "-p", ground.folder], ground.folder / "nginx.log")
    return Peer(process, f"nginx {_version()}")


def start_static(ground: Ground, connections: int = CONNECTIONS) -> Peer:
    """nginx with its backends in the configuration, and room for so many connections."""
    routing = _STATIC.format(port=ground.port, static=ground.static, live=ground.live, live_name=LIVE)
    return _start(ground, routing, "", connections)


def start_per_host(ground: Ground) -> Peer:
    """nginx with an upstream for each of the hosts, each with connections of its own."""
    routing = _PER_HOST.format(
        port=ground.port,
        static=ground.static,
        live=ground.live,
        live_name=LIVE,
        names="\n".join(f"{name} of_{number};" for number, name in enumerate(ground.hosts)),
        upstreams="\n".join(
            f"upstream of_{number} {{ server {address_of(number)}:{ground.static}; keepalive 16; keepalive_requests 100000000; }}"
            for number in range(len(ground.hosts))
        ),
    )
    return _start(ground, routing, "")


def start_lua(ground: Ground, *, lifetime: int = 60) -> Peer:
    """nginx with Lua. `lifetime` in seconds is how long a route is kept; 0 asks Redis each time."""
    names = ("ndk_http_module.so", "ngx_http_lua_module.so")
    for name in names:
        if not (_MODULES / name).exists():
            raise FileNotFoundError(f"{_MODULES / name}: libnginx-mod-http-lua is not installed")
    (ground.folder / "bench_routes.lua").write_text(_ROUTES)
    routing = _LUA.format(folder=ground.folder, port=ground.port, lifetime=lifetime, redis=ground.redis)
    peer = _start(ground, routing, "".join(f"load_module {_MODULES / name};\n" for name in names))
    return Peer(peer.process, f"{peer.version} + Lua module")
