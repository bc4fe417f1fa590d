"""haproxy with a map from Host to backend. It has no buffer for log lines to a file: each is a write to its output."""

import resource
import subprocess

from bench.peers import LIVE, STATIC, Ground, Peer
from tests.support.processes import Process

_CONFIG = """
global
  nbthread 1
  maxconn {most}
  log stdout len 2048 format raw local0
defaults
  mode http
  log global
  option http-keep-alive
  http-reuse always
  option forwardfor
  timeout connect 2s
  timeout client 300s
  timeout server 300s
  timeout http-request 10s
  timeout http-keep-alive 75s
  timeout tunnel 1h
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  log-format '{{"ts":"%tr","request_id":"%ID","client":"%ci","method":"%HM","host":"%[capture.req.hdr(0),json(ascii)]","path":"%[capture.req.uri,json(ascii)]","bytes_in":%U,"bytes_out":%B,"duration_ms":%Ta,"first_byte_ms":%Tr,"http":"%HV","status":%ST,"ending":"%ts","backend":"%si:%sp","tries":%rc,"ua":"%[capture.req.hdr(1),json(ascii)]","referer":"%[capture.req.hdr(2),json(ascii)]"}}'
frontend all
  bind 127.0.0.1:{port} backlog 4096
  http-request capture req.hdr(Host) len 128
  http-request capture req.hdr(User-Agent) len 256
  http-request capture req.hdr(Referer) len 256
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Port {port}
  use_backend %[req.hdr(host),field(1,:),lower,map_str({folder}/hosts.map)]
backend static
  server one 127.0.0.1:{static} pool-max-conn 512
backend live
  server one 127.0.0.1:{live} pool-max-conn 512
"""


def start(ground: Ground) -> Peer:
    """haproxy on `ground`."""
    names = {STATIC: "static", LIVE: "live", **dict.fromkeys(ground.hosts, "static")}
    (ground.folder / "hosts.map").write_text("".join(f"{name} {backend}\n" for name, backend in names.items()))
    file = ground.folder / "haproxy.cfg"
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2  # it does not start where it could not keep them
    file.write_text(
        _CONFIG.format(folder=ground.folder, port=ground.port, static=ground.static, live=ground.live, most=most)
    )
    said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    return Peer(
        Process(["haproxy", "-db", "-f", file], ground.folder / "haproxy-access.log"), f"haproxy {said.split()[2]}"
    )
