"""A connection of HTTP/2, on either side: reads frames for its streams, and sends theirs in turn."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from router.http2.session import ConnectionFault, Session
from router.proxy.turn_budget import Paced

if TYPE_CHECKING:
    from router.http2.session import Stream
    from router.proxy.h2_stream import StreamTransport
    from router.proxy.worker_state import WorkerState

_FRAMES: Final = 16  # that are taken apart between two looks at the time
_SHARE: Final = 0.001  # seconds of one turn; what is left then stands in the queue of `turn_budget.py`
_FLUSH_AT: Final = 32 * 1024  # bytes to send that do not wait for the end of the turn
_SLACK: Final = 512 * 1024  # bytes beyond the usual that the other side may leave unread: acknowledgements, resets
_FORGIVEN: Final = 500  # frames about nothing, for each second


class Http2Connection(Paced):
    """See the module. A `session.Owner`."""

    scheme = b"http"

    def __init__(self, worker: "WorkerState", *, client: bool, trusted: bool) -> None:
        super().__init__(worker.budget)
        self.worker = worker
        self.session = Session(self, client=client, max_headers=worker.limits.headers, trusted=trusted)
        self.transports: set[StreamTransport] = set()
        self.write_paused = False
        self._waiting: deque[StreamTransport] = deque()  # for their turn to send
        self._blocked: dict[StreamTransport, None] = {}  # by the connection's window
        self._unflushed = 0
        self._flush_due = False
        self._working = False
        self._looked_at = worker.now
        self._ends_at = 0.0  # when a connection that is closing is given up

    def made(self, transport: asyncio.Transport) -> None:
        """There is a connection."""
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        transport.set_write_buffer_limits(self.worker.high_water)
        self.flush()

    def soon(self, step: Callable[..., None], *arguments: Any) -> None:
        """Do it in the next turn of the loop."""
        self._loop.call_soon(step, *arguments)

    # Reading.

    def data_received(self, data: bytes) -> None:
        if not self.closing:
            self.session.receive(data)
            self._work()

    def _work(self) -> None:
        time = self.budget.time
        end = time() + _SHARE
        self._working = True
        try:
            while self.session.step(_FRAMES) and not self.closing:
                if time() >= end:
                    self.rest()
                    break
        except ConnectionFault as fault:
            self.fault(fault)
        finally:
            self._working = False
        self.flush()

    def go_on(self) -> None:
        """Its turn has come: first what is left of the last read."""
        if not self._resting:
            return
        super().go_on()
        if not self.closing:
            self._work()

    def eof_received(self) -> bool:
        """The other side has ended, and with it all its streams."""
        return False

    # Writing.

    def flush_soon(self) -> None:
        """Send what there is at the end of this turn."""
        if not self._working and not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self.flush()

    def flush(self) -> None:
        """Send what there is."""
        out = self.session.out
        self._unflushed = 0
        if not out or self.closing:
            out.clear()
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self.put(data)
        if self.write_paused and self.transport.get_write_buffer_size() > self.worker.high_water + _SLACK:
            self.end(ConnectionResetError("the other side does not read"))

    def sent(self, size: int) -> None:
        """A stream has sent so much of a body."""
        self._unflushed += size
        if self._unflushed >= _FLUSH_AT:
            self.flush()
        else:
            self.flush_soon()

    def wait(self, stream: "StreamTransport", *, blocked: bool) -> None:
        """Let it go on when it is its turn: behind others, or once the connection's window has grown."""
        if blocked:
            self._blocked[stream] = None
        elif stream not in self._waiting:
            self._waiting.append(stream)
            if not self.write_paused:
                self.soon(self._next_waiting)

    def _next_waiting(self) -> None:
        if not self.write_paused and self._waiting and not self.closing:
            self._waiting.popleft().pump()
            if self._waiting:
                self.soon(self._next_waiting)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_paused = False
        if self._waiting:
            self.soon(self._next_waiting)

    def on_window(self) -> None:
        """The connection's window has grown: those that it holds up go on, in turn, as far as it reaches. Who gives byte by
        byte does not make us look at all of them each time."""
        blocked = self._blocked
        while blocked and self.session.send_window > 0:
            stream = next(iter(blocked))
            del blocked[stream]
            stream.on_window()

    def on_settings(self) -> None:
        """The other side has said how much it takes, perhaps more of every stream."""
        for stream in tuple(self.transports):
            stream.on_window()

    def on_goaway(self, last: int) -> None:
        """It takes no more streams."""
        raise NotImplementedError

    def on_new_stream(self) -> "Stream | None":
        """A client has begun a stream."""
        raise NotImplementedError

    # What its streams ask.

    def free(self, stream: "StreamTransport") -> None:
        """A message and its response are complete: the next one may have this transport."""

    def begin(self, stream: "StreamTransport") -> None:
        """Begin a stream for it, as soon as there is room."""

    def begin_waiting(self) -> None:
        """There may be room for streams that wait."""

    def drop_stream(self, stream: "StreamTransport") -> None:
        """It is over, and waits for nothing."""
        self.transports.discard(stream)
        self._blocked.pop(stream, None)
        if stream in self._waiting:
            self._waiting.remove(stream)

    def one_less(self) -> None:
        """A transport is gone."""
        raise NotImplementedError

    # The end.

    def fault(self, fault: ConnectionFault) -> None:
        """The other side has broken the protocol: say so, and end."""
        self.worker.refusals.info("HTTP/2 connection ended", why=str(fault), peer=self.peer_name())
        self.session.leave(fault.code)
        self.end(ConnectionResetError(str(fault)))

    def peer_name(self) -> str:
        """Who it is, for the log."""
        raise NotImplementedError

    def end(self, error: Exception | None) -> None:
        """Close, and with it every stream."""
        if self.closing:
            return
        self.flush()
        self.closing = True
        self._ends_at = self.worker.now + self.worker.limits.linger
        self.transport.close()
        self._lose_streams(error)

    def abort(self) -> None:
        """Close now."""
        self.closing = True
        self.transport.abort()
        self._lose_streams(None)

    def _lose_streams(self, error: Exception | None) -> None:
        for stream in tuple(self.transports):
            number = stream.number
            if number:
                self.session.streams.pop(number, None)
                stream.number = 0
                stream.sending = stream.receiving = False
            stream.connection_lost(error)
        self._waiting.clear()
        self._blocked.clear()

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self._resting = False
        self.gone()
        self._lose_streams(error)

    def gone(self) -> None:
        """It is gone: the worker knows it no longer."""
        raise NotImplementedError

    def check(self, now: float) -> None:
        """Called by the sweep."""
        self.session.forgive(int((now - self._looked_at) * _FORGIVEN))
        self._looked_at = now
        if self.closing and now > self._ends_at:
            self.transport.abort()
