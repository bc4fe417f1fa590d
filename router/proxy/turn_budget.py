"""Limit the work of one connection in one turn of the event loop, so that no tenant's traffic delays another's for more
than a few milliseconds.

- A read brings 64 KiB: fewer bytes if they are expensive to process (at most a millisecond's worth), more if they are
  cheap and come fast. uvloop's own buffer would always be 256 KB, and libuv fills it up to 32 times in a row.
- A connection that has had its share (a tenth of a millisecond of work, or 192 KiB) reads no more in this turn. It joins
  a queue, of which each turn takes two milliseconds' worth, and at least one connection.
- While the other side does not keep up, reads are small, since their bytes are held in memory until it does.
- Work that needs no read joins the same queue: pipelined requests beyond the first few, and responses of our own when
  many are due at once.

Small reads are not counted: each is one event of the loop, as cheap as any other.

What is written to a side that does not keep up is bounded in bytes, and in pieces too: in uvloop each write that waits takes
840 bytes besides its own, so that a buffer of 6 KB that came byte by byte took 5 MB.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

MAX_READ: Final = 256_000  # bytes that one read may bring
_FIRST: Final = 64 * 1024
HELD: Final = 32 * 1024  # a read's size while the other side does not keep up: each connection may hold one
_SMALLEST: Final = 4 * 1024
MESSAGE: Final = _SMALLEST  # smaller reads are not counted
_BYTES: Final = 192 * 1024  # of full reads in a row
_SHARE: Final = 0.001  # seconds to process one read; the next one is made small enough for that
_CHEAP: Final = 0.000_1  # seconds of work after which a connection joins the queue
_FAST: Final = 0.000_125  # seconds; a full read that took less is followed by one of twice the size
_TURN: Final = 0.002  # seconds of one turn that the queue has
_MAX_RESPONSES: Final = 16  # responses of our own in one turn that need not queue
_SMALL: Final = 512  # bytes of a write that takes more memory than its bytes
_MAX_PIECES: Final = 128  # such writes, until a look at whether they wait


class Budget:
    """The queue of one worker, and the buffer that its connections read into, one after the other."""

    __slots__ = ("_queue", "_responses", "_scheduled", "buffer", "first", "held", "high_water", "size", "time")

    def __init__(self, time: Callable[[], float], max_size: int) -> None:
        """`time` is the monotonic clock; `max_size` is how many bytes of one direction a connection may hold."""
        self.time = time
        # Bytes that may wait for a side that does not keep up: on top of that comes one read at most.
        self.high_water = max(0, max_size - MAX_READ)
        # One buffer serves all connections, since what is read is copied out at once: an idle connection holds none.
        self.buffer = buffer = memoryview(bytearray(max(_SMALLEST, min(MAX_READ, max_size))))
        self.size = len(buffer)
        self.first = buffer[:_FIRST]
        self.held = buffer[:HELD]
        self._queue: deque[tuple[Callable[[], None], float]] = deque()
        self._scheduled = False
        self._responses = _MAX_RESPONSES

    def later(self, step: Callable[[], None], seconds: float = 0.0) -> None:
        """Queue `step`. `seconds` is the work that it is likely to cause besides its own. It must not raise."""
        self._queue.append((step, seconds))
        self._schedule()

    def may_respond(self) -> bool:
        """Whether one more response of our own may be sent in this turn; else it must queue."""
        if self._responses == 0:
            return False
        self._responses -= 1
        self._schedule()
        return True

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Take steps from the queue, in a turn of the loop after that in which sockets were served."""
        queue = self._queue
        self._scheduled = False
        self._responses = _MAX_RESPONSES
        if not queue:
            return
        self._schedule()  # before a step can fail: those in the queue have no other deadline
        end = self.time() + _TURN
        while queue:
            step, seconds = queue.popleft()
            step()
            end -= seconds
            if self.time() >= end:
                break


class Paced:
    """How a connection reads and writes: has the methods of an asyncio.BufferedProtocol.

    Two things stop it from reading: `pause` (the other side doesn't keep up) and `rest` (it has had its share).
    """

    __slots__ = (
        "_full_reads",
        "_narrowed",
        "_next_read",
        "_paused",
        "_pieces",
        "_resting",
        "_spent",
        "budget",
        "closing",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._next_read = budget.first
        self._full_reads = 0
        self._spent = 0.0
        self._pieces = 0  # small ones that were written since the last look
        # One after the other, since a compiled object has them in this order: eight flags take eight bytes, and one between others
        # as many.
        self.closing = False
        self._paused = False
        self._resting = False
        self._narrowed = False  # its transport may hold less than others

    def data_received(self, data: bytes) -> None:
        """Process what was read."""
        raise NotImplementedError

    def get_buffer(self, _hint: int) -> memoryview:
        """Where the next read goes."""
        return self._next_read

    def buffer_updated(self, size: int) -> None:
        """So many bytes have been read."""
        budget = self.budget
        if size < _SMALLEST:
            self.data_received(budget.buffer[:size].tobytes())
            return
        began = budget.time()
        self.data_received(budget.buffer[:size].tobytes())
        self._account(size, budget.time() - began)

    def _account(self, size: int, seconds: float) -> None:
        """Account for a read that took so long to process: set the next one's size, and join the queue if that is due."""
        capacity = len(self._next_read)
        if seconds > _SHARE:
            fitting = int(size * _SHARE / seconds)
            self._next_read = self.budget.buffer[: max(_SMALLEST, fitting)]
        elif capacity < self.budget.size and size == capacity and seconds < _FAST and not self._paused:
            self._next_read = self.budget.buffer[: min(self.budget.size, 2 * capacity)]
        self._spent += seconds
        if size == capacity:
            self._full_reads += size
            if self._full_reads >= _BYTES or self._spent > _CHEAP:
                self.rest()
        elif self._spent > _CHEAP:
            self.rest()
        else:
            self._full_reads = 0
            self._spent = 0.0

    def rest(self) -> None:
        """Read no more and join the queue; `go_on` is called when it is this connection's turn."""
        if not self._resting and not self.closing:
            self._resting = True
            if not self._paused:
                self.transport.pause_reading()
            self.budget.later(self.go_on, self._spent)
        self._full_reads = 0
        self._spent = 0.0

    def go_on(self) -> None:
        """Its turn has come."""
        if self._resting:
            self._resting = False
            if not self._paused:
                self.transport.resume_reading()

    def retire(self) -> None:
        """The transport belongs to another protocol from now on: do nothing to it any more."""
        self.closing = True
        self._resting = False

    def pause(self) -> None:
        """Read no more until `resume`."""
        if not self._paused and not self.closing:
            self._paused = True
            self._next_read = self.budget.held
            if not self._resting:
                self.transport.pause_reading()

    def resume(self) -> None:
        """Read on, after `pause`."""
        if self._paused and not self.closing:
            self._paused = False
            if not self._resting:
                self.transport.resume_reading()

    # Writing.

    def put(self, data: bytes) -> None:
        """Write it to the transport; where many small pieces wait, `pause_writing` comes sooner."""
        self.transport.write(data)
        if len(data) < _SMALL:
            self._pieces += 1
            if self._pieces == _MAX_PIECES:
                self._narrow()

    def _narrow(self) -> None:
        self._pieces = 0
        waiting = self.transport.get_write_buffer_size()
        if waiting and not self.transport.is_closing():
            self._narrowed = True
            self.transport.set_write_buffer_limits(waiting // 2)

    def resume_writing(self) -> None:
        """What waited has been sent, or most of it."""
        if self._narrowed:
            self._narrowed = False
            self.transport.set_write_buffer_limits(self.budget.high_water)
