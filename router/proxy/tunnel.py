"""The tunnel after a 101: two connections and bytes between them, in a protocol that we do not read.

Each side may shut down its sending half on its own; the tunnel ends when both have. It also ends after `tunnel_idle`
seconds without a byte, at `tunnel_lifetime`, and with the drain. A WebSocket does not half-close: it ends `half_close`
seconds after its first side has, and so does a tunnel over TLS, which cannot be half-closed. When we end a WebSocket we send a close frame (1001, going away), but only if no byte has
passed for a moment: a close frame must stand between two frames, and we do not know where those end.

An open tunnel is use of its resource. Where the tenant says that pings are none, a WebSocket is one only while something
else passes (`_WatchedEnd`); others' bytes are not looked at.
"""

import asyncio
import math
import os
from typing import TYPE_CHECKING, Final, cast

from router.http1.forwarding import ClientInfo
from router.http1.pings import only_pings
from router.http1.requests import NO_HEAD
from router.observe import endings
from router.proxy.socket_state import file_of, unsent
from router.proxy.turn_budget import MAX_READ, MESSAGE, Paced

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.client import ClientConnection
    from router.proxy.exchange import Exchange
    from router.proxy.worker_state import WorkerState

# Seconds without a byte after which we assume that a WebSocket stands between two frames. `active_at` is of the coarse
# clock, so it may be half a second before the last byte.
_QUIET: Final = 0.75
_PIECE: Final = 64 * 1024
_MAX_UNREAD_PIECES: Final = 4  # that are passed on when a connection breaks
_NOBODY: Final = ClientInfo("", b"http", b"", b"")
_CALM: Final = 64  # small reads in a row, after which a side that sent much is taken to send messages
_GOING_AWAY = b"\x03\xe9"  # 1001 (RFC 6455 §7.4.1)


class Tunnel:
    """Both ends of an upgraded connection."""

    __slots__ = (
        "_untaken",
        "_websocket",
        "active_at",
        "backend",
        "born_at",
        "client",
        "ends_at",
        "exchange",
        "over",
        "used_at",
        "watched",
        "worker",
    )

    def __init__(
        self, worker: "WorkerState", exchange: "Exchange", incoming: "ClientConnection", outgoing: "BackendConnection"
    ) -> None:
        self.worker = worker
        self.exchange = exchange
        self.born_at = self.active_at = worker.now
        self.ends_at = math.inf
        self._untaken = 0  # bytes written that the two sides had not taken at the last check
        self.over = False
        self._websocket = exchange.head.upgrade.lower() == b"websocket"
        self.client: _End
        self.backend: _End
        self.used_at = worker.time()
        resource = None if exchange.route is None else exchange.route.resource
        self.watched = resource is not None and not resource.pings_keep_awake and self._websocket
        if self.watched:
            self.client = _WatchedEnd(self, incoming.transport, "received")
            self.backend = _WatchedEnd(self, outgoing.transport, "sent")
        else:
            self.client = _End(self, incoming.transport, "received")
            self.backend = _End(self, outgoing.transport, "sent")
        self.note_use(self.used_at)
        self.client.other, self.backend.other = self.backend, self.client
        worker.clients.pop(incoming, None)
        incoming.exchange = None
        # The last head is written, and what the record needs of it the exchange has: half a kilobyte less for each tunnel, for hours.
        incoming.client_info = exchange.client_info = _NOBODY
        incoming.told = None
        if exchange.visit is None or exchange.visit.capture is None:
            exchange.head = NO_HEAD
        incoming.retire()
        outgoing.exchange = None
        outgoing.retire()
        worker.tunnels.add(self)

    def start(self, early: bytes) -> None:
        """Become the protocol of both connections. `early` is what the client sent before the 101."""
        for end in (self.backend, self.client):
            end.read_messages()
            end.transport.resume_reading()
        if early:
            self.backend.transport.write(early)  # after resume_reading: it may pause the client's reading

    def check(self, now: float) -> None:
        """End it if one of its limits has passed. Called by the sweep."""
        limits = self.worker.limits
        if now - self.active_at > limits.tunnel_idle:
            backend_owes = self.backend.written_last
            ending = endings.BACKEND_TIMEOUT_IN_TUNNEL if backend_owes else endings.CLIENT_TIMEOUT_IN_TUNNEL
            self.finish(ending, goodbye=True)
        elif now - self.born_at > limits.tunnel_lifetime:
            self.finish(endings.EDGE_IN_TUNNEL, goodbye=True)
        elif now > self.ends_at:
            self.finish(endings.COMPLETE)

    @property
    def timed(self) -> bool:
        """Whether its idle time is limited; as in ClientConnection."""
        return not self.over

    def note_progress(self) -> None:
        """If a side has taken bytes since the last check, the tunnel is not idle. Called by the sweep from time to time."""
        left = unsent(self.client.transport) + unsent(self.backend.transport)
        if left < self._untaken:
            self.active_at = self.worker.now
        self._untaken = left

    def note_use(self, now: float) -> None:
        """Its resource is in use: now, or when something other than a ping has passed. Called by the sweep from time to time."""
        activity = self.exchange.activity
        if activity is not None:
            activity.active_at = max(activity.active_at, self.used_at) if self.watched else now

    @property
    def unread(self) -> bool:
        """Whether the client is not being read from, so that we would not notice its end or reset."""
        return not self.over and not self.client.transport.is_reading()

    def client_file(self) -> int:
        """The descriptor of the client's socket, -1 where that is closed."""
        return file_of(self.client.transport)

    def hung_up(self, *, broken: bool) -> None:
        """The kernel has received the client's end, or its reset. Called by the sweep on each pass while `unread`."""
        if broken:
            self.finish(endings.CLIENT_IN_TUNNEL)
        else:
            self.half_ended()

    def half_ended(self) -> None:
        """One side will send no more. A WebSocket closes both directions at once, by frames (RFC 6455 §7.1.1), and to a
        backend over TLS the end cannot be passed on, so the other side has `half_close` seconds to end too."""
        if self.ends_at == math.inf and (self._websocket or not self.backend.transport.can_write_eof()):
            self.ends_at = self.worker.now + self.worker.limits.half_close

    def finish(self, ending: str, *, goodbye: bool = False) -> None:
        """End both sides and write the record, once."""
        if self.over:
            return
        self.over = True
        worker = self.worker
        worker.tunnels.discard(self)
        self.note_use(worker.time())
        if goodbye and self._websocket and worker.time() - self.active_at >= _QUIET:
            self._say_goodbye()
        exchange = self.exchange
        for transport in (self.client.transport, self.backend.transport):
            transport.close()
            if transport.get_write_buffer_size():  # it closes only when that is sent
                worker.leave(transport, exchange.tenant)
        worker.connection_limits.leave(exchange.incoming)
        outgoing = exchange.outgoing
        if outgoing is not None:
            outgoing.leave()
            exchange.outgoing = None
        exchange.end(ending)

    def drop(self) -> None:
        """End both sides after a fault of ours; the record follows when a connection is lost."""
        self.client.transport.abort()
        self.backend.transport.abort()

    def _say_goodbye(self) -> None:
        if not self.client.ended:
            self.client.transport.write(b"\x88\x02" + _GOING_AWAY)
        if not self.backend.ended:
            mask = os.urandom(4)  # clients' frames are masked (RFC 6455 §5.3)
            masked = bytes([byte ^ mask[place] for place, byte in enumerate(_GOING_AWAY)])
            self.backend.transport.write(b"\x88\x82" + mask + masked)


class _End(Paced):
    """One side, as a protocol of asyncio. `ended`: we have closed our sending half towards it."""

    __slots__ = ("_by_message", "_counter", "_small_reads", "ended", "other", "tunnel", "written_last")
    __deletable__ = ("other", "tunnel")

    other: "_End"

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, counter: str) -> None:
        super().__init__(tunnel.worker.budget)
        self.tunnel = tunnel
        self.transport = transport
        self.ended = False
        self.written_last = False
        self._counter = counter == "sent"
        self._by_message = False
        self._small_reads = 0  # in a row, while it reads shares

    def read_messages(self) -> None:
        """Read small messages from now on (`_Messages`), unless a connection may hold less than one read of these brings."""
        self._small_reads = 0
        self._by_message = self.budget.size == MAX_READ
        self.transport.set_protocol(cast(asyncio.Protocol, _Messages(self) if self._by_message else self))

    def read_shares(self) -> None:
        """Much is coming: read into the shared buffer from now on, as other connections do (`turn_budget.py`)."""
        self._by_message = False
        self.transport.set_protocol(cast(asyncio.Protocol, self))

    def pause(self) -> None:
        """See Paced."""
        if self._by_message:
            self.read_shares()
        super().pause()

    def buffer_updated(self, size: int) -> None:
        """See Paced."""
        super().buffer_updated(size)
        if size >= MESSAGE:
            self._small_reads = 0
            return
        self._small_reads += 1
        if self._small_reads >= _CALM and not self._paused and not self.tunnel.over:
            self.read_messages()

    def data_received(self, data: bytes) -> None:
        tunnel, other = self.tunnel, self.other
        tunnel.active_at = tunnel.worker.now
        other.written_last = True
        self.written_last = False
        if self._counter:
            tunnel.exchange.sent += len(data)
        else:
            tunnel.exchange.received += len(data)
        if not other.ended:
            other.put(data)

    def eof_received(self) -> bool:
        tunnel, other = self.tunnel, self.other
        other.ended = True
        if self.ended:
            tunnel.finish(endings.COMPLETE)
            return False
        if not self.transport.can_write_eof():  # TLS: the transport is closing, in both directions
            tunnel.finish(endings.COMPLETE)
            return False
        tunnel.half_ended()
        if other.transport.can_write_eof() and not other.transport.is_closing():
            other.transport.write_eof()
        return True

    def _pass_on_rest(self) -> None:
        """Pass on what had arrived from it when a write to it failed: probably a close frame (see `unread.py`)."""
        try:
            file = file_of(self.transport)
            for _ in range(_MAX_UNREAD_PIECES):
                data = os.read(file, _PIECE)
                if not data:
                    break
                self.data_received(data)
        except OSError:  # the reset that ended it
            return

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.tunnel.over:
            self._pass_on_rest()
        if not self.tunnel.over:
            reset = endings.BACKEND_IN_TUNNEL if self._counter else endings.CLIENT_IN_TUNNEL
            self.tunnel.finish(endings.COMPLETE if exc is None else reset)
        # Break the reference cycle between the two ends: a full garbage collection is too rare to rely on.
        del self.other, self.tunnel

    def pause_writing(self) -> None:
        self.other.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.other.resume()


class _Messages:
    """What a transport has for a protocol while small messages pass: one call for each, with its bytes. A buffer of our own
    costs a second call, a view of it and a copy (bench/README.md).

    uvloop reads up to MAX_READ bytes for it, into a buffer that all connections share. The first read that is not small is
    the last one here.
    """

    __slots__ = ("_end",)

    def __init__(self, end: _End) -> None:
        self._end = end

    def data_received(self, data: bytes) -> None:
        end = self._end
        if len(data) >= MESSAGE:
            end.read_shares()
        end.data_received(data)

    def eof_received(self) -> bool:
        return self._end.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.connection_lost(exc)

    def pause_writing(self) -> None:
        self._end.pause_writing()

    def resume_writing(self) -> None:
        self._end.resume_writing()


class _WatchedEnd(_End):
    """One side of a WebSocket whose pings do not count as use of its resource."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        if not only_pings(data):
            self.tunnel.used_at = self.tunnel.worker.now
        super().data_received(data)
