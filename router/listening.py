"""Sockets that listen: opened in one place, so that a port in use is reported the same way for every listener."""

import socket

from router.settings import split_bind

BACKLOG = 1024


class ListenError(Exception):
    """A listener that cannot be opened. `str()` names the listener, its address and the reason."""


def listen(name: str, bind: str, *, reuse_port: bool = False) -> socket.socket:
    """A non-blocking socket that listens on `bind` (`HOST:PORT`). Raises ListenError."""
    host, port = split_bind(bind)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"the {name} listener cannot use {bind}: {error.strerror or error}") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise ListenError(f"the {name} listener cannot use {bind}: {error.strerror or error}") from error
    return opened
