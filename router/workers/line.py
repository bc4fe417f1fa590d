"""What the supervisor and a process that it started tell each other: whole messages, some with a socket.

A Unix socket of type SOCK_SEQPACKET keeps messages whole and in order, carries descriptors, and says when the other side
has gone. That is how a process notices that its supervisor has died.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]

_LARGEST = 1024 * 1024
_DESCRIPTORS = 1


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a line."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (one, other):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
    return one, other


class Line:
    """One end, read by the running loop. `on_message(message, socket)`; None instead of a message: the other has gone."""

    def __init__(
        self, end: socket.socket, on_message: Callable[[Message | None, socket.socket | None], object]
    ) -> None:
        self._end = end
        self._on_message = on_message
        self._open = True
        asyncio.get_running_loop().add_reader(end, self._read)

    def send(self, message: Message, passed: socket.socket | None = None) -> bool:
        """Send it; whether it went off. It does not where the other side has gone, or reads nothing."""
        if not self._open:
            return False
        try:
            socket.send_fds(self._end, [json.dumps(message).encode()], [] if passed is None else [passed.fileno()])
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._end)
            self._end.close()

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, _LARGEST, _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        passed = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for one in passed:
            one.set_inheritable(False)
            one.setblocking(False)
        if data:
            self._on_message(json.loads(data), passed[0] if passed else None)
        else:
            self.close()
            self._on_message(None, None)
