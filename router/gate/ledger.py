"""What ties the gate's memory to the store: nothing that is asked waits for it.

    attempts and visits of this node    into the store, as soon as it takes them
    other nodes', and removals          out of it, once a second
    at the start                        everything that counts, and before that the node's own copy (`copy.py`)

While the store is away the gate goes on from memory. Evidence fails open: what is known stays known, from the copy even
after a restart. Budgets fail closed: what was spent before is not known until the store has told, and when more attempts
wait to be written than `gate.unwritten` no further one begins, because what a restart forgets would be spent twice. Both
say `not_ready`, and are counted as such.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import structlog

from router.clock import Clock
from router.domains.certificates import Attempt, News, Outcome, Seen
from router.errors import StoreUnavailableError
from router.gate.budgets import Budgets
from router.gate.copy import EvidenceCopy
from router.gate.evidence import MOST, MemoryEvidence
from router.observe.metrics import Metrics
from router.settings import Gate
from router.tasks import Tasks

LOOK = 1.0  # seconds between two looks at what others wrote
_COPY_EVERY = 5.0  # seconds between two copies of evidence that changed
_AT_ONCE = 500  # rows in one transaction
_TIME = 10.0  # seconds for one exchange with the store
_LAST_TIME = 2.0  # the same for the last one: somebody waits for our end

_log = structlog.get_logger("router.gate")


class CertificateLog(Protocol):
    """What the gate keeps. Every method may raise StoreUnavailableError."""

    async def save_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Add each, or what became of it, unless more is known already."""

    async def save_visits(self, visits: Sequence[Seen]) -> None:
        """Each host has a certificate, unless it was removed after that."""

    async def news(self, since: float | None, opened_since: float, most: int) -> News:
        """What has changed since then; None: all that counts, attempts that were opened after `opened_since`, and the
        `most` certificates that changed last, removed ones too: the node's copy may still have them. The same news may come twice."""


async def recall(
    log: CertificateLog, evidence: MemoryEvidence, budgets: Budgets, clock: Clock, since: float | None = None
) -> News:
    """Let both know what the store knows, or what has changed there. Raises StoreUnavailableError."""
    news = await log.news(since, clock.now().timestamp() - budgets.kept, MOST)
    budgets.merge(news.attempts)
    now = clock.now()
    # One that has expired is no evidence, and no sign that a later attempt got another.
    newest_last = reversed(list(news.live.items()))
    live = {host: until.timestamp() for host, until in newest_last if until is not None and until > now}
    evidence.hold(live)
    for host in live:
        budgets.settle(host, Outcome.ISSUED)
    for host, until in news.live.items():
        if until is None:
            evidence.forget(host)
    return news


class Ledger:
    """Keeps `evidence` and `budgets` and the store alike. `copy` None: no copy on this machine."""

    def __init__(
        self,
        *,
        log: CertificateLog,
        evidence: MemoryEvidence,
        budgets: Budgets,
        copy: EvidenceCopy | None,
        limits: Gate,
        metrics: Metrics,
        clock: Clock,
        look: float = LOOK,
    ) -> None:
        self._store = log
        self._evidence = evidence
        self._budgets = budgets
        self._copy = copy
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._look = look
        self._attempts: dict[str, Attempt] = {}
        self._visits: dict[str, Seen] = {}
        self._something = asyncio.Event()
        self._since: float | None = None
        self._copied: float | None = None
        self._changed = False
        self._away = False
        self._tasks = Tasks("certificates")
        metrics.gauge("certificates_known", lambda: float(len(evidence)))
        metrics.gauge("certificates_in_flight", lambda: float(budgets.in_flight))
        metrics.gauge("certificate_writes_waiting", lambda: float(self.waiting))

    @property
    def waiting(self) -> int:
        """How much is not in the store yet."""
        return len(self._attempts) + len(self._visits)

    async def start(self) -> None:
        """Take what is known, the copy's and then the store's, and go on with both. Raises nothing of theirs."""
        self._evidence.on_visit(self._visited)
        self._budgets.on_change(self._spent)
        if self._copy is not None:
            self._evidence.hold(await asyncio.to_thread(self._copy.read))
        await self._exchange()
        self._tasks.start("keep", self._keep())

    async def close(self) -> None:
        """Write what waits, and the copy."""
        await self._tasks.close()
        await self._exchange(_LAST_TIME)
        await self._write_copy()

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look):
                    await self._something.wait()
            self._budgets.sweep()
            await self._exchange()
            now = self._clock.monotonic()
            if self._changed and (self._copied is None or now - self._copied >= _COPY_EVERY):
                await self._write_copy()
            if self._away:  # what waits would wake us at once
                await asyncio.sleep(self._look)

    async def _exchange(self, within: float = _TIME) -> None:
        """Write, then read."""
        self._something.clear()
        try:
            async with asyncio.timeout(within):
                await self._write()
                await self._read()
        except (StoreUnavailableError, TimeoutError) as error:
            if not self._away:
                _log.warning("certificates can't be kept", error=str(error) or "no answer in time")
            self._metrics.count("certificate_writes", "error")
            self._away = True
        else:
            if self._away:
                _log.info("certificates are kept again")
            self._away = False

    async def _write(self) -> None:
        while self._attempts or self._visits:
            attempts = tuple(self._attempts.values())[:_AT_ONCE]
            visits = tuple(self._visits.values())[:_AT_ONCE]
            await self._store.save_attempts(attempts)
            await self._store.save_visits(visits)
            self._metrics.count("certificate_writes", "ok", by=len(attempts) + len(visits))
            for attempt in attempts:
                if self._attempts[attempt.id] is attempt:  # else it has changed meanwhile
                    del self._attempts[attempt.id]
            for visit in visits:
                if self._visits[visit.host] is visit:
                    del self._visits[visit.host]
            self._budgets.full = len(self._attempts) >= self._limits.unwritten

    async def _read(self) -> None:
        news = await recall(self._store, self._evidence, self._budgets, self._clock, self._since)
        self._changed = self._changed or bool(news.live)
        if self._since is None:
            self._budgets.ready()
        self._since = news.until

    async def _write_copy(self) -> None:
        if self._copy is None or not self._changed:
            return
        self._changed, self._copied = False, self._clock.monotonic()
        await asyncio.to_thread(self._copy.write, self._evidence.live())

    def _visited(self, host: str, at: float, tenant_id: str | None) -> None:
        """Evidence has something new."""
        self._budgets.settle(host, Outcome.ISSUED)
        self._changed = True
        if host in self._visits or len(self._visits) < MOST:
            ago = timedelta(seconds=max(0.0, self._clock.monotonic() - at))
            self._visits[host] = Seen(host, self._clock.now() - ago, tenant_id)
            self._something.set()

    def _spent(self, attempt: Attempt) -> None:
        """An attempt has opened or ended."""
        self._attempts[attempt.id] = replace(attempt)
        self._budgets.full = len(self._attempts) >= self._limits.unwritten
        self._something.set()
