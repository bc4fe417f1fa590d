"""Exchanges that wait for a connection to one backend, and the dials that are under way for them.

Dials are the pool's, not one exchange's: whatever comes first, a new connection or one that is given back, goes to the one
that has waited longest. So a server that handles one connection at a time serves all of them over one.

Only so many dials are half open at once. A listener with a short queue (`listen(5)`) drops what is beyond it, and the kernel
tries again after one, three and seven seconds only. As in TCP's slow start the number grows with each connection that comes
up. Where one does not come up at once, that queue may be full, and then for some seconds no more are dialled than the backend
is known to serve, with a few that wait for their response: a connection that our kernel takes for open and theirs has
dropped would wait for minutes.

A backend that accepts or answers anything is alive, however slow: dials to it go on, and nobody hears that it does not take
connections. Each exchange has a deadline of its own, which the sweep keeps.
"""

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from router.proxy.dial import DialError, dial

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.exchange import Exchange
    from router.proxy.pool import Pool, Timer
    from router.proxy.worker_state import WorkerState

_MIN_DIALS: Final = 4  # half open at once: fewer than the shortest queue that is common
_MAX_DIALS: Final = 64
_TIGHT: Final = 5.0  # seconds
_FEW: Final = 2  # unanswered requests on new connections


class Caller:
    """One exchange's wait."""

    __slots__ = ("_callers", "_exchange")

    def __init__(self, callers: "Callers", exchange: "Exchange") -> None:
        self._callers = callers
        self._exchange = exchange

    def cancel(self) -> None:
        """It waits no more."""
        self._callers.leave(self._exchange)


class Callers:
    """See the module. A pool has them as long as anybody waits."""

    def __init__(self, worker: "WorkerState", pool: "Pool") -> None:
        self._worker = worker
        self._pool = pool
        self._waiting: OrderedDict[Exchange, int] = OrderedDict()  # since which number
        self._count = 0
        self._dials: OrderedDict[asyncio.Task[Any], None] = OrderedDict()
        self._starting = 0  # dials that wait for their turn
        self._most = _MIN_DIALS
        self._tight_until = 0.0
        self._timer: Timer | None = None

    def join(self, exchange: "Exchange") -> Caller:
        """Wait for a connection."""
        self._count += 1
        self._waiting[exchange] = self._count
        self._dial_more()
        return Caller(self, exchange)

    def leave(self, exchange: "Exchange") -> None:
        """Wait no more. Dials that nobody needs are given up."""
        if self._waiting.pop(exchange, None) is None:
            return
        self._trim()
        self._settle()

    def _trim(self) -> None:
        while len(self._dials) > len(self._waiting):
            task, _ = self._dials.popitem()
            task.cancel()

    def take(self, backend: "BackendConnection") -> bool:
        """A connection is given back: whether somebody takes it. Who has had a kept one already waits for a new one."""
        for exchange in self._waiting:
            if not exchange.tries:
                self._hand_over(exchange, backend, 0)
                return True
        return False

    def _hand_over(self, exchange: "Exchange", backend: "BackendConnection", tries: int) -> None:
        del self._waiting[exchange]
        self._trim()
        exchange.connected(backend, tries)
        self._settle()

    def _dial_more(self) -> None:
        """Every waiting exchange needs a dial; some of them have one."""
        pool, most = self._pool, min(self._most, len(self._waiting))
        if self._worker.time() < self._tight_until:
            most = min(most, max(1, pool.width), max(_FEW, 2 * pool.width) - len(pool.unanswered))
        while len(self._dials) + self._starting < most:
            self._starting += 1
            self._worker.pacer.take(self._start)

    def _start(self) -> None:
        self._starting -= 1
        if len(self._dials) < len(self._waiting):
            task = self._worker.tasks.start("dial", self._dial())
            self._dials[task] = None
        else:
            self._settle()

    async def _dial(self) -> None:
        known = self._count
        worker, task = self._worker, asyncio.current_task()
        try:
            backend, tries = await dial(worker, self._pool, self._slow)
        except DialError as error:
            self._forget(task)
            worker.metrics.count("backend_errors", error.kind)
            # It is the backend that cannot be reached, so it holds for everybody who has waited as long as this dial.
            for exchange in [exchange for exchange, number in self._waiting.items() if number <= known]:
                self._waiting.pop(exchange, None)
                exchange.not_connected(error)
        except Exception:  # a fault of ours: those that it was for don't wait for ever
            self._forget(task)
            for exchange in tuple(self._waiting):
                self._waiting.pop(exchange, None)
                exchange.crash()
            raise
        else:
            self._forget(task)
            self._most = min(_MAX_DIALS, self._most + 1)
            if self._waiting:
                self._hand_over(next(iter(self._waiting)), backend, tries)
            else:
                backend.close()
        finally:
            self._forget(task)
            self._settle()

    def _slow(self) -> None:
        """A dial has not come up at once: the backend's queue is full, or it is far away."""
        self._most = _MIN_DIALS
        self._tight_until = self._worker.time() + _TIGHT
        this = asyncio.current_task()
        for task in tuple(self._dials):
            if task is not this and len(self._dials) > max(1, self._pool.width):
                del self._dials[task]
                task.cancel()
        self._relax()

    def _relax(self) -> None:
        """Where it was the time that held further dials back, they begin when that is over."""
        left = self._tight_until - self._worker.time()
        if left <= 0:
            self._settle()
        elif self._timer is None:
            self._timer = self._pool.keeping.call_later(left, self._relaxed)

    def _relaxed(self) -> None:
        self._timer = None
        if self._waiting:
            self._relax()

    def progress(self) -> None:
        """A response has begun on a new connection, or one of those has closed."""
        self._settle()

    def _forget(self, task: "asyncio.Task[Any] | None") -> None:
        if task is not None:
            self._dials.pop(task, None)

    def _settle(self) -> None:
        if self._waiting:
            self._dial_more()
        elif not self._dials and not self._starting:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._pool.callers is self:
                self._pool.wanted(None)


def join(worker: "WorkerState", pool: "Pool", exchange: "Exchange") -> Caller:
    """Wait for a connection of that pool: one that is given back, or a new one. `connected` or `not_connected` says which."""
    callers = pool.callers
    if callers is None:
        callers = Callers(worker, pool)
        pool.wanted(callers)
    return callers.join(exchange)
