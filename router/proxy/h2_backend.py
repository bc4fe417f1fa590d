"""A connection to a backend that speaks HTTP/2: one for all exchanges of a pool, each in a stream of its own.

HTTP/2 is spoken by prior knowledge, never tried out: a port is set to it (`protocol`). The dial is over when the backend's
settings have come, so that a program of another protocol is known as that.

A backend that says GOAWAY, as gRPC servers do now and then, gets no more streams; those that are open go on, and the next
exchange dials anew.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from router.proxy.backend import BackendConnection
from router.proxy.h2_connection import Http2Connection
from router.proxy.h2_stream import BackendStream

if TYPE_CHECKING:
    from router.http2.session import Stream
    from router.proxy.h2_stream import StreamTransport
    from router.proxy.pool import Pool
    from router.proxy.worker_state import WorkerState


class Http2Backend(Http2Connection):
    """See the module."""

    def __init__(self, worker: "WorkerState", pool: "Pool") -> None:
        super().__init__(worker, client=True, trusted=False)
        self.pool = pool
        self.scheme = b"http" if pool.server_name is None else b"https"
        # Whether it speaks HTTP/2; known with its settings, or with its end.
        self.settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting_to_begin: deque[BackendStream] = deque()
        self._used_at = worker.now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.closing:  # given up while it was dialled
            cast(asyncio.Transport, transport).abort()
            return
        self.worker.http2_backends.add(self)
        self.made(cast(asyncio.Transport, transport))

    def peer_name(self) -> str:
        return self.pool.name

    @property
    def usable(self) -> bool:
        """Whether it takes another stream, now or later."""
        return not self.closing and not self.session.left and not self.session.used_up

    def stream(self) -> BackendConnection:
        """A connection of HTTP/1.1 within it, for a pool."""
        backend = BackendConnection(self.worker, self.pool)
        BackendStream(self, backend).start()
        return backend

    def on_settings(self) -> None:
        if not self.settled.done():
            self.settled.set_result(True)
        super().on_settings()
        self.begin_waiting()

    def on_new_stream(self) -> "Stream | None":
        return None

    def begin(self, stream: "StreamTransport") -> None:
        self._used_at = self.worker.now
        backend = cast(BackendStream, stream)
        if self._waiting_to_begin or not self.session.room:
            self._waiting_to_begin.append(backend)
            self.begin_waiting()
        else:
            backend.begin()

    def begin_waiting(self) -> None:
        self._used_at = self.worker.now
        waiting = self._waiting_to_begin
        while waiting and self.session.room and not self.closing:
            waiting.popleft().begin()

    def on_goaway(self, last: int) -> None:
        """Streams beyond `last` have not been acted on, and those that have not begun will not be taken."""
        self.session.left = True
        self.pool.forget_http2(self)
        error = ConnectionResetError("the backend takes no more streams")
        for stream in tuple(self.transports):
            if stream.number > last:
                self.session.streams.pop(stream.number, None)
                stream.number = 0
                stream.sending = stream.receiving = False
                stream.connection_lost(error)
            elif stream.number == 0:  # kept for later, or waiting to begin
                stream.connection_lost(error)
        self._waiting_to_begin.clear()

    def drop_stream(self, stream: "StreamTransport") -> None:
        super().drop_stream(stream)
        backend = cast(BackendStream, stream)
        if backend in self._waiting_to_begin:
            self._waiting_to_begin.remove(backend)

    def one_less(self) -> None:
        if not self.closing:
            self.soon(self.look)

    def look(self) -> None:
        """A stream has gone, or the pool is no longer used: others may begin, or nothing will."""
        if self.closing:
            return
        if self._waiting_to_begin:
            self.begin_waiting()
        if not self.transports and (self.session.left or self.pool.retired):
            self.end(None)

    def check(self, now: float) -> None:
        super().check(now)
        if not self.closing and not self.transports and now > self._used_at + self.worker.limits.backend_idle:
            self.session.leave()
            self.end(None)

    def gone(self) -> None:
        self.worker.http2_backends.discard(self)
        self.pool.forget_http2(self)
        if not self.settled.done():
            self.settled.set_result(False)

    def end(self, error: Exception | None) -> None:
        self.pool.forget_http2(self)
        if not self.settled.done():
            self.settled.set_result(False)
        super().end(error)

    def forget(self) -> None:
        """The dial has failed, whether the connection came up or not."""
        if self in self.worker.http2_backends:
            self.abort()
        self.closing = True
