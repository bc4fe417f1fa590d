"""Kept connections to one port of one resource, of one generation.

A pool is last in, first out: the connection used last is the least likely to have been closed by the backend, and every
operation is O(1).

A server that handles one connection at a time (Python's HTTPServer, a pool of four threads) takes no other while one of
ours is open, idle or not: its kernel accepts further connections, and their requests stay without a response. So a pool
counts. A connection is *held* by the backend once a response has come on it, or on one that was made after it: servers
accept in order. `width` is the most that were held at once, which the backend is known to serve. Where a request on a new
connection is unanswered and as many are held as that, idle connections may be what it waits for:

- they are closed after a short grace, in which the response would come from a server that was only busy;
- where that helped, at once for the next second. Then the grace is tried again, since a server that is only slow looks the
  same.

Other processes' connections may wait too (other workers', other nodes', a health check's), of which we know nothing. So
where a backend was not seen to serve `_MANY` at once, half of what it serves is left to others: when nothing has been given
back for `unproven` seconds, idle connections beyond `width // 2` are closed (all, of a backend that may serve one), and where
traffic never pauses one connection in ten times that. One connection stays with a backend that says how long it keeps them
(`Keep-Alive: timeout`, as Node.js and Apache do): it expects idle ones, so it does not serve one at a time. Else each host
that is visited now and then would be dialled for every request, which costs three times what the request does.

An idle connection is also closed before the backend would close it: as that says itself (`Keep-Alive: timeout`), or before
the usual 5 s. A request that is sent into a connection which is being closed is lost, and only some may be repeated.
"""

import asyncio
import heapq
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from router.http1.host_rewrite import ToldHost
from router.proxy.backend import BackendConnection
from router.routes.records import H2C, HTTP1

if TYPE_CHECKING:
    from router.proxy.callers import Callers
    from router.proxy.dial import DialError
    from router.proxy.h2_backend import Http2Backend

_MARGIN: Final = 1.0  # seconds between our closing and the backend's, or half of its time where that is less
_SURE: Final = 0.25  # of the time that is only assumed: so long a backend keeps a connection for sure
_GRACE: Final = 0.2  # of `unproven`: for a response, before idle connections are closed for its sake
_MANY: Final = 8  # connections at once: a backend that serves so many has some left for others
_ROUNDS: Final = 10  # of `unproven` without a pause, until a connection is closed for others' sake
_NARROW: Final = 1.0  # seconds until the grace is tried again

# What pools have of which nothing is unanswered: 370 bytes less for each of ten thousand. Nothing is ever put into it.
_ALL_ANSWERED: Final[OrderedDict[BackendConnection, None]] = OrderedDict()


class Timer(Protocol):
    """What `call_later` gives."""

    def cancel(self) -> None: ...


def call_later(delay: float, step: Callable[[], None]) -> Timer:
    """As the running loop's."""
    return asyncio.get_running_loop().call_later(delay, step)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long connections are kept without use, in seconds: at most, where the backend does not say how long it keeps
    them, and where it may serve one at a time."""

    longest: float = 30.0
    unsaid: float = 4.0
    unproven: float = 0.1
    call_later: Callable[[float, Callable[[], None]], Timer] = call_later


class Pool:
    """The kept connections of one port of one resource, of one generation."""

    __slots__ = (
        "__weakref__",
        "_blocked",
        "_gave_way",
        "_grace",
        "_impatient",
        "_look",
        "_narrow_until",
        "_probation",
        "_quiet",
        "_rounds",
        "_said",
        "_watched",
        "address",
        "callers",
        "dialling",
        "generation",
        "held",
        "http2",
        "idle",
        "keep",
        "keeping",
        "name",
        "port",
        "progress_at",
        "protocol",
        "retired",
        "server_name",
        "siblings",
        "sure",
        "told",
        "unanswered",
        "watch",
        "width",
    )

    def __init__(
        self,
        address: str,
        port: int,
        generation: str,
        siblings: object = None,
        watch: "Watch | None" = None,
        server_name: str | None = None,
        keeping: Keeping | None = None,
        protocol: str = HTTP1,
    ) -> None:
        """`server_name` is what a TLS handshake names; None speaks without TLS. With `h2c` the kept connections are streams
        of `http2`."""
        self.siblings = siblings  # a strong reference: they are found as long as one of them is in use (`pools.py`)
        self.watch: Watch = [] if watch is None else watch
        self._watched = False
        self.address = address
        self.port = port
        self.server_name = server_name
        self.protocol = protocol
        self.http2: Http2Backend | None = None  # which takes new streams
        self.dialling: asyncio.Task[DialError | None] | None = None  # of `http2`
        self.generation = generation
        self.name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.idle: list[BackendConnection] = []
        self.retired = False
        self.callers: Callers | None = None
        self.progress_at = -math.inf  # when the backend last accepted a connection or began to answer on one
        self.told: ToldHost | None = None  # by `host_mode` auto, for all routes that lead here
        self.keeping = keeping or Keeping()
        self._said = -1
        self._is_told(0)
        self.held = 0
        self.width = 0
        # New connections that have no response yet, in the order in which they were made.
        self.unanswered = _ALL_ANSWERED
        self._grace: Timer | None = None
        self._blocked: BackendConnection | None = None  # the first of them when the grace began
        # Time is over, and the connections in the way were busy: the next one given back is closed.
        self._impatient = False
        # What was idle has been closed for the sake of the unanswered, none of which has been answered since.
        self._gave_way = False
        self._narrow_until = 0.0
        self._probation: Timer | None = None
        self._rounds = 0
        self._quiet = False  # nothing has been given back since the timer was set
        self._look = protocol != H2C  # whether one of the above matters to a connection that is given back

    def __repr__(self) -> str:
        return f"<Pool {self.address}:{self.port} {self.generation}: {len(self.idle)} idle>"

    def take(self) -> BackendConnection | None:
        """The connection given back last, or None."""
        while self.idle:
            backend = self.idle.pop()
            if not backend.closing:
                return backend
        return None

    def take_sure(self, now: float) -> BackendConnection | None:
        """As `take`, for a request that may not be repeated: none that the backend may be closing at this moment. Nor one
        that others may be waiting for, since it may be an offer to upgrade, after which it would never be given back."""
        while self.idle and not self.unanswered:
            backend = self.idle[-1]
            if not backend.closing and backend.idle_since + self.sure < now:
                return None
            self.idle.pop()
            if not backend.closing:
                return backend
        return None

    def give(self, backend: BackendConnection, now: float) -> None:
        """Keep a connection whose exchange is over, unless the pool is retired, or it may be in another's way."""
        self._quiet = False
        if self.retired or backend.closing or (self._look and self._is_in_the_way(now)):
            backend.close()
            return
        if self._look and self.callers is not None and self.callers.take(backend):
            return
        backend.idle_since = now
        self.idle.append(backend)
        if not self._watched:
            self._watched = True
            heapq.heappush(self.watch, (now + self.keep, id(self), self))

    # What the backend serves at once.

    def sent(self, backend: BackendConnection) -> None:
        """A request goes out on a new connection."""
        if self.protocol == H2C:  # a stream, which is in nobody's way
            return
        if self.unanswered is _ALL_ANSWERED:
            self.unanswered = OrderedDict()
        self.unanswered[backend] = None
        self._look = True
        if self.idle:
            self._wait()

    def answered(self, backend: BackendConnection, now: float, said: int = 0) -> None:
        """A first response has come on a new connection; its backend keeps it for `said` seconds, or does not say: 0. A 1xx
        says nothing of that: -1."""
        self.progress_at = now
        if said not in (self._said, -1):
            self._is_told(said)
        if backend not in self.unanswered:  # a later one was answered before it
            return
        self._impatient = False
        first = None
        while first is not backend:
            first, _ = self.unanswered.popitem(last=False)
            first.accepted = True
            self.held += 1
        if not self.unanswered:
            self.unanswered = _ALL_ANSWERED
        if self.held > self.width:
            self.width = self.held
            if self.held > 1:
                self._gave_way = False
                self._narrow_until = 0.0
        if self._gave_way:
            self._gave_way = False
            self._narrow_until = now + _NARROW
        self._settle()
        if self.callers is not None:
            self.callers.progress()

    def gone(self, backend: BackendConnection) -> None:
        """A connection has closed."""
        if backend.accepted:
            backend.accepted = False
            self.held -= 1
        else:
            self.unanswered.pop(backend, None)
            if not self.unanswered:
                self.unanswered = _ALL_ANSWERED
        if not self.held and not self.unanswered:
            self.width = 0  # what comes next may be another program
        self._settle()
        if self.callers is not None:
            self.callers.progress()

    def wanted(self, callers: "Callers | None") -> None:
        """Somebody waits for a connection, or nobody does any more."""
        self.callers = callers
        if callers is None and self.dialling is not None:
            self.dialling.cancel()
            self.dialling = None
        self._settle()

    def _settle(self) -> None:
        self._look = self.protocol != H2C and (
            bool(self.unanswered)
            or self.callers is not None
            or self._impatient
            or (self._probation is None and self.width < _MANY)
        )

    def _is_told(self, said: int) -> None:
        """How long the backend keeps connections, as it says; 0 where it does not."""
        if self.protocol == H2C:  # a stream is there as long as its connection is, of whose end we hear
            self.keep, self.sure = self.keeping.longest, math.inf
            return
        self._said = said
        if said:
            self.keep = self.sure = min(self.keeping.longest, max(said - _MARGIN, said / 2))
        else:
            self.keep = min(self.keeping.longest, self.keeping.unsaid)
            self.sure = self.keep * _SURE

    def _is_in_the_way(self, now: float) -> bool:
        """Whether a connection that could be kept would keep the backend from others."""
        if self.held >= self.width and (self._impatient or (self.unanswered and now < self._narrow_until)):
            self._impatient = False
            self._settle()
            return True
        if self.unanswered:
            self._wait()
        # Where it says how long it keeps connections there is a timer only if it would close one.
        if self._probation is None and self.width < _MANY and (self._said <= 0 or len(self.idle) >= self._spare()):
            self._rounds = 0
            self._prove()
        return False

    def _spare(self) -> int:
        """How many connections may stay idle when nothing is given back: the backend has as many left for others."""
        return max(self.width // 2, 1 if self._said > 0 else 0)

    def _wait(self) -> None:
        if self._grace is None:
            self._blocked = next(iter(self.unanswered))
            share = _GRACE if self.held >= self.width else 1.0
            self._grace = self.keeping.call_later(share * self.keeping.unproven, self._waited)

    def _waited(self) -> None:
        """The grace is over."""
        self._grace = None
        first, self._blocked = self._blocked, None
        if first is None or first not in self.unanswered:  # some have been answered meanwhile
            if self.unanswered and self.idle:
                self._wait()
            return
        self._gave_way = True
        self._impatient = not self.idle
        self.width = min(self.width, self.held)  # others may have taken places that were ours before
        self._close(min(len(self.idle), len(self.unanswered)))
        self._settle()

    def _prove(self) -> None:
        self._quiet = True
        self._probation = self.keeping.call_later(self.keeping.unproven, self._proved)
        self._settle()

    def _proved(self) -> None:
        """Nothing or something has been given back since the timer was set."""
        self._probation = None
        if self.width < _MANY:
            if self._quiet:
                self._close(len(self.idle) - self._spare())
            else:
                self._rounds += 1
                if self._rounds % _ROUNDS == 0 and self.held >= self.width:
                    self._impatient = True
                self._prove()
        self._settle()

    # What is closed.

    def forget_http2(self, connection: "Http2Backend") -> None:
        """It takes no more streams."""
        if self.http2 is connection:
            self.http2 = None

    def retire(self) -> None:
        """Close what is idle; what is busy is closed when its exchange is over."""
        self.retired = True
        self._close(len(self.idle))
        for timer in (self._grace, self._probation):
            if timer is not None:
                timer.cancel()
        self._grace = self._probation = self._blocked = None
        if self.http2 is not None:
            self.http2.look()

    def sweep(self, now: float) -> None:
        """As `close_idle`, and put the pool on the heap again for when the oldest connection left is due."""
        self.close_idle(now)
        self._watched = bool(self.idle)
        if self._watched:
            heapq.heappush(self.watch, (self.idle[0].idle_since + self.keep, id(self), self))

    def close_idle(self, now: float) -> None:
        """Close connections that have been idle for longer than they are kept; the oldest are first in the list."""
        since = now - self.keep
        count = 0
        while count < len(self.idle) and (self.idle[count].idle_since < since or self.idle[count].closing):
            count += 1
        self._close(count)

    def _close(self, count: int) -> None:
        """Close that many idle connections, the oldest first."""
        if count > 0:
            for backend in self.idle[:count]:
                backend.close()
            del self.idle[:count]


# Pools that keep connections, by when the oldest is due to be closed: a heap, so that the few that are due are found
# without a pass over ten thousand. Each pool is in it once.
Watch = list[tuple[float, int, Pool]]
