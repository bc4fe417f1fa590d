"""What systemd and a service tell each other: sockets that it opened, and how the service is doing.

sd_listen_fds(3): LISTEN_FDS sockets from descriptor 3 on, named by LISTEN_FDNAMES, for the process LISTEN_PID.
sd_notify(3): lines `NAME=value` as datagrams to the Unix socket NOTIFY_SOCKET, every WATCHDOG_USEC at the latest. All of
it is variables of the process, and no setting of ours.
"""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, MutableMapping, Sequence

import structlog

from router.node.sockets import DNS_TCP, DNS_UDP, ListenError

_FIRST = 3
_DNS = "dns"
_NAMES = ("proxy", "api", "admin", "certificate", _DNS)

_log = structlog.get_logger("router.node.processes")


def environment() -> MutableMapping[str, str]:
    """The process's own."""
    return os.environ  # noqa: TID251 - see above


def for_children(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables without systemd's: what it says is for one process."""
    ours = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
    return {name: value for name, value in variables.items() if name not in ours}


def listeners(variables: Mapping[str, str]) -> dict[str, list[socket.socket]]:
    """The sockets that were passed, by listener. Raises ListenError for one that is not to be used."""
    if variables.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(variables.get("LISTEN_FDS", "0"))
    names = variables.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    for place in range(count):
        name = names[place] if place < len(names) else ""
        if name not in _NAMES:
            raise ListenError(
                f"systemd passed a socket named {name!r}: FileDescriptorName must be {', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
            )
        opened = socket.socket(fileno=_FIRST + place)
        opened.set_inheritable(False)
        opened.setblocking(False)
        if name == _DNS:
            name = DNS_UDP if opened.type == socket.SOCK_DGRAM else DNS_TCP
        wanted = socket.SOCK_DGRAM if name == DNS_UDP else socket.SOCK_STREAM
        if opened.family not in {socket.AF_INET, socket.AF_INET6} or opened.type != wanted:
            raise ListenError(f"systemd passed the {name} listener a socket that is not TCP")
        if wanted == socket.SOCK_STREAM:
            # As for the sockets that we open ourselves: the kernel finds out about clients that vanish.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setdefault(name, []).append(opened)
    return found


def at_most(most: int, name: str, passed: Sequence[socket.socket]) -> list[socket.socket]:
    """Those sockets: no more than there are processes to serve them. Raises ListenError."""
    if len(passed) > most:
        raise ListenError(
            f"systemd passed {len(passed)} sockets for the {name} listener, of which {most} can be served"
        )
    return list(passed)


class Notifier:
    """Tells systemd how the service is doing, where NOTIFY_SOCKET is set."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._address = variables.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # the abstract namespace
            self._address = "\0" + self._address[1:]
        self._socket = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        meant = variables.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit = int(variables.get("WATCHDOG_USEC", "0")) / 1e6
        self.watchdog = limit / 2 if self._address and meant and limit else None
        """Seconds between two messages to the watchdog; None where there is none."""

    def ready(self, status: str) -> None:
        """We serve, for the first time or after a reload."""
        self._send(READY="1", STATUS=status)

    def status(self, status: str) -> None:
        """What people see in `systemctl status`."""
        self._send(STATUS=status)

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        """The end has begun."""
        self._send(STOPPING="1", STATUS="draining")

    def alive(self) -> None:
        """Tell the watchdog that we are alive."""
        self._send(WATCHDOG="1")

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, **fields: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(f"{name}={value}" for name, value in fields.items()).encode(), self._address)
        except OSError as error:
            _log.warning("service manager not reachable", error=str(error), what=sorted(fields))


async def stay_alive(notifier: Notifier, pause: float) -> None:
    """Tell systemd's watchdog that the event loop runs."""
    while True:
        notifier.alive()
        await asyncio.sleep(pause)
