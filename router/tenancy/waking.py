"""The service of wakes: takes requests in, asks the platform, and stores what comes of it.

All that this process has to store at a moment (requests, answers) goes into one transaction, the round, and rounds go one
after the other: a thousand visitors at once are one or two of them. The job `watch_wakes` makes a round each second on one node,
which frees what a dead node has left and takes those whose turn has come.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence

import structlog

from router.base.breaker import Breaker
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.base.transactions import Transactions
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.routes.wakes import WakeState
from router.settings import Wake
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.deliveries import Attempt
from router.tenancy.transaction import Tx
from router.tenancy.wake_calls import Caller, judge, message
from router.tenancy.wake_plan import GRACE, Outcome, Plan, Round
from router.tenancy.wakes import SLEEPING, Request, Sleeper, StoredWake

EVERY = 1.0  # seconds between two rounds of the job
_MAX_WAITING = 10_000  # requests that wait for a round
_FRESH = 3.0  # seconds for which a gauge shows what the last round saw
_STORE_AGAIN = 0.5  # seconds between tries to store an answer
_CLOSE_TIMEOUT = 3.0  # seconds that calls under way have when the process stops
_GIVE_BACK_TIME = 1.0  # seconds to give back, when the process stops, what was not answered
_JITTER = 0.3
_COUNTED = (WakeState.QUEUED.value, WakeState.ASKED.value, WakeState.STARTING.value)

_log = structlog.get_logger("router.wake")

_Answered = tuple[StoredWake, WakeState, int | None]


class Wakes:
    """Wakes of the whole fleet, from this process. Owns its calls; `close` it before the store.

    Without a `caller` it takes requests in, and leaves the calls to processes that have one.
    """

    def __init__(
        self, store: Transactions[Tx], clock: Clock, *, settings: Wake, caller: Caller | None, metrics: Metrics
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._secret = "" if settings.secret is None else settings.secret.get_secret_value()
        self._caller = caller
        self._metrics = metrics
        self._breaker = Breaker(failures=settings.failures, pause=settings.pause, clock=clock)
        self._tasks = Tasks("wakes")
        self._requests: dict[str, Request] = {}
        self._answers: list[_Answered] = []
        self._next: asyncio.Future[frozenset[str]] | None = None  # what the round that is next finds no place for
        self._rounds: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._counts: Mapping[str, float] = {}
        self._counted_at = float("-inf")
        metrics.gauge("wakes_in_progress", self._in_progress)
        metrics.gauge("wake_breaker_open", lambda: float(not self._breaker.closed))

    async def ask(self, resource_id: str, port: int, reason: str, request_id: str) -> bool:
        """Have it woken: see `wake.waker.Waker`. Raises StoreUnavailableError."""
        if len(self._requests) >= _MAX_WAITING and resource_id not in self._requests:
            return False
        request = Request(resource_id=resource_id, port=port, reason=reason, request_id=request_id)
        self._requests.setdefault(resource_id, request)
        return resource_id not in await self._round()

    async def watch(self) -> None:
        """Free what has had its time, and take those whose turn it is. Raises StoreUnavailableError."""
        async with self._store.read() as tx:
            if not await tx.wakes.pending():
                self._count({})
                return
        await self._round()

    async def close(self) -> None:
        """Take nothing more, wait up to three seconds for calls under way, and give the rest back to the queue: another node asks
        again, under the same id, so that nobody waits until this one's time is over."""
        self._stopped = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=_CLOSE_TIMEOUT)
        if self._calls:
            for call in self._calls:
                call.cancel()
            await asyncio.wait(self._calls, timeout=_GIVE_BACK_TIME)
            try:
                async with asyncio.timeout(_GIVE_BACK_TIME):
                    await self._round()
            except (StoreUnavailableError, TimeoutError) as error:  # then their time ends by itself
                _log.warning("wakes under way not given back", error=str(error) or "the store did not answer in time")
        await self._tasks.close()

    async def _round(self) -> frozenset[str]:
        """Wait until a round has taken in all that is there now; what it found no place for. Raises StoreUnavailableError."""
        if self._tasks.closed:
            raise StoreUnavailableError("this process is about to end")
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._next.add_done_callback(lambda ended: ended.exception())  # nobody may be left who wants to know
        ended = self._next
        if self._rounds is None or self._rounds.done():
            self._rounds = self._tasks.start("rounds", self._make_rounds())
        return await asyncio.shield(ended)

    async def _make_rounds(self) -> None:
        while (ended := self._next) is not None:
            self._next = None
            requests, self._requests = tuple(self._requests.values()), {}
            answers, self._answers = self._answers, []
            try:
                result = await self._store_round(requests, answers)
            except Exception as error:  # noqa: BLE001  # those that wait are told
                ended.set_exception(error)
            except asyncio.CancelledError:
                for waited_for in (ended, self._next):
                    if waited_for is not None:
                        waited_for.set_exception(StoreUnavailableError("this process is about to end"))
                raise
            else:
                ended.set_result(result.full)
                for wake, sleeper in result.calls:
                    task = self._tasks.start("ask the platform", self._call(wake, sleeper))
                    self._calls.add(task)
                    task.add_done_callback(self._calls.discard)

    @retry_on_deadlock
    async def _store_round(self, requests: Sequence[Request], answers: Sequence[_Answered]) -> Round:
        async with self._store.begin() as tx:
            now = await tx.wakes.hold()
            wanted = {request.resource_id for request in requests} | {wake.resource_id for wake, _, _ in answers}
            stored = {wake.resource_id: wake for wake in await tx.wakes.list(wanted, now)}
            sleepers = await tx.wakes.sleepers(wanted | stored.keys())
            plan = Plan(stored.values(), sleepers, self._settings, now)
            plan.pass_time()
            for wake, state, code in answers:
                plan.answer(wake, state, code)
            for request in requests:
                plan.request(request)
            result = plan.finish(calls=self._caller is not None and not self._stopped)
            await tx.wakes.delete(result.gone)
            await tx.wakes.save(stored, result.wakes)
        self._count(plan.count())
        for outcome, seconds in result.ended:
            self._metrics.count("wakes", outcome.value)
            if outcome is Outcome.RUNNING:
                self._metrics.observe("wake_seconds", seconds)
        return result

    async def _call(self, wake: StoredWake, sleeper: Sleeper) -> None:
        """Ask the platform, and store what came of it."""
        started = self._clock.monotonic()
        try:
            state, code = await self._ask_platform(wake, sleeper, started + self._settings.ask_time)
        except asyncio.CancelledError:
            self._answers.append((wake, WakeState.QUEUED, None))
            raise
        _log.info("platform asked to wake", resource=wake.resource_id, wake=wake.id, state=state.value, status=code)
        until = started + self._settings.ask_time + GRACE
        while True:
            self._answers.append((wake, state, code))
            try:
                await self._round()
            except StoreUnavailableError as error:
                if self._tasks.closed or self._clock.monotonic() >= until:
                    _log.warning("result of a wake not stored", wake=wake.id, error=str(error))
                    return
                await asyncio.sleep(_STORE_AGAIN)
            else:
                return

    async def _ask_platform(self, wake: StoredWake, sleeper: Sleeper, until: float) -> tuple[WakeState, int | None]:
        """Call until there is an answer or no time left; the state that follows from it, and the status."""
        assert self._caller is not None  # noqa: S101 - nothing is taken without one
        tries, code = 0, None
        while True:
            if not self._breaker.admits():
                self._metrics.count("wake_calls", "not_sent")
                return WakeState.FAILED, code
            tries += 1
            within = min(self._settings.call_time, until - self._clock.monotonic())
            try:
                call = message(wake, sleeper, self._secret, self._clock.now())
                attempt = await self._caller.call(*call, within)
            except asyncio.CancelledError:
                self._breaker.released()
                raise
            except Exception:  # noqa: BLE001  # a bug of ours is no answer
                _log.exception("wake call failed: bug", wake=wake.id)
                attempt = Attempt(error="it could not be sent")
            verdict = judge(attempt, tries, random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret
            (self._breaker.succeeded if verdict.usable else self._breaker.failed)()
            self._metrics.count("wake_calls", verdict.result)
            code = attempt.status
            if verdict.state is not None:
                return verdict.state, code
            _log.warning("platform not waking", wake=wake.id, status=code, error=attempt.error, tries=tries)
            if self._clock.monotonic() + verdict.pause >= until:
                return WakeState.FAILED, code
            await asyncio.sleep(verdict.pause)
            if not await self._is_wanted(wake):
                return WakeState.FAILED, code

    async def _is_wanted(self, wake: StoredWake) -> bool:
        """Whether to ask again: the resource may have been started, deleted or blocked meanwhile."""
        try:
            async with self._store.read() as tx:
                sleeper = (await tx.wakes.sleepers([wake.resource_id])).get(wake.resource_id)
        except StoreUnavailableError:
            return True
        return sleeper is not None and not sleeper.suspended and sleeper.state in SLEEPING

    def _count(self, counts: Mapping[str, int]) -> None:
        self._counts = {state: float(counts.get(state, 0)) for state in _COUNTED}
        self._counted_at = self._clock.monotonic()

    def _in_progress(self) -> Mapping[str, float]:
        """As the last round saw it; of the nodes the one that has the job knows best."""
        fresh = self._clock.monotonic() - self._counted_at <= _FRESH
        return self._counts if fresh else dict.fromkeys(_COUNTED, 0.0)
