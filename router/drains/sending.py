"""Sends what log drains have to send: batch after batch of each, at least once, by one process of the fleet.

The store of request records is the queue: a drain has a position in it, which moves when its endpoint has taken a batch. So nothing
is kept twice, a process that dies leaves nothing behind but a batch that is sent again, and the bound of what waits is how long
records are kept. A drain whose endpoint has been away for so long gives up what is about to be deleted; how many records that were is
counted, and said in front of the next batch.

An endpoint that does not answer delays no other drain. It is tried again after 5 s, then twice as long each time, up to five minutes.

Where an endpoint refuses what a batch says (400, 413, 422), the batch is halved, so that one record that it can't take does not keep
those behind it waiting. That record alone is given up after ten minutes, as what is too old is.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from router.base.clock import Clock
from router.base.leases import GuardedTransactions, Lease
from router.base.secret_box import SecretBox, SecretLostError
from router.base.tasks import Tasks
from router.drains.batch import MAX_BATCH, Batch, batch_of
from router.drains.credentials import LOST, open_credentials
from router.drains.log_drain import PAUSED_BY_GONE, DrainState, LogDrain
from router.drains.log_drains import DrainSender
from router.drains.transaction import Tx
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.records.kept import KeptRecords
from router.records.record import RecordFilter
from router.tenancy.deliveries import GONE, Attempt

EVERY: Final = 2.0  # seconds between two looks for new records
CONCURRENCY: Final = 64  # drains that send at once
TOLD_AFTER: Final = 8  # failures in a row, about ten minutes, after which an event says so

_ROUND_BATCHES: Final = 40  # of one drain, before others have a turn
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0  # seconds; doubled each time
_JITTER: Final = 0.1
_CONTENT_REFUSED: Final = frozenset({400, 413, 422})  # which another batch may not be
_CLOSE_TIMEOUT: Final = 3.0  # seconds that batches under way have when the process stops
_SKIP_EVERY: Final = 30.0  # seconds between two times that the positions of idle drains are stored

_log = structlog.get_logger("router.drains")


class DrainJob:
    """See the module. Owns the batches under way; `close` it before the store and before the lease is given back."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        kept: KeptRecords,
        sender: DrainSender,
        box: SecretBox,
        oldest: Callable[[datetime], int],
        metrics: Metrics,
        commits: Callable[[], int],
    ) -> None:
        """`oldest` gives the id of the oldest record that is not about to be deleted at an instant; `commits` a number that is
        another one when something was committed to the store."""
        self._store = store
        self._clock = clock
        self._kept = kept
        self._sender = sender
        self._box = box
        self._oldest = oldest
        self._metrics = metrics
        self._commits = commits
        self._none_at: int | None = None  # that number, when none was active
        metrics.gauge("log_drains_in_flight", lambda: float(len(self._under_way)))
        self._tasks = Tasks("log drains")
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._idle: dict[str, int] = {}  # drains that had nothing to send up to a position that is not stored yet
        self._limits: dict[str, int] = {}  # records of a batch, where an endpoint took no more
        self._skipped = clock.monotonic()
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether any batch is under way."""
        return bool(self._under_way)

    async def round(self, lease: Lease) -> None:
        """Begin to send what is new, and don't wait for it. Raises StoreUnavailableError."""
        if self._stopped:
            return
        commits = self._commits()
        if commits == self._none_at:
            return
        async with self._store.read() as tx:
            self._none_at = None if await tx.log_drains.any() else commits
        if self._none_at is not None:
            return
        newest = await self._kept.newest()
        async with self._store.read() as tx:
            due = list(await tx.log_drains.due(newest, self._clock.now()))
        known = {drain.id for drain in due}
        self._limits = {drain: limit for drain, limit in self._limits.items() if drain in known}
        await self._skip_idle(lease)
        random.shuffle(due)  # where there is no room for all, no drain is always the last
        for drain in due:
            if len(self._under_way) >= CONCURRENCY:
                return
            if drain.id not in self._under_way and self._idle.get(drain.id, -1) < newest:
                self._under_way[drain.id] = self._tasks.start("drain", self._send_all(drain, newest, lease))

    async def close(self) -> None:
        """Begin nothing new, wait up to three seconds for what is under way, and cancel the rest: it is sent again elsewhere."""
        self._stopped = True
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=_CLOSE_TIMEOUT)
        await self._tasks.close()

    async def _skip_idle(self, lease: Lease) -> None:
        """Store how far those have come that had nothing to send, so that nobody looks at old records again and again."""
        if not self._idle or self._clock.monotonic() - self._skipped < _SKIP_EVERY:
            return
        self._skipped = self._clock.monotonic()
        idle, self._idle = self._idle, {}
        by_position: dict[int, list[str]] = {}
        for drain, position in idle.items():
            by_position.setdefault(position, []).append(drain)
        async with self._store.begin(under=lease) as tx:
            for position, drains in by_position.items():
                await tx.log_drains.skip(drains, position)

    async def _send_all(self, drain: LogDrain, newest: int, lease: Lease) -> None:
        """Send one batch after the other, as long as that goes well."""
        following: LogDrain | None = replace(drain, position=max(drain.position, self._idle.pop(drain.id, 0)))
        try:
            for _ in range(_ROUND_BATCHES):
                if following is None or self._stopped:
                    return
                following = await self._send(following, newest, lease)
        except StoreUnavailableError as error:
            _log.warning(
                "log drain not sent, or its result not stored: sending again", drain=drain.id, error=str(error)
            )
        finally:
            self._under_way.pop(drain.id, None)

    async def _send(self, drain: LogDrain, newest: int, lease: Lease) -> LogDrain | None:
        """Send one batch and store what came of it; the drain as it is then, None where there is nothing more to do now. Raises
        StoreUnavailableError."""
        where = RecordFilter(
            tenant=UUID(drain.tenant_id).bytes,
            resource=None if drain.resource_id is None else UUID(drain.resource_id).bytes,
            failed=drain.errors_only,
        )
        now = self._clock.now()
        drain = await self._give_up_old(drain, where, now, lease)
        limit = self._limits.get(drain.id, MAX_BATCH)
        found = await self._kept.find(where, limit=limit, after=drain.position)
        if not found:
            self._idle[drain.id] = max(newest, drain.position)
            return None
        batch = batch_of(drain.id, found, drain.gap, drain.tenant_id)
        attempt = await self._try(drain, batch, now)
        if attempt.status in _CONTENT_REFUSED and batch.records > 1:
            self._limits[drain.id] = batch.records // 2
            return drain
        if attempt.delivered and limit < MAX_BATCH:
            self._limits[drain.id] = min(2 * limit, MAX_BATCH)
        self._metrics.count("log_drain_batches", "delivered" if attempt.delivered else "failed")
        after = settled(drain, batch, attempt, self._clock.now(), random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret
        if after.lost > drain.lost:
            self._metrics.count("log_drain_records_lost")
            _log.warning("record given up: the log drain's endpoint refuses it", drain=drain.id, status=attempt.status)
        stored = await self._store_result(after, lease)
        if not attempt.delivered:
            _log.info(
                "log drain failed", drain=drain.id, failures=after.failures, status=attempt.status, error=attempt.error
            )
        more = len(found) == limit or batch.records < len(found)
        return after if stored and after.position == batch.last and more else None

    async def _give_up_old(self, drain: LogDrain, where: RecordFilter, now: datetime, lease: Lease) -> LogDrain:
        """The drain behind what is about to be deleted, with that counted as lost. Raises StoreUnavailableError."""
        oldest = self._oldest(now)
        if drain.position >= oldest - 1:
            return drain
        lost = await self._kept.count(where, after=drain.position, before=oldest)
        drain = replace(drain, position=oldest - 1, lost=drain.lost + lost, gap=drain.gap + lost)
        if lost:
            self._metrics.count("log_drain_records_lost", by=lost)
            _log.warning(
                "records given up: the log drain's endpoint did not take them in time", drain=drain.id, lost=lost
            )
            await self._store_result(drain, lease, told=False)
        return drain

    async def _try(self, drain: LogDrain, batch: Batch, now: datetime) -> Attempt:
        try:
            credentials = open_credentials(self._box, drain)
        except SecretLostError as error:
            return Attempt(error=f"{LOST}: {error}")
        try:
            return await self._sender.send(drain, batch.id, list(batch.lines), drain.secrets(now), credentials)
        except Exception:  # noqa: BLE001  # a bug of ours counts as a try, else it would be repeated at once
            _log.exception("log drain failed", drain=drain.id)
            return Attempt(error="it could not be sent")

    async def _store_result(self, drain: LogDrain, lease: Lease, *, told: bool = True) -> bool:
        """Whether it was stored: its owner may have changed, paused or deleted it meanwhile. `told`: events say what became of a try."""
        async with self._store.begin(under=lease) as tx:
            if not await tx.log_drains.settle(drain):
                return False
            if not told:
                return True
            data = {"log_drain_id": drain.id, "name": drain.name, "reason": drain.last_error}
            if drain.state is DrainState.PAUSED:
                await tx.events.emit("log_drain.paused", self._clock.now(), tenant_id=drain.tenant_id, data=data)
            elif drain.failures == TOLD_AFTER:
                await tx.events.emit("log_drain.failing", self._clock.now(), tenant_id=drain.tenant_id, data=data)
            return True


def settled(drain: LogDrain, batch: Batch, attempt: Attempt, now: datetime, jitter: float = 1.0) -> LogDrain:
    """The drain after a try. The pause before the next one doubles each time, times `jitter`; it is no shorter than the endpoint
    asked for, up to five minutes. A single record that was refused for what it is is given up once an event has said so."""
    tried = replace(drain, last_at=now, last_status=attempt.status, last_error=attempt.error)
    if attempt.delivered:
        done = drain.delivered + batch.records
        return replace(tried, position=batch.last, delivered=done, gap=0, failures=0, next_at=None)
    failures = drain.failures + 1
    words = attempt.error or f"it answered {attempt.status}"
    if attempt.status == GONE:
        return replace(tried, state=DrainState.PAUSED, failures=failures, next_at=None, last_error=PAUSED_BY_GONE)
    if batch.records == 1 and failures > TOLD_AFTER and attempt.status in _CONTENT_REFUSED:
        lost, gap = drain.lost + 1, drain.gap + 1
        return replace(tried, position=batch.last, lost=lost, gap=gap, failures=0, next_at=None, last_error=words)
    pause = min(_FIRST_PAUSE * 2.0 ** min(drain.failures, 30), _LONGEST_PAUSE) * jitter
    later = now + timedelta(seconds=max(pause, min(attempt.wait, _LONGEST_PAUSE)))
    return replace(tried, failures=failures, next_at=later, last_error=words)
