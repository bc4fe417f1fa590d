"""The question itself: `GET /ask?domain=NAME`, without the HTTP.

Caddy waits ten seconds and takes anything but a 2xx for a refusal, which it logs at debug level only: so refusals are
counted and logged here, or nobody would ever know why a name has no certificate.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from router.clock import Clock
from router.gate.evidence import CertificateEvidence
from router.gate.policy import VERDICTS, Standing, Verdict, judge, read_name, without_budgets
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


class Spending(Protocol):
    """What the gate needs of the budgets."""

    def standing(self, host: str) -> Standing:
        """What they say of a canonical name that has no certificate. At once: no I/O."""

    def open(self, host: str, tenant_id: str | None) -> None:
        """One more first certificate will be asked for."""


class Counter(Protocol):
    """What the gate needs of the metrics."""

    def count_ask(self, reason: str) -> None:
        """One more answer for this reason."""


class Ask:
    """Answers Caddy, within `deadline` seconds. `names` bounds what is remembered of refusals.

    `on_pending(name)` hears of each question about a name that is registered and not verified yet: somebody wants to
    see it now. It must not wait.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        evidence: CertificateEvidence,
        budgets: Spending,
        metrics: Counter,
        clock: Clock,
        on_pending: Callable[[str], object] | None = None,
        deadline: float = DEADLINE,
        names: int = NAMES,
    ) -> None:
        self._routes = routes
        self._evidence = evidence
        self._budgets = budgets
        self._metrics = metrics
        self._on_pending = on_pending
        self._deadline = deadline
        self._refused = _Quiet(clock, names)

    def at_once(self, domains: Sequence[str]) -> Verdict | None:
        """The verdict on the values of the `domain` parameter, or None where something has to be looked up first."""
        if len(domains) > 1:
            return self._say(domains, VERDICTS["invalid_name"])
        name = read_name(domains[0] if domains else None)
        if isinstance(name, Verdict):
            return self._say(domains, name)
        route = self._routes.peek(name.encode("ascii"))
        return None if route is None else self._say(domains, self._decide(name, route.decision))

    async def answer(self, domains: Sequence[str]) -> Verdict:
        """As `at_once`, after looking up what has to be. Raises nothing."""
        verdict = self.at_once(domains)
        return verdict if verdict is not None else self._say(domains, await self._look_up(domains[0]))

    def judge(self, host: str, decision: Decision) -> Verdict:
        """What the answer for this host is, given the chain's decision about it; for `explain`. Counts nothing."""
        name = read_name(host)
        if isinstance(name, Verdict):
            return name
        return judge(decision, evidence=self._evidence.seen(name), standing=self._budgets.standing(name))

    async def opinion(self, host: str) -> Verdict:
        """What the answer for a canonical name is now. Counts nothing, and opens no attempt."""
        try:
            async with asyncio.timeout(self._deadline):
                route = await self._routes.resolve(host.encode("ascii"))
        except TimeoutError:
            return VERDICTS["not_ready"]
        return self.judge(host, route.decision)

    async def _look_up(self, domain: str) -> Verdict:
        name = read_name(domain)
        assert isinstance(name, str)  # noqa: S101 - `at_once` has read it
        try:
            async with asyncio.timeout(self._deadline):
                route = await self._routes.resolve(name.encode("ascii"))
        except TimeoutError:
            return VERDICTS["issued" if self._evidence.seen(name) else "not_ready"]
        return self._decide(name, route.decision)

    def _decide(self, name: str, decision: Decision) -> Verdict:
        evidence = self._evidence.seen(name)
        verdict = without_budgets(decision, evidence=evidence)
        if verdict.reason == "first_issue":
            verdict = judge(decision, evidence=evidence, standing=self._budgets.standing(name))
            if verdict.reason == "first_issue":
                resource = decision.resource
                self._budgets.open(name, None if resource is None else resource.tenant_id)
        elif verdict.reason == "not_verified" and self._on_pending is not None:
            self._on_pending(name)
        return verdict

    def _say(self, domains: Sequence[str], verdict: Verdict) -> Verdict:
        self._metrics.count_ask(verdict.reason)
        if not verdict.allowed:
            name = " ".join(domains)[:_SHOWN]
            if self._refused.speaks(name):
                _log.info(
                    "certificate refused",
                    name=name,
                    status=verdict.status,
                    reason=verdict.reason,
                    retry_after=verdict.retry_after,
                )
        return verdict


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
