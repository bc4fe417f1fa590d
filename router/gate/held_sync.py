"""Keeps the held certificates in memory (`held_table.py`) as they are in the store, in the background: no handshake waits for it.

    at the start      all of them are read, in parts; a start waits for that for two seconds at most
    once a second     what has changed by the database's clock; one that was removed is dropped at once
    store away        what is known goes on being served; after a restart nothing is, until the store is there

Keys stay sealed. A node that can't open one (it lacks the `secrets_key` that sealed it) doesn't serve that certificate and
says so: once in the log until it can open all again, and by the metric `held_certificates_unreadable`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from router.base.clock import Clock, ClockWatch
from router.base.secret_box import SecretLostError
from router.base.tasks import Tasks
from router.base.ticks import tick
from router.certificates.held import HeldCertificate, HeldLog, Origin
from router.errors import StoreUnavailableError
from router.gate.handover import HandOver
from router.gate.held_table import HeldTable
from router.observe.metrics import Metrics

POLL_INTERVAL = 1.0  # seconds between two reads
PART = 250  # rows that are read at once
_SLICE = 25  # rows that are put into memory in one turn of the loop: each has a key to be tried
_MAX_BACK = 60.0  # seconds by which the database's clock may go back without being wrong
_TIMEOUT = 10.0  # seconds for one read
_START_TIMEOUT = 2.0  # seconds that a start waits for the store

_log = structlog.get_logger("router.gate")


class HeldSync:
    """Follows one store, for one table."""

    def __init__(
        self,
        *,
        log: HeldLog,
        table: HeldTable,
        handover: HandOver,
        metrics: Metrics,
        clock: Clock,
        commits: Callable[[], int] | None = None,
    ) -> None:
        """`commits` is a number that is another one when something was committed to the store; None: it has none."""
        self._log = log
        self._commits = commits
        self._read_at: int | None = None  # that number, when everything up to there was read
        self._table = table
        self._handover = handover
        self._since: float | None = None
        self._after: tuple[float, str] | None = None  # where a round that was broken off goes on
        self._begun = 0.0  # where the round after that begins
        self._found: set[tuple[str, Origin]] | None = set()  # of a round that reads everything; None in the others
        self._watch = ClockWatch(clock)
        self._away = False
        self._tasks = Tasks("held certificates")
        metrics.gauge("held_certificates", lambda: {origin.value: float(table.count(origin)) for origin in Origin})
        metrics.gauge("held_certificates_unreadable", lambda: float(len(handover.unreadable)))

    async def start(self) -> None:
        """Read the store, and follow it from now on. Raises nothing. Where the store is away or has much, reading goes on
        after this returns."""
        self._handover.complete = False
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_TIMEOUT):
                await self._round()
        self._tasks.start("follow", self._follow())

    async def close(self) -> None:
        """Follow no more."""
        await self._tasks.close()

    async def _follow(self) -> None:
        while True:
            if self._after is None or self._away:
                await tick(POLL_INTERVAL)
            await self._round()

    async def _round(self) -> None:
        """Read what has changed, in parts. Goes on at the next call where it breaks off."""
        if self._watch.look():
            _log.warning("clock jumped: reading all held certificates again", seconds=round(self._watch.jump))
            self._begin_again()
        commits = None if self._commits is None else self._commits()
        known = self._since is not None and self._after is None and not self._away
        if known and commits is not None and commits == self._read_at:
            return
        try:
            while await self._part():
                pass
        except (StoreUnavailableError, TimeoutError) as error:
            if not self._away:
                _log.warning("held certificates not read", error=str(error) or "no answer in time")
            self._away = True
            return
        self._read_at = commits
        if self._away:
            _log.info("held certificates read again")
        self._away = False

    async def _part(self) -> bool:
        """Whether there is more."""
        after = self._after
        async with asyncio.timeout(_TIMEOUT):
            delta = await self._log.changes_since(self._since, PART, after)
        if after is None:
            if self._since is not None and delta.until < self._since - _MAX_BACK:
                _log.warning("database clock went back: reading all held certificates again")
                self._begin_again()
                return True
            self._begun = delta.until
        for place in range(0, len(delta.certificates), _SLICE):
            for row in delta.certificates[place : place + _SLICE]:
                self._take(row)
            await asyncio.sleep(0)
        self._after = delta.next
        if self._after is not None:
            return True
        handover = self._handover
        if self._found is not None:
            self._table.keep_only(self._found)
            handover.unreadable &= self._found
        self._since, self._found = self._begun, None
        handover.complete = True
        return False

    def _take(self, row: HeldCertificate) -> None:
        key, unreadable = (row.domain, row.origin), self._handover.unreadable
        if self._found is not None:
            self._found.add(key)
        try:
            self._table.put(row)
        except SecretLostError as error:
            if not unreadable:
                _log.error(
                    "key of a held certificate can't be opened: it is not served",
                    domain=row.domain,
                    origin=row.origin.value,
                    error=str(error),
                    advice="give this node the same `secrets_key` as the others; held_certificates_unreadable counts them",
                )
            unreadable.add(key)
        else:
            unreadable.discard(key)

    def _begin_again(self) -> None:
        self._since = self._after = None
        self._found = set()
