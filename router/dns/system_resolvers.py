"""The resolvers that this machine is set to use."""

import ipaddress
from pathlib import Path

import structlog

_FILE = Path("/etc/resolv.conf")

_log = structlog.get_logger("router.dns")


def system_resolvers(file: Path = _FILE) -> list[str]:
    """The addresses of `nameserver` lines (resolv.conf(5)), without those that are none, which libc skips as well.

    dnspython reads that file too, by a module that imports its whole client, with QUIC and HTTPS where those are installed: a
    twentieth of a start.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = [words[1] for words in map(str.split, lines) if len(words) > 1 and words[0] == "nameserver"]
    servers = [server for server in found if _is_address(server)]
    if not servers:
        _log.warning("the system has no resolvers, and DNS_SERVERS is not set: signatures are not checked")
    return servers


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
