"""Writes log lines to a file, standard output or standard error, without ever blocking the caller.

A pipe that is not read, a disk that hangs or a stopped terminal must not stop the event loop. To a pipe or a socket
lines are written directly as long as it accepts them; lines that it does not accept, and lines for a file, go into a
bounded queue that a thread writes, those for a file a moment later and many at once. Lines that do not fit, or cannot be
written, are lost and counted; every line that is written is complete.
"""

import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

# Several workers may share a pipe. A write of at most PIPE_BUF bytes is never mixed with another (POSIX write(2)), and a
# pipe that does not wait takes all of it or nothing; a file opened for appending takes each write whole, whatever its size.
_WHOLE: Final = 4096

WAITING: Final = 1024 * 1024
"""Bytes of lines that may wait."""
_FLUSH: Final = 1.0  # seconds that an end may wait for what is queued
# Seconds that the first lines for a file wait for more: the thread wakes up a hundred times a second at most, where it woke
# for every 64 lines, and takes two fifths less processor time.
_GATHER: Final = 0.01
_LOOK: Final = 0.2  # seconds after which a pipe that takes nothing is looked at again
_STDOUT: Final = 1

_Item = bytes | int  # lines, or the descriptor of the file that those behind it are for


class Output:
    """Whole lines to a file that they are appended to, to standard output (`-`) or to a descriptor."""

    def __init__(self, where: str | int, *, waiting: int = WAITING, gather: float = _GATHER) -> None:
        """Raises OSError where the file can't be opened."""
        self._where = _STDOUT if where == "-" else where
        self._limit = waiting
        self._gather = gather
        self._on_flow: Callable[[int], bytes] | None = None
        self._changed = threading.Condition()
        self._soon = threading.Event()  # lines for a file are not to wait for more
        self._queue: deque[_Item] = deque()
        self._waiting = 0  # bytes, with those that are being written
        self._lost = 0  # lines, since `take_lost` was called last
        self._unsaid = 0  # lines, of which `on_flow` has not been told
        self._torn = False
        self._thread: threading.Thread | None = None
        self._over = False
        self.error = ""
        """Why the last lines were lost."""
        self._use(self._open())

    def on_flow(self, confess: Callable[[int], bytes]) -> None:
        """`confess(lost)` makes the line that is written when it flows again after so many lines were lost."""
        self._on_flow = confess

    @property
    def terminal(self) -> bool:
        """Whether a person is looking."""
        return os.isatty(self._fd)

    @property
    def flows(self) -> bool:
        """Whether nothing waits."""
        return self._waiting == 0

    def write(self, lines: bytes) -> None:
        """Write whole lines, now or soon. Never waits, raises nothing."""
        with self._changed:
            if self._over:
                self._lose(lines, "closed")
                return
            if self._waiting == 0 and self._send is not None and not self._unsaid:
                lines = self._write_at_once(lines)
                if not lines:
                    return
            if self._waiting + len(lines) > self._limit:
                self._lose(lines, self.error or "what reads the lines does not keep up")
                return
            self._put(lines)
            if self._waiting * 2 > self._limit:
                self._soon.set()

    def take_lost(self) -> int:
        """How many lines have been lost since this was last asked."""
        with self._changed:
            lost, self._lost = self._lost, 0
        return lost

    def reopen(self) -> None:
        """Open the file again by its name, after it was moved away: for the lines from here on. Raises OSError; the old
        one stays open then."""
        if isinstance(self._where, str):
            fresh = self._open()
            with self._changed:
                self._put(fresh)

    def flush(self, within: float = _FLUSH) -> bool:
        """Wait until everything is written, but not for long; whether it is."""
        self._soon.set()
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._waiting, within)

    def close(self, within: float = _FLUSH) -> None:
        """Write what waits, if that can be done soon, and close the file. What is not ours stays open."""
        flushed = self.flush(within)
        if not isinstance(self._where, str):
            return
        with self._changed:
            for item in self._queue:
                if isinstance(item, bytes):
                    self._lose(item, "closed")
            self._queue.clear()
            self._over = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(within)
        if flushed:  # else the thread may be inside a write to it
            self._shut()

    # Opening.

    def _open(self) -> int:
        where = self._where
        if isinstance(where, int):
            return where
        # Owner and group only: the lines say who visited what.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        if os.path.exists(where) and stat.S_ISFIFO(os.stat(where).st_mode):  # noqa: PTH110, PTH116 - a path or a number
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC  # it does not wait until the pipe is read
        return os.open(where, flags, 0o640)

    def _use(self, descriptor: int) -> None:
        """Write there from now on. `_send` writes to it without waiting, or is None."""
        self._fd = descriptor
        self._own: list[int] = []  # further descriptors of the same file
        self._socket: socket.socket | None = None
        self._send: Callable[[bytes | memoryview], int] | None = None
        self._reading: int | None = None
        mode = os.fstat(descriptor).st_mode
        same = f"/proc/self/fd/{descriptor}"
        try:
            if stat.S_ISREG(mode):
                self._reading = os.open(same, os.O_RDONLY | os.O_CLOEXEC)
                self._own.append(self._reading)
            elif stat.S_ISFIFO(mode):
                # A description of our own: whether it waits is a matter of the description, and others share this one.
                waitless = os.open(same, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._own.append(waitless)
                self._send = lambda data: os.write(waitless, data)
            elif stat.S_ISSOCK(mode):
                self._socket = shared = socket.socket(fileno=os.dup(descriptor))
                self._send = lambda data: shared.send(data, socket.MSG_DONTWAIT)
        except OSError:
            pass  # not allowed: the thread waits instead
        self._regular = stat.S_ISREG(mode)

    def _shut(self) -> None:
        for descriptor in self._own:
            os.close(descriptor)
        if self._socket is not None:
            self._socket.close()
        if isinstance(self._where, str):
            os.close(self._fd)

    # Writing.

    def _write_at_once(self, lines: bytes) -> bytes:
        """What is left of the lines when no more is taken."""
        send = self._send
        assert send is not None  # noqa: S101 - asked by the caller
        written = 0
        try:
            for piece in _pieces(lines):
                sent = send(piece)
                written += sent
                if sent < len(piece):
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(lines[written:], error.strerror or str(error))
            return b""
        return lines[written:]

    def _put(self, item: _Item) -> None:
        self._queue.append(item)
        self._waiting += len(item) if isinstance(item, bytes) else 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="log lines", daemon=True)
            self._thread.start()
        else:
            self._changed.notify_all()

    def _lose(self, lines: bytes, why: str) -> None:
        count = lines.count(b"\n")
        self._lost += count
        self._unsaid += count if self._on_flow is not None else 0
        self.error = why

    def _work(self) -> None:
        """The thread: write what is queued, in order."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._over)
                if not self._queue:
                    return
            if self._regular:
                self._soon.wait(self._gather)
            with self._changed:
                items = list(self._queue)
                self._queue.clear()
                self._soon.clear()
            batch: list[bytes] = []
            for item in items:
                if isinstance(item, bytes):
                    batch.append(item)
                else:
                    self._write_batch(batch)
                    self._shut()
                    self._use(item)
            self._write_batch(batch)
            self._apologize()
            with self._changed:
                self._changed.notify_all()

    def _apologize(self) -> None:
        """It flows again: say what was lost, if nothing is lost any more."""
        with self._changed:
            if self._on_flow is None or not self._unsaid or self._queue:
                return
            lost, self._unsaid = self._unsaid, 0
            line = self._on_flow(lost)
            self._waiting += len(line)
        if not self._write_batch([line]):
            with self._changed:
                self._unsaid += lost

    def _write_batch(self, batch: list[bytes]) -> bool:
        """Write them all and empty the list; whether nothing was lost."""
        lines = b"".join(batch)
        batch.clear()
        if not lines:
            return True
        rest, waiting = memoryview(lines), len(lines)
        try:
            if self._regular:
                rest = self._append(rest)
            else:
                for piece in _pieces(lines):
                    part = memoryview(piece)
                    while part:
                        sent = self._send_when_taken(part)
                        part, rest = part[sent:], rest[sent:]
                        with self._changed:
                            self._waiting -= sent
                            waiting -= sent
        except OSError as error:
            self.error = error.strerror or str(error)
        with self._changed:
            self._waiting -= waiting
            if rest:
                self._lose(bytes(rest), self.error)
        return not rest

    def _append(self, rest: memoryview) -> memoryview:
        """Append lines to the file; what is left of them where the disk is full. A line of which only a part fitted stays
        alone: whatever is behind it, ours or another process's, begins with a line end."""
        try:
            if self._ends_torn():
                os.write(self._fd, b"\n")
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            self._torn = False
        except OSError as error:
            self.error = error.strerror or str(error)
            self._torn = True
        return rest

    def _ends_torn(self) -> bool:
        if self._reading is None:
            return self._torn
        size = os.fstat(self._reading).st_size
        return size > 0 and os.pread(self._reading, 1, size - 1) != b"\n"

    def _send_when_taken(self, part: memoryview) -> int:
        if self._send is None:
            return os.write(self._fd, part)
        while True:
            try:
                return self._send(part)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(_LOOK * 1000)
                if self._over:
                    raise OSError("closed") from None
                time.sleep(0.001)  # poll says a pipe is writable before a whole piece fits


def _pieces(lines: bytes) -> Iterator[bytes]:
    """`lines` cut at line ends into pieces that one write takes whole; a longer line is a piece of its own."""
    start = 0
    while start < len(lines):
        if len(lines) - start <= _WHOLE:
            end = len(lines)
        else:
            end = lines.rfind(b"\n", start, start + _WHOLE) + 1 or lines.index(b"\n", start) + 1
        yield lines[start:end]
        start = end
