"""One port of one resource that is being woken, or starts, and all that wait for it.

They share one task, which goes on while anybody waits:

- it has the resource woken, once, where one of them may have that done;
- it follows how far that has come, by the record of the wake and by where the host leads (changes are heard of; what was
  missed is seen within a second);
- once the resource runs, it dials the port, with pauses that grow, until that accepts. The dials are no connections of the
  pool: nothing is sent on them;
- then it lets those that wait go on, the oldest first, a few in one turn of the loop, and no more than there are places at
  the resource.

What it knows is kept for `budget` seconds from its first request, whoever leaves and comes: a page without a script loads
itself again and again. That time begins when the platform is asked: while it waits in the queue for that, it does not run,
for ten minutes at most. A failure is kept for a moment, so that those that come in it are told the same.
"""

import asyncio
import math
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from router import errors
from router.errors import Problem, StoreUnavailableError
from router.observe import endings
from router.pages import Progress, Stage
from router.proxy import wake_stream
from router.proxy.guard import Visit
from router.routes.records import ResourceRecord, State
from router.routes.wakes import Wake, WakeRecord, WakeState, wake_key
from router.wake.waker import Reason

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.proxy.wakes import Wakes
    from router.proxy.worker_state import Prepared

_LOOK_EVERY: Final = 1.0  # seconds, where no change is heard of
_READ_TIME: Final = 5.0  # seconds to ask for a wake, or to read a record
_FIRST_PAUSE: Final = 0.05  # seconds between two dials, doubled up to `_LOOK_EVERY`
_DIAL_TIME: Final = 1.0  # seconds for one dial
_PER_TURN: Final = 16  # requests that go on in one turn of the loop, at some 50 µs
_TOLD_PER_TURN: Final = 64  # streams that are told in one turn
_NO_PLACE: Final = 0.01  # seconds until it is asked again whether the resource has one
_MOST_QUEUED: Final = 600.0  # seconds in the queue, after which the budget runs
_ASKS_PER_BUDGET: Final = 3  # how often it is asked for, so that it keeps its place in the queue
_REMEMBER: Final = 3.0  # seconds that a failure is kept
_HEARTBEAT: Final = 10.0  # seconds
_SLEEPING: Final = frozenset((State.PAUSED, State.STOPPED))

_log = structlog.get_logger("router.proxy")


class Waiter:
    """One exchange's wait. `page` is whether a page waits in its place, after a while; `result` the metric's label if it ends
    otherwise than by its client."""

    __slots__ = ("exchange", "page", "result", "since", "size", "waking")

    def __init__(self, waking: "Waking", exchange: "Exchange", since: float, *, page: bool) -> None:
        self.waking = waking
        self.exchange = exchange
        self.since = since
        self.page = page
        self.size = len(exchange.incoming.buffer)
        self.result = "left"

    def cancel(self) -> None:
        """It waits no more."""
        self.waking.leave(self)


class Waking:
    """See the module. `until` is an instant of the monotonic clock: what is known counts no more then."""

    def __init__(self, wakes: "Wakes", resource_id: str, port: int, tenant_id: str, now: float) -> None:
        self._wakes = wakes
        self._worker = wakes.worker
        self.resource_id = resource_id
        self.port = port
        self.place = (resource_id, port)
        self.tenant_id = tenant_id
        self.key = wake_key(resource_id)
        self.until = now + wakes.config.budget
        self._queued_until = now + _MOST_QUEUED
        self.open_until = -math.inf  # while those that wait go on, how long they may wait for that
        self.problem: Problem | None = None  # why it could not be woken
        self.progress = Progress(Stage.ASKED)
        self._waiters: OrderedDict[Exchange, Waiter] = OrderedDict()
        self._streams: OrderedDict[Exchange, Waiter] = OrderedDict()
        self._wanted: Reason | None = None  # somebody may have it woken
        self._request_id = ""
        self._ask_at = -math.inf  # when it is asked for, again
        self._warned = False
        self._pause = _FIRST_PAUSE
        self._beat_at = 0.0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        return len(self._waiters) + len(self._streams)

    @property
    def waited_for(self) -> bool:
        return bool(self._waiters or self._streams)

    def join(self, exchange: "Exchange", *, page: bool, wakes: bool) -> Waiter:
        """Wait for it. `wakes`: it may be woken for this request."""
        waiter = self._waiters[exchange] = Waiter(self, exchange, self._worker.time(), page=page)
        if wakes and self._wanted is None:
            now = self._worker.time()
            self.until, self._queued_until = now + self._wakes.config.budget, now + _MOST_QUEUED
            self._wanted = Reason.WEBSOCKET if exchange.head.upgrade else Reason.HTTP
            self._request_id = exchange.request_id
            self._changed.set()
        self._enter(exchange)
        return waiter

    def watch(self, exchange: "Exchange") -> Waiter:
        """Be told how far it comes."""
        waiter = self._streams[exchange] = Waiter(self, exchange, self._worker.time(), page=False)
        self._enter(exchange)
        return waiter

    def _enter(self, exchange: "Exchange") -> None:
        self._wakes.enter(self, exchange)
        if self._task is None:
            self._task = self._worker.tasks.start("wake a resource", self._run())

    def leave(self, waiter: Waiter) -> None:
        """One waits no more. While nobody does, nothing is done."""
        exchange = waiter.exchange
        if self._waiters.pop(exchange, None) is not None:
            self._exit(waiter, waiter.result)
        elif self._streams.pop(exchange, None) is not None:
            self._exit(waiter, "")

    def _exit(self, waiter: Waiter, result: str) -> None:
        self._wakes.exit(self, waiter.exchange, waiter.size, result)
        if not self.waited_for and self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            self._task = None

    def look_again(self) -> None:
        """Something has changed."""
        self._changed.set()

    def end(self, problem: Problem) -> None:
        """All that wait are told so, and streams end; who comes again finds another worker."""
        for waiter in tuple(self._waiters.values()):
            waiter.result = "ended"
            waiter.exchange.stop(problem)
        for exchange in tuple(self._streams):
            wake_stream.end(exchange)

    # The task.

    async def _run(self) -> None:
        task = asyncio.current_task()
        try:
            while self.waited_for:
                if self.problem is not None:  # they have come in the moment that it is kept
                    await self._tell_failure(self.problem)
                    continue
                if self._worker.time() >= self.until:
                    await self._give_up()
                    continue
                self._changed.clear()
                pause = await self._step()
                await self._beat()
                if pause and self.waited_for:
                    await self._sleep(min(pause, max(0.0, self.until - self._worker.time())))
        except Exception:  # a fault of ours: those that wait don't wait for ever
            self._wakes.forget(self)
            for waiter in (*self._waiters.values(), *self._streams.values()):
                waiter.exchange.crash()
            raise
        finally:
            if self._task is task:
                self._task = None

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _step(self) -> float:
        """Look where it stands, and do what is next; how long to wait for the next look, unless a change is heard of."""
        exchange = next(iter(self._waiters or self._streams))
        route = await self._worker.resolver.resolve(exchange.head.host)
        resource = route.resource
        if route.problem is errors.RESOLVER_UNAVAILABLE:
            return _LOOK_EVERY
        if resource is None or (resource.id, route.port) != self.place or resource.wake is Wake.OFF:
            await self._let_go(exchange.head.host)
            return 0.0
        if not route.current:
            self._changed.set()  # it was overtaken by a change, and of the next one the resolver would not tell
        if route.problem is errors.STARTING or route.problem is errors.STOPPED:
            return await self._wait_for_platform(resource)
        if route.problem is not None:
            await self._let_go(exchange.head.host)
            return 0.0
        # Should it fall asleep again before its port is open, it is asked for again, once in a second at most.
        self._ask_at = min(self._ask_at, self._worker.time() + _LOOK_EVERY)
        prepared: Prepared = route.prepared or self._worker.prepare(route)
        await self._tell(Progress(Stage.RUNNING))
        if prepared.problem is None and not await self._accepts(prepared):
            pause, self._pause = self._pause, min(_LOOK_EVERY, 2 * self._pause)
            return pause
        await self._open(prepared)
        return 0.0

    async def _wait_for_platform(self, resource: ResourceRecord) -> float:
        """It does not run yet."""
        self._pause = _FIRST_PAUSE
        if resource.state is State.ERROR:
            await self._fail(errors.WAKE_FAILED)
            return 0.0
        sleeps = resource.state in _SLEEPING
        if sleeps and self._wanted is not None and not await self._ask(self._wanted, self._request_id):
            return 0.0 if self.problem is not None else _LOOK_EVERY
        record = await self._record()
        if record is None:
            starts = not sleeps and resource.state is not State.STOPPING
            await self._tell(Progress(Stage.STARTING if starts else Stage.ASKED))
            return _LOOK_EVERY
        if record.state.ended:
            if sleeps or self._ask_at > 0:
                await self._fail(_problem_of(record))
                return 0.0
            return _LOOK_EVERY
        await self._tell(Progress(_STAGES[record.state], record.place))
        now, budget = self._worker.time(), self._wakes.config.budget
        if record.state is not WakeState.QUEUED:  # it needs no place
            self._ask_at = now + budget / _ASKS_PER_BUDGET
        elif now < self._queued_until:
            self.until = now + budget
            # Who had it woken may have come to another worker, and only a page watches here.
            if sleeps and self._wanted is None and self._streams:
                await self._ask(Reason.HTTP, next(iter(self._streams)).request_id)
        return _LOOK_EVERY

    async def _ask(self, reason: Reason, request_id: str) -> bool:
        """Ask for it where it is time to; whether that is noted. Where the queue is full, those that wait hear so at once: a
        place may be long in coming, and who comes again has the same chance of it."""
        now = self._worker.time()
        if now < self._ask_at:
            return True
        try:
            async with asyncio.timeout(_READ_TIME):
                noted = await self._wakes.config.waker.ask(self.resource_id, self.port, reason, request_id)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is asked again, and those that wait have their time
            self._warn("a wake could not be asked for", error)
            return False
        if not noted:
            await self._fail(errors.WAKE_QUEUE_FULL)
            return False
        self._ask_at = now + self._wakes.config.budget / _ASKS_PER_BUDGET
        return True

    async def _record(self) -> WakeRecord | None:
        """What the fleet knows of the wake; None where that is nothing, or can't be read now."""
        try:
            async with asyncio.timeout(_READ_TIME):
                found = (await self._wakes.config.source.fetch((self.key,))).only((self.key,))[self.key]
        except Exception as error:  # noqa: BLE001 - likewise
            self._warn("the record of a wake could not be read", error)
            return None
        return found if isinstance(found, WakeRecord) and found.counts(self._worker.date()) else None

    def _warn(self, what: str, error: Exception) -> None:
        """Once: it is tried again every second."""
        if not self._warned:
            self._warned = True
            bug = not isinstance(error, (StoreUnavailableError, TimeoutError))
            _log.warning(what, resource=self.resource_id, error=str(error) or "no answer in time", exc_info=bug)

    async def _accepts(self, prepared: "Prepared") -> bool:
        """Whether the port takes a connection, which is closed at once."""
        pool = prepared.pool
        self._worker.connection_limits.dialling()
        try:
            async with asyncio.timeout(min(_DIAL_TIME, self._worker.limits.dial)):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, pool.address, pool.port
                )
        except (OSError, TimeoutError):
            return False
        transport.close()
        return True

    # What becomes of those that wait.

    async def _open(self, prepared: "Prepared") -> None:
        """The port accepts: they go on, and pages load what they were asked for."""
        worker = self._worker
        self._wakes.forget(self)  # who comes now goes straight on
        self.open_until = worker.time() + self._wakes.config.hold
        await self._tell(Progress(Stage.OPEN))
        for exchange in tuple(self._streams):
            wake_stream.end(exchange)
        activity = prepared.activity
        while self._waiters:
            room = worker.max_exchanges - activity.exchanges
            for waiter in tuple(islice(self._waiters.values(), min(_PER_TURN, max(room, 0)))):
                self._go_on(waiter)
            await asyncio.sleep(_NO_PLACE if room <= 0 else 0)

    async def _let_go(self, host: bytes) -> None:
        """This host leads elsewhere, or nobody may wait for it any more: they are admitted by what it leads to now."""
        for exchange in [one for one in self._streams if one.head.host == host]:
            wake_stream.end(exchange)
        waiters = [waiter for waiter in self._waiters.values() if waiter.exchange.head.host == host]
        for start in range(0, len(waiters), _PER_TURN):
            for waiter in waiters[start : start + _PER_TURN]:
                if waiter.exchange in self._waiters:
                    self._go_on(waiter)
            await asyncio.sleep(0)

    def _go_on(self, waiter: Waiter) -> None:
        exchange, worker = waiter.exchange, self._worker
        del self._waiters[exchange]
        self._exit(waiter, "served")
        exchange.waiting = None
        incoming = exchange.incoming
        incoming.deadline = worker.now + worker.limits.half_close if exchange.half_closed else math.inf
        visit = exchange.visit = Visit(restricted=False) if exchange.visit is None else exchange.visit.own()
        visit.waits += 1
        visit.tells_times = True
        visit.woken = int(1000 * (worker.time() - waiter.since)) + max(0, visit.woken)
        try:
            exchange.woken()
        except Exception:  # noqa: BLE001 - it has ended itself: the others go on
            _log.exception("a request that was held failed", request_id=exchange.request_id)

    async def _give_up(self) -> None:
        """Its time is over. Where only pages watch, which nobody has had it woken for, that says nothing to others."""
        if self._wanted is not None or self._waiters:
            await self._fail(errors.WAKE_FAILED)
        else:
            await self._tell_failure(errors.WAKE_FAILED)

    async def _fail(self, problem: Problem) -> None:
        """It can't be woken: all hear why, and so do those that come in the next moment."""
        self.problem = problem
        self.until = self._worker.time() + _REMEMBER
        await self._tell_failure(problem)

    async def _tell_failure(self, problem: Problem) -> None:
        for exchange in tuple(self._streams):
            wake_stream.end(exchange, problem)
        waiters = tuple(self._waiters.values())
        for start in range(0, len(waiters), _PER_TURN):
            for waiter in waiters[start : start + _PER_TURN]:
                if waiter.exchange in self._waiters:
                    waiter.result = "failed"
                    waiter.exchange.respond(problem, ending_of(problem))
            await asyncio.sleep(0)

    async def _tell(self, progress: Progress) -> None:
        """Those that watch hear of what is new."""
        if progress == self.progress:
            return
        self.progress = progress
        streams = tuple(self._streams)
        for start in range(0, len(streams), _TOLD_PER_TURN):
            for exchange in streams[start : start + _TOLD_PER_TURN]:
                if exchange in self._streams:
                    wake_stream.tell(exchange, progress)
            await asyncio.sleep(0)

    async def _beat(self) -> None:
        """Now and then something is sent on each stream, so that nobody takes it for dead."""
        now = self._worker.time()
        if now < self._beat_at:
            return
        self._beat_at = now + _HEARTBEAT
        streams = tuple(self._streams)
        for start in range(0, len(streams), _TOLD_PER_TURN):
            for exchange in streams[start : start + _TOLD_PER_TURN]:
                if exchange in self._streams:
                    wake_stream.beat(exchange, self.until)
            await asyncio.sleep(0)


_STAGES: Final = {
    WakeState.QUEUED: Stage.QUEUED,
    WakeState.ASKED: Stage.ASKED,
    WakeState.STARTING: Stage.STARTING,
}
_REFUSALS: Final = {402: errors.WAKE_PAYMENT_REQUIRED, 403: errors.WAKE_REFUSED, 409: errors.WAKE_NOT_POSSIBLE}


def ending_of(problem: Problem) -> str:
    """How requests end that wait for what can't be woken."""
    return endings.EDGE_IN_WAKE if problem is errors.WAKE_QUEUE_FULL else endings.BACKEND_IN_WAKE


def _problem_of(record: WakeRecord) -> Problem:
    """Why it could not be woken."""
    if record.state is WakeState.REFUSED:
        return _REFUSALS.get(record.code or 0, errors.WAKE_REFUSED)
    return errors.WAKE_FAILED
