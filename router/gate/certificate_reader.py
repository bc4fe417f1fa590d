"""Reads the certificate that Caddy has for a name, by one handshake (`handshake.py`), where `gate.caddy` is set. When:

    an attempt has opened      at once: the handshake waits in Caddy like the visitor's, so the attempt ends when the
                               certificate is there or Caddy gives up, even if no request follows the handshake
    a name was reached         soon after: the evidence then lasts as long as this certificate, instead of as long as any
                               certificate may live
    the gate said `issued`     ten minutes later: it may have been renewed

A certificate that is due for renewal is read again until there is a new one. Until then the old one's end counts, and
each visit may have met the next one, which lives as long. A wildcard certificate is the operator's: the name has none of its own, nor do its siblings.

This Caddy must be the one that visitors come through, or share its storage: another would get certificates of its own
for every name that is read. If it asks the gate about names whose visitors have just had a certificate, reading pauses.

Nothing depends on reading: names that are not read keep the evidence of their visit, which lasts longer.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

import structlog

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.domains.certificates import Attempt, Leaf, Outcome
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.handshake import NoCertificateError, Shown, UnreachableError

TICK = 0.1  # seconds between two handshakes about names that were reached
_MAX_WAITING = 10_000  # names that wait for a handshake; others are read when they are reached again
_BEHIND = 1.0  # seconds that an attempt is given to begin in Caddy
_RENEWAL = 600.0  # seconds that Caddy is given to renew a certificate; it gives up after five minutes
_MAX_INTERVAL = 6 * 3600.0  # seconds between two readings of one that is not renewed
_LOOKS = 8  # in what is left of its life, where that is less
_STRANGE = 3  # looks for which Caddy had to ask, until there are none for a while
_REST = 3600.0  # seconds for that
_MAX_ATTEMPTS = 100  # that are waited for at a time

_log = structlog.get_logger("router.gate")


class Look(Protocol):
    async def shown(self, host: str) -> Shown:
        """The certificate that a visitor of the name gets. Raises NoCertificateError, UnreachableError."""


class CertificateReader:
    """`attempts` waits in Caddy for as long as an attempt may last, `visits` only briefly. `keep(host, leaf, tenant)` has
    what was read written down. `held(host)` is whether the router holds a certificate for a host."""

    def __init__(
        self,
        *,
        attempts: Look,
        visits: Look,
        evidence: MemoryEvidence,
        budgets: Budgets,
        keep: Callable[[str, Leaf, str | None], object],
        held: Callable[[str], bool],
        at_once: int,
        clock: Clock,
        tick: float = TICK,
        behind: float = _BEHIND,
    ) -> None:
        self._attempts = attempts
        self._visits = visits
        self._evidence = evidence
        self._budgets = budgets
        self._keep = keep
        self._held = held
        self._at_once = asyncio.Semaphore(at_once)
        self._clock = clock
        self._tick = tick
        self._behind = behind
        self._due: dict[str, tuple[float, str | None]] = {}  # how long after the last look, and whose
        self._order: list[tuple[float, str]] = []  # when, a heap
        self._waited_for = 0
        self._looking: set[str] = set()  # at names that were visited just now
        self._strange = 0
        self._rested_until = float("-inf")
        self._unreached = False
        self._tasks = Tasks("readings")

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way."""
        return len(self._tasks) <= 1

    def start(self) -> None:
        """Hear of attempts and visits, and look."""
        self._budgets.on_change(self._changed)
        self._evidence.on_visit(self._visited)
        self._tasks.start("look", self._run())

    async def close(self) -> None:
        """Stop looking."""
        await self._tasks.close()

    def issued(self, host: str) -> None:
        """Caddy asks about a name that has a certificate, which it may renew."""
        if host not in self._looking:
            self._want(host, _RENEWAL, None)
            return
        self._looking.discard(host)
        self._strange += 1
        if self._strange >= _STRANGE:
            self._strange = 0
            self._rested_until = self._clock.monotonic() + _REST
            _log.warning(
                "Caddy does not have the certificates that visitors get",
                name=host,
                advice="gate.caddy must be the Caddy that they come through, or share its storage; reading pauses for an hour",
            )

    def _visited(self, host: str, _at: float, tenant_id: str | None) -> bool:
        self._want(host, 0.0, tenant_id)
        return True

    def _changed(self, attempt: Attempt) -> None:
        if attempt.outcome is Outcome.OPEN and self._waited_for < _MAX_ATTEMPTS and not self._tasks.closed:
            self._waited_for += 1
            self._tasks.start(f"wait for {attempt.host}", self._wait_for(attempt.host, attempt.tenant_id))

    def _want(self, host: str, after: float, tenant_id: str | None) -> None:
        if self._clock.monotonic() >= self._rested_until and host not in self._due and len(self._due) < _MAX_WAITING:
            self._due[host] = after, tenant_id
            heappush(self._order, (self._clock.monotonic() + after, host))

    async def _wait_for(self, host: str, tenant_id: str | None) -> None:
        try:
            await asyncio.sleep(
                self._behind
            )  # else we would be the one whom Caddy gets it for, and others wait behind us
            shown = await self._attempts.shown(host)
        except NoCertificateError as error:
            self._budgets.settle(host, Outcome.FAILED)
            _log.info("Caddy got no certificate", name=host, error=str(error))
        except UnreachableError as error:
            self._unreachable(error)
        else:
            self._take(host, shown, tenant_id, 0.0)
        finally:
            self._waited_for -= 1

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            if self._order and self._order[0][0] <= self._clock.monotonic():
                await self._at_once.acquire()
                _, host = heappop(self._order)
                after, tenant_id = self._due.pop(host)
                if self._clock.monotonic() < self._rested_until:
                    self._at_once.release()
                    continue
                self._tasks.start(f"look at {host}", self._look(host, after, tenant_id))

    async def _look(self, host: str, after: float, tenant_id: str | None) -> None:
        if after == 0.0:
            self._looking.add(host)
        try:
            if not self._evidence.covers(host.partition(".")[2]) or self._evidence.seen(host):
                self._take(host, await self._visits.shown(host), tenant_id, after)
        except NoCertificateError:
            pass  # a fault of ours may be why: the evidence of the visit lasts for as long as it does
        except UnreachableError as error:
            self._unreachable(error)
            if after < _MAX_INTERVAL:
                self._want(host, min(max(after, _RENEWAL) * 2, _MAX_INTERVAL), tenant_id)
        finally:
            if host in self._looking:  # as it should be: Caddy did not ask
                self._looking.discard(host)
                self._strange = max(0, self._strange - 1)
            self._at_once.release()

    def _take(self, host: str, shown: Shown, tenant_id: str | None, after: float) -> None:
        self._unreached = False
        self._budgets.settle(host, Outcome.ISSUED)
        leaf, now = shown.leaf, self._clock.now()
        if not shown.own and self._held(host):
            self._evidence.forget(host)
        elif not shown.own:
            wildcard = f"*.{host.partition('.')[2]}"
            self._evidence.read(wildcard, leaf)
            self._evidence.forget(host)
            self._keep(wildcard, leaf, None)
        elif leaf.not_after > now:
            self._evidence.read(host, leaf)
            self._keep(host, leaf, tenant_id)
            if leaf.due_at <= now:
                longest = min(_MAX_INTERVAL, (leaf.not_after - now).total_seconds() / _LOOKS)
                self._want(host, max(min(after * 2, longest), _RENEWAL), tenant_id)

    def _unreachable(self, error: UnreachableError) -> None:
        if not self._unreached:
            _log.warning("Caddy not reachable: certificates not read", error=str(error))
        self._unreached = True
