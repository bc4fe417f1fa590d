"""The control socket: messages between the supervisor and a process that it started, some with a socket.

A Unix socket of type SOCK_SEQPACKET keeps messages whole and in order, carries file descriptors, and reports when the
other side has gone. That is how a process notices that its supervisor has died.
"""

import asyncio
import json
import socket
from collections.abc import Callable

import structlog

from router.node.ipc.process_messages import TO_SUPERVISOR, Heartbeat
from router.node.ipc.wire import Direction, Message, encode

_MAX_MESSAGE = 1024 * 1024
_MAX_DESCRIPTORS = 1
_HEARTBEAT = json.dumps(encode(Heartbeat())).encode()  # one a second of each process, and more while clients come

_log = structlog.get_logger("router.node.processes")


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a control socket."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (one, other):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_MESSAGE)
    return one, other


class ControlSocket:
    """One end, read by the running loop. `hears` are the types that the other end sends.

    `on_message(message, socket)` is called with each; with None instead of a message when the other end has gone.
    """

    def __init__(
        self, end: socket.socket, hears: Direction, on_message: Callable[[Message | None, socket.socket | None], object]
    ) -> None:
        self._end = end
        self._hears = hears
        self._on_message = on_message
        self._open = True
        self._reset = False
        asyncio.get_running_loop().add_reader(end, self._readable)

    def send(self, message: Message, passed: socket.socket | None = None) -> bool:
        """Send it. False where the other side has gone or does not read."""
        if not self._open:
            return False
        data = _HEARTBEAT if isinstance(message, Heartbeat) else json.dumps(encode(message)).encode()
        try:
            socket.send_fds(self._end, [data], [] if passed is None else [passed.fileno()])
        except OSError:
            return False
        return True

    def finish(self) -> None:
        """Read what the other side sent before it went, then close."""
        while self._open and self._read():
            pass
        self.close()

    def close(self) -> None:
        """Close."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._end)
            self._end.close()

    def _readable(self) -> None:
        if self._read() and self._reset:
            self.finish()  # libuv watches a socket no longer that has reported an error: the end would never be heard

    def _read(self) -> bool:
        """Read one message; whether there may be more."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, _MAX_MESSAGE, _MAX_DESCRIPTORS)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            self._reset = (
                True  # it went with messages of ours unread; Linux says so once, before what it had said itself
            )
            return True
        except OSError:
            data, descriptors = b"", []
        passed = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for one in passed:
            one.set_inheritable(False)
            one.setblocking(False)
        if data:
            try:
                beats = data == _HEARTBEAT and self._hears is TO_SUPERVISOR
                message = Heartbeat() if beats else self._hears.decode(json.loads(data))
            except (LookupError, TypeError) as error:  # of another version
                _log.warning("message between processes not understood", error=str(error))
            else:
                self._on_message(message, passed[0] if passed else None)
            return True
        self.close()
        self._on_message(None, None)
        return False
