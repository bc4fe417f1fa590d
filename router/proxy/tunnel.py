"""What is left after a 101: two connections and bytes between them, in a protocol that is not looked at.

Each side may close its sending half on its own; the tunnel is over when both have. It ends after `tunnel_idle` without
a byte, at `tunnel_lifetime`, or with the drain. A WebSocket is told so (1001, going away) where it is safe: a close
frame may only stand between two frames, so it is sent when nothing has passed for a moment.
"""

import asyncio
import os
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.client import ClientConnection
    from router.proxy.edge import Edge
    from router.proxy.exchange import Exchange

# Seconds without a byte after which a WebSocket is taken to stand between two frames. `active_at` is of the coarse
# clock, so it may be half a second before the last byte.
_QUIET: Final = 0.75
_GOING_AWAY = b"\x03\xe9"  # 1001 (RFC 6455 §7.4.1)


class Tunnel:
    """Both ends of an upgraded connection."""

    __slots__ = ("active_at", "backend", "born_at", "client", "edge", "exchange", "over")

    def __init__(
        self, edge: "Edge", exchange: "Exchange", incoming: "ClientConnection", outgoing: "BackendConnection"
    ) -> None:
        self.edge = edge
        self.exchange = exchange
        self.born_at = self.active_at = edge.now
        self.over = False
        self.client = _End(self, incoming.transport, "received")
        self.backend = _End(self, outgoing.transport, "sent")
        self.client.other, self.backend.other = self.backend, self.client
        edge.clients.discard(incoming)
        incoming.exchange = None
        incoming.closing = True
        outgoing.exchange = None
        outgoing.closing = True
        edge.tunnels.add(self)

    def start(self, early: bytes) -> None:
        """Take the connections over; `early` is what the client sent before the 101."""
        incoming, outgoing = self.client.transport, self.backend.transport
        incoming.set_protocol(cast(asyncio.Protocol, self.client))
        outgoing.set_protocol(cast(asyncio.Protocol, self.backend))
        if early:
            outgoing.write(early)
        outgoing.resume_reading()
        incoming.resume_reading()

    def check(self, now: float) -> None:
        """End it where one of its limits has passed. Called by the sweep."""
        limits = self.edge.limits
        if now - self.active_at > limits.tunnel_idle:
            self.finish("bT" if self.backend.written_last else "cT", goodbye=True)
        elif now - self.born_at > limits.tunnel_lifetime:
            self.finish("ET", goodbye=True)

    def finish(self, ending: str, *, goodbye: bool = False) -> None:
        """End both sides and write the record, once."""
        if self.over:
            return
        self.over = True
        edge = self.edge
        edge.tunnels.discard(self)
        if goodbye and self.exchange.head.upgrade.lower() == b"websocket" and edge.time() - self.active_at >= _QUIET:
            self._say_goodbye()
        for transport in (self.client.transport, self.backend.transport):
            transport.close()
            if transport.get_write_buffer_size():  # it closes when that is sent, which may be never
                edge.leaving.append((edge.now + edge.limits.body_idle, transport))
        exchange = self.exchange
        outgoing = exchange.outgoing
        if outgoing is not None:
            edge.backends.discard(outgoing)
            exchange.outgoing = None
        exchange._end(ending)  # noqa: SLF001 - a tunnel is the last chapter of its exchange

    def _say_goodbye(self) -> None:
        if not self.client.ended:
            self.client.transport.write(b"\x88\x02" + _GOING_AWAY)
        if not self.backend.ended:
            mask = os.urandom(4)  # clients' frames are masked (RFC 6455 §5.3)
            masked = bytes([byte ^ mask[place] for place, byte in enumerate(_GOING_AWAY)])
            self.backend.transport.write(b"\x88\x82" + mask + masked)


class _End:
    """One side, as a protocol of asyncio. `ended`: we have closed our sending half towards it."""

    __slots__ = ("_counter", "ended", "other", "transport", "tunnel", "written_last")
    __deletable__ = ("other", "tunnel")

    other: "_End"

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, counter: str) -> None:
        self.tunnel = tunnel
        self.transport = transport
        self.ended = False
        self.written_last = False
        self._counter = counter == "sent"

    def data_received(self, data: bytes) -> None:
        tunnel, other = self.tunnel, self.other
        tunnel.active_at = tunnel.edge.now
        other.written_last = True
        self.written_last = False
        if self._counter:
            tunnel.exchange.sent += len(data)
        else:
            tunnel.exchange.received += len(data)
        if not other.ended:
            other.transport.write(data)

    def eof_received(self) -> bool:
        tunnel, other = self.tunnel, self.other
        other.ended = True
        if self.ended:
            tunnel.finish("--")
            return False
        if other.transport.can_write_eof() and not other.transport.is_closing():
            other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.tunnel.over:
            who = "B" if self._counter else "C"
            self.tunnel.finish("--" if exc is None else f"{who}T")
        # Nothing more is heard here. The two sides would keep each other, and all that belongs to them, until the
        # collector looks at what is old, which it hardly ever does.
        del self.other, self.tunnel

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()
