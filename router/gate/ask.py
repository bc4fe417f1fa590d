"""Decides what `GET /ask?domain=NAME` is answered, without the HTTP.

Caddy waits ten seconds and takes anything but a 2xx as a refusal, which it logs at debug level only. So refusals are
counted and logged here; otherwise operators could not find out why a name has no certificate.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog
from cachetools import TTLCache

from router.base.clock import Clock
from router.errors import StoreUnavailableError
from router.gate.evidence import MemoryEvidence
from router.gate.handover import HandOver
from router.gate.policy import VERDICTS, BudgetState, Held, Verdict, judge, read_name, without_budgets
from router.routes.chain import Decision
from router.routes.route import Route

DEADLINE = 5.0  # seconds; half of Caddy's own
EVIDENCE_TIMEOUT = 1.0  # seconds to look up evidence that this process does not have yet
NAMES = 1024  # refused names remembered, and so the most refusals that are logged in a minute
_LOG_INTERVAL = 60.0  # seconds between two lines about the same name
_MAX_LOGGED_NAME = 253  # characters of a name in a log line

# What a name without evidence is refused for, or charged for, and one with evidence is not: its record says that it is served.
_UNCERTAIN = frozenset(("first_issue", "caa_forbidden", "dns_not_pointing"))

_log = structlog.get_logger("router.gate")


class Routes(Protocol):
    """What the gate needs of the resolver."""

    def peek(self, raw_host: bytes) -> Route | None:
        """The remembered route, or None."""

    async def resolve(self, raw_host: bytes) -> Route:
        """The route; what goes wrong is a route with a problem."""


class Certificates(Protocol):
    """What the gate needs of the store, until all of its evidence has been read."""

    async def live(self, hosts: Sequence[str]) -> Mapping[str, datetime]:
        """Until when these have certificates, of those that have one. Raises StoreUnavailableError."""


class Spending(Protocol):
    """What the gate needs of the budgets."""

    def state(self, host: str, tenant_id: str | None) -> BudgetState:
        """What they say of a tenant's canonical name that has no certificate. At once: no I/O."""

    def open(self, host: str, tenant_id: str | None) -> None:
        """One more first certificate will be asked for."""


class Counter(Protocol):
    """What the gate needs of the metrics."""

    def count(self, name: str, *labels: str) -> None:
        """Add 1 to a counter."""


class Ask:
    """Answers Caddy, within `deadline` seconds. `names` bounds what is remembered of refusals.

    While the evidence is not complete, a name that is served and has none is looked up among `certificates`; where they
    can't be asked it is allowed unless a fresh copy stands for them: a certificate that is thrown away is worse than one
    that costs no budget.

    Where the router holds a certificate for a name, `handover` says whether Caddy takes that one.

    `on_pending(name)` hears of each question about a name that is registered and not verified yet: a visitor wants to
    see it now. `on_issued(name)` hears of each that may be renewed. Neither must wait.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        evidence: MemoryEvidence,
        budgets: Spending,
        metrics: Counter,
        clock: Clock,
        certificates: Certificates | None = None,
        handover: HandOver | None = None,
        on_pending: Callable[[str], object] | None = None,
        on_issued: Callable[[str], object] | None = None,
        deadline: float = DEADLINE,
        names: int = NAMES,
    ) -> None:
        self._routes = routes
        self._evidence = evidence
        self._budgets = budgets
        self._metrics = metrics
        self._certificates = certificates
        self._handover = handover
        self._on_pending = on_pending
        self._on_issued = on_issued
        self._deadline = deadline
        self._refused = _OncePerMinute(clock, names)
        self._unchecked = _OncePerMinute(clock, names)

    def at_once(self, domains: Sequence[str], caddy: str = "") -> Verdict | None:
        """The verdict on the values of the `domain` parameter, or None where something has to be looked up first. `caddy` is the
        address that the question comes from, see `handover.py`."""
        if len(domains) > 1:
            return self._say(domains, VERDICTS["invalid_name"])
        name = read_name(domains[0] if domains else None)
        if isinstance(name, Verdict):
            return self._say(domains, name)
        route = self._routes.peek(name.encode("ascii"))
        if route is None or self._is_uncertain(name, route.decision):
            return None
        return self._say(domains, self._decide(name, route.decision, caddy, evidence=self._evidence.seen(name)))

    async def answer(self, domains: Sequence[str], caddy: str = "") -> Verdict:
        """As `at_once`, after looking up what has to be. Raises nothing."""
        verdict = self.at_once(domains, caddy)
        return verdict if verdict is not None else self._say(domains, await self._look_up(domains[0], caddy))

    def judge(self, host: str, decision: Decision) -> Verdict:
        """What the answer for this host is, given the chain's decision about it; for `explain`. Counts nothing."""
        name = read_name(host)
        if isinstance(name, Verdict):
            return name
        budget = self._budgets.state(name, _tenant_of(decision))
        return judge(decision, evidence=self._evidence.seen(name), held=self._covered(name), budget=budget)

    async def opinion(self, host: str) -> Verdict:
        """What the answer for a canonical name is now. Counts nothing, and opens no attempt."""
        try:
            async with asyncio.timeout(self._deadline):
                route = await self._routes.resolve(host.encode("ascii"))
        except TimeoutError:
            return VERDICTS["not_ready"]
        evidence = await self._has_evidence(host, route.decision)
        budget = self._budgets.state(host, _tenant_of(route.decision))
        return judge(route.decision, evidence=evidence, held=self._covered(host), budget=budget)

    async def _look_up(self, domain: str, caddy: str) -> Verdict:
        name = read_name(domain)
        assert isinstance(name, str)  # noqa: S101 - `at_once` has read it
        try:
            async with asyncio.timeout(self._deadline):
                route = await self._routes.resolve(name.encode("ascii"))
        except TimeoutError:
            return VERDICTS["issued" if self._evidence.seen(name) else "not_ready"]
        return self._decide(name, route.decision, caddy, evidence=await self._has_evidence(name, route.decision))

    def _is_uncertain(self, name: str, decision: Decision) -> bool:
        """Whether the name would get a first certificate, and may have one of which we have not heard yet."""
        evidence = self._evidence
        return (
            not evidence.complete
            and self._certificates is not None
            and not evidence.seen(name)
            and without_budgets(decision, evidence=False).reason in _UNCERTAIN
        )

    async def _has_evidence(self, name: str, decision: Decision) -> bool:
        if self._certificates is None or not self._is_uncertain(name, decision):
            return self._evidence.seen(name)
        try:
            async with asyncio.timeout(EVIDENCE_TIMEOUT):
                found = await self._certificates.live([name])
        except (TimeoutError, StoreUnavailableError) as error:
            if self._evidence.copied:
                return self._evidence.seen(name)
            if self._unchecked.may_log(name):
                _log.warning(
                    "certificate evidence could not be read", name=name, error=str(error) or "no answer in time"
                )
            return True
        # What was read goes on being read: until then this is evidence enough.
        self._evidence.hold_visited({host: until.timestamp() for host, until in found.items()})
        return self._evidence.seen(name)

    def _covered(self, name: str) -> Held:
        """For who asks what Caddy will get, and is no Caddy."""
        return Held.TAKES if self._handover is not None and self._handover.has(name) else Held.NONE

    def _held(self, name: str, caddy: str) -> Held:
        handover = self._handover
        if handover is None or not self._evidence.seen(name) or not handover.takes(name, caddy):
            return Held.NONE  # without evidence it would be a first certificate, which costs what it always does
        return Held.TAKES if self._evidence.is_sure(name) and handover.may_refuse(name) else Held.RENEW

    def _decide(self, name: str, decision: Decision, caddy: str, *, evidence: bool) -> Verdict:
        held = self._held(name, caddy)
        verdict = without_budgets(decision, evidence=evidence, held=held)
        if verdict.reason == "held_certificate" and self._handover is not None:
            self._handover.refused(name)
        elif verdict.reason == "first_issue":
            if self._handover is not None and not self._handover.complete:
                return VERDICTS["not_ready"]  # what the router holds for it may not have been read yet
            tenant_id = _tenant_of(decision)
            verdict = judge(decision, evidence=evidence, budget=self._budgets.state(name, tenant_id))
            if verdict.reason == "first_issue":
                self._budgets.open(name, tenant_id)
        elif verdict.reason == "issued":
            if held is Held.RENEW:
                self._evidence.renew(name)
            if self._on_issued is not None:
                self._on_issued(name)
        elif verdict.reason == "not_verified" and self._on_pending is not None:
            self._on_pending(name)
        return verdict

    def _say(self, domains: Sequence[str], verdict: Verdict) -> Verdict:
        self._metrics.count("asks", verdict.reason)
        if not verdict.allowed:
            name = " ".join(domains)[:_MAX_LOGGED_NAME]
            if self._refused.may_log(name):
                _log.info(
                    "certificate refused",
                    name=name,
                    status=verdict.status,
                    reason=verdict.reason,
                    retry_after=verdict.retry_after,
                )
        return verdict


def _tenant_of(decision: Decision) -> str | None:
    return None if decision.resource is None else decision.resource.tenant_id


class _OncePerMinute:
    """Allows one log line per minute and name. While it is full of recent names, new ones are not logged."""

    def __init__(self, clock: Clock, max_names: int) -> None:
        self._max_names = max_names
        self._logged: TTLCache[str, None] = TTLCache(max_names, _LOG_INTERVAL, timer=clock.monotonic)

    def may_log(self, name: str) -> bool:
        self._logged.expire()
        if name in self._logged or len(self._logged) >= self._max_names:
            return False
        self._logged[name] = None
        return True
