"""Caddy as a plain reverse proxy with its JSON access log in a file."""

from pathlib import Path

from tests.support.processes import BIN, Process

_CADDYFILE = """{{
	admin off
	auto_https off
	persist_config off
}}
http://:{port} {{
	log {{
		output file {folder}/caddy-access.log
	}}
	reverse_proxy 127.0.0.1:{backend}
}}
"""


def start(folder: Path, port: int, backend: int) -> Process:
    """Caddy listening on `port`, proxying to `backend`."""
    file = folder / "Caddyfile"
    file.write_text(_CADDYFILE.format(port=port, folder=folder, backend=backend))
    environment = {"HOME": str(folder), "GOMAXPROCS": "1"}
    return Process([BIN / "caddy", "run", "--config", file], folder / "caddy.log", environment)
