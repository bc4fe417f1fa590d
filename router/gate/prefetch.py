"""Certificates before visitors: when a domain has been verified, and again when its certificate is due for renewal, one
handshake with Caddy fetches it, and what it says is written down.

    a certificate           issued, and the domain `active`; looked at again when two thirds of its life are over
    the same, and overdue   expiring, once half of what was left for the renewal has gone too
    the gate refuses        rate_limited, or failed with its reason; tried again when it may
    Caddy has none          failed; tried again after 1, 10, 100 minutes, then once a day
    unknown                 nothing changes, and it is tried again soon

A job under a lease calls `run` again and again; it starts what is due and waits for nothing, since one handshake may
take minutes. What came of it is written in a transaction that the lease guards: a node that lost it writes nothing, so
each event happens once. A certificate is written down before the domain becomes active; after a crash between the
two the next run sees a verified domain that has a certificate, and goes on from there. The same is what makes a domain
active that visitors have come to by https, where nothing is fetched (`gate.caddy` is not set).

Names in a preview domain are not fetched ahead: there are too many, and most live for hours.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from router.base.clock import Clock
from router.base.events import EventSink
from router.base.leases import GuardedTransactions, Lease
from router.base.tasks import Tasks
from router.domains.certificates import Certificate, CertificateStatus, Leaf, Outcome, Source
from router.domains.custom import CustomDomain
from router.errors import RouterError, StoreUnavailableError
from router.gate.handshake import Handshake, NoCertificateError, UnreachableError
from router.gate.policy import Verdict

_MAX_DOMAINS = 100  # in one run
_SOON = 10.0  # seconds until an unknown result is tried again
_UNSERVED = 300.0  # the longest wait for what is not served: its owner, or we, said so
_OVERDUE = (timedelta(seconds=2), timedelta(hours=6))  # between two looks at a certificate that is not renewed yet
_OVERDUE_LOOKS = 8  # in what is left of its life

# What the gate's refusals mean to a domain's owner. The others mean that the domain is no longer to be served.
_SENTENCES: Mapping[str, str] = {
    "caa_forbidden": "the domain's CAA records do not let our certificate authority issue",
    "dns_not_pointing": "the domain does not lead to us",
    "budget_host": "too many certificates were issued for this name within a week",
    "budget_registered_domain": "too many certificates were issued under this domain within a week",
    "budget_account": "too many certificates are being issued at the moment",
}
_REFUSED = "the certificate authority did not issue one, or could not be asked"

_log = structlog.get_logger("router.gate")


class CertificateRows(Protocol):
    """Stored certificates."""

    async def get(self, host: str) -> Certificate | None: ...

    async def put(self, certificate: Certificate) -> None: ...

    async def unconfirmed(self, most: int) -> Sequence[tuple[str, str]]:
        """(id, name) of domains that are verified, not active, and have a certificate."""

    async def due(self, now: datetime, most: int) -> Sequence[tuple[str, str, str]]:
        """(id, name, tenant) of domains that route and whose certificate is to be looked at now."""


class DomainRows(Protocol):
    async def get(self, domain_id: str) -> CustomDomain | None: ...


class PrefetchTx(Protocol):
    @property
    def certificates(self) -> CertificateRows: ...

    @property
    def custom_domains(self) -> DomainRows: ...

    @property
    def events(self) -> EventSink: ...


class Domains(Protocol):
    async def mark_active(self, domain_id: str) -> object:
        """A certificate is in use. Raises RouterError where the domain is none that could be active."""


class Evidence(Protocol):
    def read(self, host: str, leaf: Leaf) -> None: ...


class Spending(Protocol):
    def settle(self, host: str, outcome: Outcome) -> None: ...


class CertificatePrefetch:
    """`opinion` is the gate's on a name; `handshake` None fetches nothing."""

    def __init__(
        self,
        *,
        store: GuardedTransactions[PrefetchTx],
        domains: Domains,
        opinion: Callable[[str], Awaitable[Verdict]],
        handshake: Handshake | None,
        evidence: Evidence,
        budgets: Spending,
        backoff: Sequence[float],
        at_once: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._domains = domains
        self._opinion = opinion
        self._handshake = handshake
        self._evidence = evidence
        self._budgets = budgets
        self._backoff = tuple(backoff)
        self._most = at_once
        self._clock = clock
        self._busy: set[str] = set()
        self._later: dict[str, float] = {}
        self._unserved: dict[str, int] = {}  # how often in a row, of what is due
        self._tasks = Tasks("certificate prefetch")

    @property
    def busy(self) -> int:
        """How many names are being looked at."""
        return len(self._busy)

    async def run(self, lease: Lease) -> None:
        """Start what is due. Raises StoreUnavailableError."""
        async with self._store.read() as tx:
            unconfirmed = await tx.certificates.unconfirmed(_MAX_DOMAINS)
            # Those that have to wait stay due, and may be the longest due: the others come behind them.
            most = _MAX_DOMAINS + len(self._busy) + len(self._later)
            due = await tx.certificates.due(self._clock.now(), most) if self._handshake is not None else ()
        for domain_id, _ in unconfirmed:
            await self._activate(domain_id)
        now = self._clock.monotonic()
        self._later = {host: at for host, at in self._later.items() if at > now}
        self._unserved = {host: self._unserved[host] for _, host, _ in due if host in self._unserved}
        for domain_id, host, _ in sorted(due, key=lambda one: self._unserved.get(one[1], 0)):
            if len(self._busy) >= self._most:
                break
            if host not in self._busy and host not in self._later:
                self._busy.add(host)
                self._tasks.start(f"fetch {host}", self._fetch(lease, domain_id, host))

    async def close(self) -> None:
        """Stop looking."""
        await self._tasks.close()

    async def _fetch(self, lease: Lease, domain_id: str, host: str) -> None:
        try:
            await self._look(lease, domain_id, host)
        except (StoreUnavailableError, UnreachableError) as error:
            self._later[host] = self._clock.monotonic() + _SOON
            _log.warning("certificate could not be read", host=host, error=str(error))
        finally:
            self._busy.discard(host)

    async def _look(self, lease: Lease, domain_id: str, host: str) -> None:
        verdict = await self._opinion(host)
        # Caddy takes what the router holds: the handshake shows it, and orders nothing.
        if not verdict.allowed and verdict.reason != "held_certificate":
            await self._refused(lease, domain_id, host, verdict)
            return
        self._unserved.pop(host, None)
        assert self._handshake is not None  # noqa: S101 - nothing is due without
        try:
            leaf = await self._handshake.leaf(host)
        except NoCertificateError as error:
            self._budgets.settle(host, Outcome.FAILED)
            _log.warning("Caddy has no certificate for the domain", host=host, error=str(error))
            await self._failed(lease, domain_id, host, _REFUSED)
            return
        self._evidence.read(host, leaf)
        self._budgets.settle(host, Outcome.ISSUED)
        await self._issued(lease, domain_id, host, leaf)
        await self._activate(domain_id)

    async def _refused(self, lease: Lease, domain_id: str, host: str, verdict: Verdict) -> None:
        """The gate would refuse."""
        if verdict.reason == "failure_backoff":
            await self._failed(lease, domain_id, host, _REFUSED, retry_after=verdict.retry_after)
        elif verdict.retry_after is not None:
            sentence = _SENTENCES[verdict.reason]
            await self._failed(
                lease, domain_id, host, sentence, CertificateStatus.RATE_LIMITED, retry_after=verdict.retry_after
            )
        elif verdict.reason in _SENTENCES:
            await self._failed(lease, domain_id, host, _SENTENCES[verdict.reason])
        else:
            tries = 0 if verdict.reason == "not_ready" else self._unserved.get(host, 0)
            self._unserved[host] = min(tries + 1, 10)
            self._later[host] = self._clock.monotonic() + min(_SOON * 2**tries, _UNSERVED)

    async def _issued(self, lease: Lease, domain_id: str, host: str, leaf: Leaf) -> None:
        now = self._clock.now()
        status = CertificateStatus.EXPIRING if leaf.late_at < now else CertificateStatus.ISSUED
        async with self._store.begin(under=lease) as tx:
            domain = await tx.custom_domains.get(domain_id)
            if domain is None or domain.removed_at is not None:
                return
            old = await tx.certificates.get(host)
            await tx.certificates.put(
                Certificate(
                    host=host,
                    status=status,
                    tenant_id=domain.tenant_id,
                    domain_id=domain.id,
                    leaf=leaf,
                    seen_at=now,
                    source=Source.PROBE,
                    due_at=leaf.due_at if leaf.due_at > now else now + _overdue(leaf, now),
                )
            )
            # For one that was read before it was known to be a domain's no event was emitted.
            told = old is not None and old.domain_id is not None and old.status is not CertificateStatus.REMOVED
            if old is None or old.serial != leaf.serial or not told:
                await _tell(tx, domain, "issued", now, **_facts(leaf))
            elif status is CertificateStatus.EXPIRING and old.status is not CertificateStatus.EXPIRING:
                await _tell(tx, domain, "expiring", now, **_facts(leaf))

    async def _failed(
        self,
        lease: Lease,
        domain_id: str,
        host: str,
        error: str,
        status: CertificateStatus = CertificateStatus.FAILED,
        *,
        retry_after: float | None = None,
    ) -> None:
        now = self._clock.now()
        async with self._store.begin(under=lease) as tx:
            domain = await tx.custom_domains.get(domain_id)
            if domain is None or domain.removed_at is not None:
                return
            old = await tx.certificates.get(host)
            if old is None or old.status is CertificateStatus.REMOVED:
                old = Certificate(host=host, status=CertificateStatus.PENDING)
            failures = old.failures
            if retry_after is None:  # else nothing was tried
                failures += 1
                retry_after = self._backoff[min(failures, len(self._backoff)) - 1]
            retry_at = now + timedelta(seconds=retry_after)
            live = old.live_until
            new = replace(
                old,
                # While there is a certificate the domain has one, whatever became of the next.
                status=old.status if live is not None and live > now else status,
                tenant_id=domain.tenant_id,
                domain_id=domain.id,
                last_error=error,
                retry_at=retry_at,
                due_at=retry_at,
                failures=failures,
            )
            await tx.certificates.put(new)
            if (old.status, old.last_error) != (new.status, new.last_error):
                happened = "rate_limited" if status is CertificateStatus.RATE_LIMITED else "failed"
                await _tell(tx, domain, happened, now, error=error, retry_at=retry_at.isoformat())

    async def _activate(self, domain_id: str) -> None:
        try:
            await self._domains.mark_active(domain_id)
        except RouterError as error:  # it was removed, or no longer leads to us: since a moment ago
            _log.info("domain with a certificate not activated", domain_id=domain_id, error=str(error))


def _overdue(leaf: Leaf, now: datetime) -> timedelta:
    shortest, longest = _OVERDUE
    return min(max((leaf.not_after - now) / _OVERDUE_LOOKS, shortest), longest)


def _facts(leaf: Leaf) -> dict[str, str]:
    return {
        "issuer": leaf.issuer,
        "serial": leaf.serial,
        "not_before": leaf.not_before.isoformat(),
        "not_after": leaf.not_after.isoformat(),
    }


async def _tell(tx: PrefetchTx, domain: CustomDomain, happened: str, now: datetime, **facts: str) -> None:
    await tx.events.emit(
        f"certificate.{happened}",
        now,
        tenant_id=domain.tenant_id,
        workspace_id=domain.workspace_id,
        project_id=domain.project_id,
        resource_id=domain.resource_id,
        data={"domain_id": domain.id, "fqdn": domain.fqdn, **facts},
    )
