"""Caddy as a reverse proxy with its JSON access log in a file; and in front of another proxy, ending TLS."""

import subprocess

from bench.peers import LIVE, STATIC, Ground, Peer
from tests.support.processes import BIN, Process

_GLOBAL = """{{
	admin off
	auto_https {auto}
	persist_config off
	skip_install_trust
	storage file_system {folder}/storage
}}
"""

_PLAIN = """
http://:{port} {{
	log {{
		output file {folder}/caddy-access.log
	}}
	@live host {live_name}
	reverse_proxy @live 127.0.0.1:{live} {{
		flush_interval -1
		header_up X-Request-ID {{http.request.uuid}}
	}}
	reverse_proxy 127.0.0.1:{static} {{
		header_up X-Request-ID {{http.request.uuid}}
	}}
}}
"""

_TLS = """
https://*.{domain}:{port} {{
	tls internal
	log {{
		output file {folder}/caddy-access.log
	}}
	reverse_proxy 127.0.0.1:{static}
}}
"""


def _start(ground: Ground, text: str) -> Peer:
    file = ground.folder / "Caddyfile"
    file.write_text(text)
    environment = {"HOME": str(ground.folder), "XDG_CONFIG_HOME": str(ground.folder), "GOMAXPROCS": "1"}
    process = Process([BIN / "caddy", "run", "--config", file], ground.folder / "caddy.log", environment)
    said = subprocess.run([BIN / "caddy", "version"], capture_output=True, text=True, check=True).stdout
    return Peer(process, f"Caddy {said.split()[0]}")


def start(ground: Ground) -> Peer:
    """Caddy without TLS."""
    words = {"folder": ground.folder, "port": ground.port, "static": ground.static, "live": ground.live}
    return _start(ground, (_GLOBAL + _PLAIN).format(auto="off", live_name=LIVE, **words))


def start_tls(ground: Ground) -> Peer:
    """Caddy that ends TLS for all hosts with one certificate, before `ground.static`."""
    domain = STATIC.partition(".")[2]
    words = {"folder": ground.folder, "port": ground.port, "static": ground.static, "domain": domain}
    return _start(ground, (_GLOBAL + _TLS).format(auto="disable_redirects", **words))
