"""How many certificates the platform's own names have used up, and when a wildcard is called for.

Each sandbox has a name under the platform's domain. Without a certificate for `*.` that domain each name gets one of its
own, and the authority counts all of them under one registered domain: forty a week, for all customers together. Customers
can do nothing about that; the platform's operators can, so they are told: at the start, in `/readyz`, by a metric,
and in the log as soon as half of a week's names are spent.
"""

from collections.abc import Mapping

import structlog

from router.base.clock import Clock
from router.domains.certificates import Attempt, Outcome
from router.domains.names import registered_domain
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.handover import HandOver
from router.observe.metrics import Metrics
from router.settings import Gate

_EVERY = 3600.0  # seconds between two lines about the same
_LATE = 0.5  # of the limit

_log = structlog.get_logger("router.gate")


class PlatformNames:
    """Of one platform `domain`. `held` are the certificates that the router holds; None where this node holds none."""

    def __init__(
        self,
        domain: str,
        *,
        budgets: Budgets,
        evidence: MemoryEvidence,
        settings: Gate,
        held: HandOver | None,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._domain = domain
        self._registered = registered_domain(domain)
        self._budgets = budgets
        self._evidence = evidence
        self._settings = settings
        self._held = held
        self._now = clock.monotonic
        self._said: float | None = None
        self._to_order = (
            f"set acme_platform and delegate the challenges as `miosa-router domains delegation {domain}` shows, or configure a wildcard "
            f"certificate (deploy/platform.caddy) and set gate.wildcards: without one each name gets a certificate of its own, {settings.registered_domain} a week in all"
        )
        self._to_decrypt = (
            f"the certificate of {domain} is in the store, and this node can't decrypt its key: put the earlier `secrets_key` behind the new "
            "one, separated by a comma; where it is lost, `miosa-router keys rotate-secrets --forget-lost` orders a new certificate"
        )
        budgets.on_change(self._heard)
        metrics.gauge("platform_names_spent", lambda: float(self.spent))
        metrics.gauge("platform_names_limit", lambda: float(self.limit))

    @property
    def spent(self) -> int:
        """How many of the week's names are spent."""
        return self._budgets.spent(self._registered)

    @property
    def limit(self) -> int:
        """How many there are; 0 where none are counted, or a wildcard makes them needless."""
        return self._settings.registered_domain if self.needs_wildcard else 0

    @property
    def needs_wildcard(self) -> bool:
        """Whether names get certificates of their own, which are counted, for want of a wildcard."""
        domains = (self._domain, f"sandbox.{self._domain}")
        return self._settings.budgets and not all(map(self._is_covered, domains))

    @property
    def lacks_key(self) -> bool:
        """Whether the router has such a certificate, whose key this node can't decrypt."""
        return self._held is not None and self._held.lacks_key(self._domain)

    def advise(self) -> None:
        """For the log, when a node starts."""
        if self.needs_wildcard:
            _log.warning("no wildcard certificate known for the platform domain", advice=self._advice)

    def facts(self) -> Mapping[str, object]:
        """For /readyz."""
        if not self.needs_wildcard:
            return {"wildcard": True} if self._settings.budgets else {}
        figures = {"spent": self.spent, "of": self.limit}
        return {"wildcard": False, "lacks_key": self.lacks_key, **figures, "advice": self._advice}

    @property
    def _advice(self) -> str:
        return self._to_decrypt if self.lacks_key else self._to_order

    def _is_covered(self, domain: str) -> bool:
        return (self._held is not None and self._held.holds(domain)) or self._evidence.covers(domain)

    def _heard(self, attempt: Attempt) -> None:
        """An attempt has opened or ended."""
        if attempt.outcome is not Outcome.OPEN or attempt.domain != self._registered:
            return
        spent, limit = self.spent, self._settings.registered_domain
        if spent < limit * _LATE or not self.needs_wildcard:
            return
        if self._said is None or self._now() - self._said >= _EVERY:
            self._said = self._now()
            _log.warning(
                "certificate budget of the platform domain running out", spent=spent, of=limit, advice=self._advice
            )
