"""Keeps the gate's memory and the store in sync, in the background: no ask waits for it.

    attempts, visits and readings of this node    are written to the store as soon as it takes them
    other nodes', and removals                    are read from it once a second
    at the start                                  the snapshot on disk (`snapshot.py`) is read, then the store, in parts

While the store is away the gate works from memory. Evidence fails open: what is known stays known, after a restart from
the snapshot. Until the store has been read once the evidence is not `complete`: then `ask.py` looks up a name that it
does not know in the store, or relies on a snapshot of the last hour (`copied`) where the store is away. Budgets fail
closed: what was spent before is not known until the store has been read; and when more attempts than `gate.unwritten`
wait to be written no further one begins, because a restart would forget them and they would be spent twice. Both are
answered with `not_ready`, and counted as such.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from router.base.clock import Clock, ClockWatch
from router.base.tasks import Tasks
from router.base.ticks import until_tick
from router.domains.certificates import Attempt, CertificateDelta, Leaf, Outcome, Read, Seen
from router.errors import StoreUnavailableError
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.snapshot import EvidenceSnapshot
from router.observe.metrics import Metrics
from router.settings import Gate

POLL_INTERVAL = 1.0  # seconds between two reads of what other nodes wrote
PART = 250  # names that are read at once
_SNAPSHOT_INTERVAL = 5.0  # seconds between two snapshots of evidence that changed, per hundred thousand names
_SNAPSHOT_FRESH = 3600.0  # seconds for which a snapshot counts as complete
_SNAPSHOT_OLD = 30 * 86400.0  # seconds: with an older snapshot a wrong clock is more likely than such a pause
_MAX_CLOCK_DIFFERENCE = timedelta(
    seconds=60
)  # by which a clock may differ from the store's, or go back, without being wrong
_SLICE = 50  # names that are put into memory in one turn of the loop
_MAX_ROWS = 500  # rows in one transaction
_MAX_WAITING = (
    100_000  # visits, and readings, that wait to be written: about 30 MB. The next visit of the others is told of
)
_TIMEOUT = 10.0  # seconds for one exchange with the store
_START_TIMEOUT = 2.0  # seconds that a start waits for the store; after that single names are looked up
_CLOSE_TIMEOUT = 2.0  # seconds for the last exchange: the process is ending

_log = structlog.get_logger("router.gate")


class CertificateLog(Protocol):
    """What the gate keeps. Every method may raise StoreUnavailableError."""

    async def save_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Add each, or what became of it, unless more is known already."""

    async def save_visits(self, visits: Sequence[Seen]) -> None:
        """Each host has a certificate, unless it was removed after that."""

    async def save_readings(self, readings: Sequence[Read]) -> None:
        """Each host has this certificate, unless it is a domain's, or was removed after that."""

    async def changes_since(
        self, since: float | None, opened_since: float, most: int, after: tuple[float, str] | None = None
    ) -> CertificateDelta:
        """What has changed since then; None: all that counts, attempts that were opened after `opened_since`, and every
        certificate, removed ones too: a snapshot may still have them. At most so many certificates; `after` is the
        last part's `next`, and leaves the attempts out. The same changes may come twice."""

    async def live(self, hosts: Sequence[str]) -> Mapping[str, datetime]:
        """Until when these have certificates, of those that have one."""


async def take(
    delta: CertificateDelta, evidence: MemoryEvidence, budgets: Budgets, now: datetime, *, first: bool
) -> None:
    """Update both. `first`: nothing was known before, except from a snapshot.

    Where our clock is ahead of the store's, the store's decides what is still live: otherwise a node that starts with such
    a clock would take every certificate as expired.
    """
    budgets.merge(delta.attempts)
    ahead = timedelta(seconds=0 if delta.now is None else max(0.0, now.timestamp() - delta.now))
    if ahead <= _MAX_CLOCK_DIFFERENCE:
        ahead = timedelta()
    items = list(delta.live.items())
    for at in range(0, len(items), _SLICE):
        some = items[at : at + _SLICE]
        # One that has expired is no evidence, and no sign that a later attempt got another.
        live = {host: (until + ahead).timestamp() for host, until in some if until is not None and until + ahead > now}
        due = {host: (delta.due[host] + ahead).timestamp() for host in live if host in delta.due}
        evidence.hold({host: live[host] for host in due}, due, delta.lifetimes)
        evidence.hold_visited({host: until for host, until in live.items() if host not in due}, delta.lifetimes)
        for host in live:
            budgets.settle(host, Outcome.ISSUED)
        for host, until in some:
            if until is None and not (first and not evidence.seen(host)):
                evidence.forget(host)
        await asyncio.sleep(0)


class CertificateSync:
    """Keeps `evidence`, `budgets` and the store in sync. `snapshot` None: nothing is kept on this machine's disk."""

    def __init__(
        self,
        *,
        log: CertificateLog,
        evidence: MemoryEvidence,
        budgets: Budgets,
        snapshot: EvidenceSnapshot | None,
        settings: Gate,
        metrics: Metrics,
        clock: Clock,
        commits: Callable[[], int] | None = None,
        poll_interval: float = POLL_INTERVAL,
    ) -> None:
        """`commits` is a number that is another one when something was committed to the store; None: it has none."""
        self._store = log
        self._evidence = evidence
        self._budgets = budgets
        self._snapshot = snapshot
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._commits = commits
        self._read_at: int | None = None  # that number, when everything up to there was read
        self._poll_interval = poll_interval
        self._attempts: dict[str, Attempt] = {}
        self._visits: dict[str, Seen] = {}
        self._readings: dict[str, Read] = {}
        self._something = asyncio.Event()
        self._since: float | None = None
        self._after: tuple[float, str] | None = None  # where a round that was broken off goes on
        self._watch = ClockWatch(clock)
        self._begun = 0.0  # where the round after that begins
        self._copied: float | None = None
        self._whole = 0.0  # until when the store has told everything, in seconds since 1970
        self._changed = False
        self._away = False
        self._tasks = Tasks("certificates")
        metrics.gauge("certificates_known", lambda: float(len(evidence)))
        metrics.gauge("certificates_in_flight", lambda: float(budgets.in_flight))
        metrics.gauge("certificate_orders_spent", lambda: float(budgets.spent_of_account))
        metrics.gauge("certificate_orders_limit", lambda: float(settings.account if settings.budgets else 0))
        metrics.gauge("certificate_writes_waiting", lambda: float(self.waiting))

    @property
    def waiting(self) -> int:
        """How much is not in the store yet."""
        return len(self._attempts) + len(self._visits) + len(self._readings)

    async def start(self) -> None:
        """Read the snapshot, then the store, and keep both up to date from now on. Raises nothing. Where the store has much,
        reading goes on after this returns."""
        self._evidence.on_visit(self._visited)
        self._budgets.on_change(self._spent)
        self._evidence.complete = False
        self._evidence.copied = self._snapshot is not None and await self._read_snapshot(self._snapshot)
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_TIMEOUT):
                while not await self._exchange() and not self._away:
                    pass
        self._tasks.start("keep", self._keep())

    async def close(self) -> None:
        """Write what waits to the store, and the snapshot."""
        await self._tasks.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._exchange()
        await self._write_snapshot()

    def read(self, host: str, leaf: Leaf, tenant_id: str | None) -> None:
        """A name's certificate was read."""
        self._changed = True
        if host in self._readings or len(self._readings) < _MAX_WAITING:
            self._readings[host] = Read(host, self._clock.now(), leaf, tenant_id)
            self._something.set()

    async def _keep(self) -> None:
        while True:
            if self._after is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(until_tick(self._poll_interval)):
                        await self._something.wait()
            self._budgets.sweep()
            await self._exchange()
            now, every = self._clock.monotonic(), _SNAPSHOT_INTERVAL * max(1.0, len(self._evidence) / 100_000)
            if self._copied is not None and now - self._copied >= _SNAPSHOT_FRESH / 2 and not self._away:
                self._changed = True  # it says what is known now, too
            if self._changed and (self._copied is None or now - self._copied >= every):
                await self._write_snapshot()
            if self._away:  # what waits would wake us at once
                await asyncio.sleep(self._poll_interval)

    async def _exchange(self) -> bool:
        """Write, then read; whether nothing is left to be read."""
        self._something.clear()
        try:
            await self._write()
            await self._read()
        except (StoreUnavailableError, TimeoutError) as error:
            if not self._away:
                _log.warning("certificate data not stored", error=str(error) or "no answer in time")
            self._metrics.count("certificate_writes", "error")
            self._away = True
            return False
        if self._away:
            _log.info("certificate data stored again")
        self._away = False
        return self._after is None

    async def _write(self) -> None:
        while self.waiting:
            attempts = tuple(self._attempts.values())[:_MAX_ROWS]
            visits = tuple(self._visits.values())[:_MAX_ROWS]
            readings = tuple(self._readings.values())[:_MAX_ROWS]
            async with asyncio.timeout(_TIMEOUT):
                await self._store.save_attempts(attempts)
                await self._store.save_visits(visits)
                await self._store.save_readings(readings)
            self._metrics.count("certificate_writes", "ok", by=len(attempts) + len(visits) + len(readings))
            for attempt in attempts:
                if self._attempts[attempt.id] is attempt:  # else it has changed meanwhile
                    del self._attempts[attempt.id]
            for visit in visits:
                if self._visits[visit.host] is visit:
                    del self._visits[visit.host]
            for reading in readings:
                if self._readings[reading.host] is reading:
                    del self._readings[reading.host]
            self._count()

    async def _read(self) -> None:
        """What has changed, in parts; for about a second at a time, so that what waits is written."""
        stop = asyncio.get_running_loop().time() + POLL_INTERVAL
        if self._watch.look():
            _log.warning("clock jumped: reading all certificates again", seconds=round(self._watch.jump))
            self._since = self._after = None
        commits = None if self._commits is None else self._commits()
        known = self._since is not None and self._after is None and not self._away
        if known and commits is not None and commits == self._read_at:
            self._whole = self._clock.now().timestamp()
            return
        while True:
            after, opened_since = self._after, self._clock.now().timestamp() - self._budgets.kept
            async with asyncio.timeout(_TIMEOUT):
                delta = await self._store.changes_since(self._since, opened_since, PART, after)
            if after is None:
                self._begun = delta.until
                if self._since is not None and delta.until < self._since - _MAX_CLOCK_DIFFERENCE.total_seconds():
                    _log.warning("database clock went back: reading all certificates again")
                    self._since = None
                    continue
            self._changed = self._changed or bool(delta.live)
            first = self._since is None
            await take(delta, self._evidence, self._budgets, self._clock.now(), first=first)
            if first and after is None:
                self._budgets.ready()
            self._after = delta.next
            if self._after is None:
                self._since, self._evidence.complete = self._begun, True
                self._read_at = commits
                self._whole = self._clock.now().timestamp()
                return
            if asyncio.get_running_loop().time() > stop:
                return

    async def _read_snapshot(self, snapshot: EvidenceSnapshot) -> bool:
        """Take the snapshot's evidence; whether it may count as complete: one written while the store was being read, or was
        away, has only what was known by then."""
        found = await asyncio.to_thread(snapshot.read)
        if found is None:
            return False
        passed, shift = self._clock.now().timestamp() - found.at, found.shift
        if passed > _SNAPSHOT_OLD:
            # Off for a month, or the clock is ahead: to renew a certificate that has ended costs less than to lose one.
            _log.warning(
                "certificate snapshot is old or the clock is ahead: no certificate counts as expired",
                days=passed // 86400,
            )
            shift += passed
        self._evidence.take(found.key, shift, found.segments)
        self._whole = found.whole
        return abs(self._clock.now().timestamp() - found.whole) <= _SNAPSHOT_FRESH

    async def _write_snapshot(self) -> None:
        if self._snapshot is None or not self._changed:
            return
        self._changed, self._copied = False, self._clock.monotonic()
        try:
            await asyncio.to_thread(self._snapshot.write, self._evidence, self._clock.now().timestamp(), self._whole)
        except asyncio.CancelledError:
            self._changed = True  # `close` writes it again, after the abandoned thread has ended
            raise

    def _visited(self, host: str, at: float, tenant_id: str | None) -> bool:
        """A name was reached by https; whether the visit is kept."""
        self._budgets.settle(host, Outcome.ISSUED)
        self._changed = True
        if host not in self._visits and len(self._visits) >= _MAX_WAITING:
            return False
        ago = timedelta(seconds=max(0.0, self._clock.monotonic() - at))
        self._visits[host] = Seen(host, self._clock.now() - ago, tenant_id)
        self._something.set()
        return True

    def _spent(self, attempt: Attempt) -> None:
        """An attempt has opened or ended."""
        self._attempts[attempt.id] = replace(attempt)
        self._count()
        self._something.set()

    def _count(self) -> None:
        """Tell the budgets whose attempts are not in the store yet."""
        self._budgets.full = len(self._attempts) >= self._settings.unwritten
        self._budgets.unwritten = Counter(attempt.tenant_id for attempt in self._attempts.values())
