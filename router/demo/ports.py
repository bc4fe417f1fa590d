"""Free ports: the preferred one, or the next."""

import contextlib
import socket
from collections.abc import Iterable

TRIES = 100


class NoPortError(Exception):
    """No free port near the one that was wanted."""


class Ports:
    """Hands out ports of loopback, none twice."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def choose(self, wanted: int) -> int:
        """`wanted`, or the next port above it that nothing listens on. Raises NoPortError."""
        for port in range(wanted, min(wanted + TRIES, 65536)):
            if port not in self._taken and is_free(port):
                self._taken.add(port)
                return port
        raise NoPortError(f"no free port from {wanted} to {wanted + TRIES - 1}")


def is_free(port: int) -> bool:
    """Whether both loopback addresses could be bound: browsers try ::1 first for names under localhost."""
    for family, address in loopback():
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            # As servers do it, so that a connection that has just ended does not count as a listener.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, port))
            except OSError:
                return False
    return True


def loopback() -> Iterable[tuple[socket.AddressFamily, str]]:
    """The machine's loopback addresses; ::1 is missing where IPv6 is off."""
    yield socket.AF_INET, "127.0.0.1"
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind(("::1", 0))
        yield socket.AF_INET6, "::1"
