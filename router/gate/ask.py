"""The question itself: `GET /ask?domain=NAME`, without the HTTP.

Caddy waits ten seconds and takes anything but a 2xx for a refusal, which it logs at debug level only: so refusals are
counted and logged here, or nobody would ever know why a name has no certificate.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from router.clock import Clock
from router.gate.evidence import CertificateEvidence
from router.gate.policy import VERDICTS, Verdict, judge, read_name
from router.routes.chain import Decision
from router.routes.route import Route

DEADLINE = 5.0  # seconds; half of Caddy's own
NAMES = 1024  # refused names remembered, and so the most refusals that are logged in a minute
_QUIET = 60.0  # seconds between two lines about the same name
_SHOWN = 253  # characters of a name in a log line

_log = structlog.get_logger("router.gate")


class Routes(Protocol):
    """What the gate needs of the resolver."""

    def peek(self, raw_host: bytes) -> Route | None:
        """The remembered route, or None."""

    async def resolve(self, raw_host: bytes) -> Route:
        """The route; what goes wrong is a route with a problem."""


class Counter(Protocol):
    """What the gate needs of the metrics."""

    def count_ask(self, reason: str) -> None:
        """One more answer for this reason."""


class Ask:
    """Answers Caddy, within `deadline` seconds. `names` bounds what is remembered of refusals."""

    def __init__(
        self,
        *,
        routes: Routes,
        evidence: CertificateEvidence,
        metrics: Counter,
        clock: Clock,
        deadline: float = DEADLINE,
        names: int = NAMES,
    ) -> None:
        self._routes = routes
        self._evidence = evidence
        self._metrics = metrics
        self._deadline = deadline
        self._refused = _Quiet(clock, names)

    async def answer(self, domains: Sequence[str]) -> Verdict:
        """The verdict on the values of the `domain` parameter. Raises nothing."""
        verdict = VERDICTS["invalid_name"] if len(domains) > 1 else await self._answer(domains[0] if domains else None)
        self._metrics.count_ask(verdict.reason)
        if not verdict.allowed:
            name = " ".join(domains)[:_SHOWN]
            if self._refused.speaks(name):
                _log.info("certificate refused", name=name, status=verdict.status, reason=verdict.reason)
        return verdict

    def judge(self, host: str, decision: Decision) -> Verdict:
        """What the answer for this host is, given the chain's decision about it; for `explain`. Counts nothing."""
        name = read_name(host)
        if isinstance(name, Verdict):
            return name
        return judge(decision, evidence=self._evidence.seen(name))

    async def _answer(self, domain: str | None) -> Verdict:
        name = read_name(domain)
        if isinstance(name, Verdict):
            return name
        host = name.encode("ascii")
        evidence = self._evidence.seen(name)
        route = self._routes.peek(host)
        if route is None:
            try:
                async with asyncio.timeout(self._deadline):
                    route = await self._routes.resolve(host)
            except TimeoutError:
                return VERDICTS["issued" if evidence else "not_ready"]
        return judge(route.decision, evidence=evidence)


class _Quiet:
    """Lets one line a minute through per name. Bounded: while it is full of fresh names, others go unlogged."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._most = most
        self._now = clock.monotonic
        self._spoken: dict[str, float] = {}

    def speaks(self, name: str) -> bool:
        now = self._now()
        while self._spoken:
            oldest = next(iter(self._spoken))
            if now - self._spoken[oldest] < _QUIET:
                break
            del self._spoken[oldest]
        if name in self._spoken or len(self._spoken) >= self._most:
            return False
        self._spoken[name] = now
        return True
