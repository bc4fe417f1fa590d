"""A client's connection that speaks HTTP/2: each of its streams is a client connection of its own to the data plane.

Caddy opens them for gRPC, and anybody may who begins with the preface (prior knowledge; there is no upgrade from HTTP/1.1). The
first bytes of a connection decide (`ClientConnection`).
"""

import asyncio
import math
from typing import TYPE_CHECKING, cast

from router.http2.session import PREFACE, Stream
from router.proxy.client import ClientConnection
from router.proxy.h2_connection import Http2Connection
from router.proxy.h2_stream import ClientStream

if TYPE_CHECKING:
    from router.proxy.connection_limits import Share
    from router.proxy.h2_stream import StreamTransport
    from router.proxy.worker_state import WorkerState

HEAD = PREFACE[: PREFACE.index(b"\r\n\r\n") + 4]
"""What the preface looks like to a reader of HTTP/1.1."""


class Http2Client(Http2Connection):
    """See the module."""

    def __init__(self, worker: "WorkerState", client: ClientConnection, begun: bytes) -> None:
        """It takes over the connection of `client`, of which `begun` has been read."""
        super().__init__(worker, client=False, trusted=client.trusted)
        self.peer = client.peer
        self.trusted = client.trusted
        # What `connection_limits` has counted of it.
        self.share: Share | None = client.share
        self.counted = client.counted
        client.counted = False
        self._idle: list[ClientStream] = []
        self._born_at = self._used_at = worker.now
        worker.clients.pop(client, None)
        client.retire()
        worker.http2_clients.add(self)
        transport = client.transport
        transport.set_protocol(cast(asyncio.BaseProtocol, self))
        transport.resume_reading()
        self.made(transport)
        if worker.draining:
            self.session.leave()
        self.data_received(begun)

    def peer_name(self) -> str:
        return self.peer

    def on_new_stream(self) -> Stream | None:
        while self._idle:
            stream = self._idle.pop()
            client = cast(ClientConnection, stream.protocol)
            if not stream.is_closing() and client.exchange is None and not client.buffer and not client.eof:
                return stream
        stream = ClientStream(self, ClientConnection(self.worker))
        stream.start()
        return None if stream.is_closing() else stream

    def free(self, stream: "StreamTransport") -> None:
        self._used_at = self.worker.now
        self._idle.append(cast(ClientStream, stream))

    def one_less(self) -> None:
        self._used_at = self.worker.now
        if self.session.left and not self.session.streams:
            self.soon(self._end_if_done)

    def _end_if_done(self) -> None:
        if self.session.left and not self.session.streams:
            self.end(None)

    def on_goaway(self, _last: int) -> None:
        """The client opens no more streams. Those that are open go on."""
        self.session.left = True
        self._end_if_done()

    def leave(self) -> None:
        """Take no more requests: the client opens another connection for them, or sends them again."""
        if not self.closing:
            self.session.leave()
            self.flush()
            self._end_if_done()

    def check(self, now: float) -> None:
        super().check(now)
        if self.closing:
            return
        limits = self.worker.limits
        if self.session.used_up:
            self.leave()
        if not self.session.settled:
            if now > self._born_at + limits.head_time:
                self.end(None)
        elif not self.session.streams:
            if self.session.left:
                self.end(None)
            elif now > self._used_at + limits.client_idle and self._used_at < math.inf:
                self.session.leave()
                self.end(None)

    def gone(self) -> None:
        self.worker.http2_clients.discard(self)
        if self.counted and self.share is not None:
            self.counted = False
            self.share.connections -= 1
