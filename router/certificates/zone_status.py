"""How a zone stands with its certificate, as its owner is told."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from router.base.clock import Clock, iso
from router.base.transactions import Transactions
from router.certificates.delegation import Delegation, DelegationState, challenge_names
from router.certificates.delegations import Delegations
from router.certificates.held import HeldCertificate, Origin, upload_name
from router.certificates.order import Order, OrderState
from router.certificates.transaction import Tx
from router.domains.required_records import PENDING, RequiredRecord

CERTIFICATE = "certificate"  # what the record that delegates a challenge is for
_STATUS = {
    DelegationState.PRESENT: "valid",
    DelegationState.MISSING: "missing",
    DelegationState.ELSEWHERE: "wrong",
    DelegationState.SHADOWED: "wrong",
    DelegationState.UNREACHABLE: "unknown",
}
_LIMITS = frozenset({"budget", "rate_limited"})
_AWAY = frozenset({"unreachable", "bad_answer"})  # what was said of the authority, as "it refuses connections"


class Mode(enum.StrEnum):
    """Whether one certificate serves all hosts of the zone, or each has its own."""

    WILDCARD = "wildcard"
    PER_HOST = "per_host"


class ZoneState(enum.StrEnum):
    """`off`: the platform orders no certificates for zones. `not_delegated`: the zone's owner has not delegated its challenges, or
    not so that they lead to us. `pending`: one is being ordered. `expiring`: it should have been renewed by now."""

    OFF = "off"
    NOT_DELEGATED = "not_delegated"
    PENDING = "pending"
    ISSUED = "issued"
    EXPIRING = "expiring"
    FAILED = "failed"
    RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneStatus:
    """`target` None: the platform orders none. `managed` and `uploaded` are the certificates that the router holds for the zone,
    `order` its newest order."""

    domain: str
    now: datetime
    target: str | None = None
    delegation: Delegation | None = None
    managed: HeldCertificate | None = None
    uploaded: HeldCertificate | None = None
    order: Order | None = None

    @property
    def served(self) -> HeldCertificate | None:
        """The one that is valid now, the owner's own first."""
        both = (self.uploaded, self.managed)
        return next((one for one in both if one is not None and one.valid(self.now)), None)

    @property
    def mode(self) -> Mode:
        return Mode.PER_HOST if self.served is None else Mode.WILDCARD

    @property
    def state(self) -> ZoneState:
        managed, order = self.managed, self.order
        if managed is not None and managed.valid(self.now):
            return ZoneState.ISSUED if self.now < managed.leaf.late_at else ZoneState.EXPIRING
        if self.delegation is None or self.target is None:
            return ZoneState.OFF
        if order is not None and order.error is not None and order.error.get("kind") in _LIMITS:
            return ZoneState.RATE_LIMITED
        if order is not None and order.state is OrderState.FAILED:
            return ZoneState.FAILED
        return ZoneState.PENDING if self.delegation.present else ZoneState.NOT_DELEGATED

    @property
    def last_error(self) -> str | None:
        """Why there is no certificate, or no new one, in a sentence."""
        order = self.order
        if order is not None and order.error is not None and order.state is not OrderState.ABANDONED:
            detail = str(order.error.get("detail"))
            away = order.error.get("kind") in _AWAY
            return f"The certificate authority can't be used now: {detail}" if away else detail
        return None

    @property
    def next_attempt_at(self) -> datetime | None:
        """When the next step of an order is taken, or the next order placed, where something went wrong."""
        return None if self.order is None or self.last_error is None else self.order.next_at

    @property
    def advice(self) -> str | None:
        """What delegating the challenges would bring; None where that is done, or can't be."""
        if self.target is None or self.delegation is None or self.delegation.present:
            return None
        if self.delegation.state is DelegationState.FORBIDDEN:
            why = (self.delegation.found or {}).get("caa", {}).get("advice") or "CAA records forbid it"
            if self.managed is not None and self.managed.valid(self.now):
                return f"The certificate of all hosts of {self.domain} ends at {iso(self.managed.not_after)} and can't be renewed: {why}."
            return f"No certificate for the whole of {self.domain} can be ordered: {why}."
        if self.delegation.state is DelegationState.UNREACHABLE:
            if all(one.status == "valid" for one in self.records()):
                return (
                    f"The records are there, but name servers do not answer for the CAA records that hold for {self.domain}, and an"
                    " authority issues nothing until they do; they are asked again soon."
                )
            return f"The name servers of {self.domain} did not say where the challenge names lead; they are asked again soon."
        first, second = challenge_names(self.domain)
        if self.managed is not None and self.managed.valid(self.now):
            return (
                f"The certificate of all hosts of {self.domain} ends at {iso(self.managed.not_after)} and can't be renewed: let the"
                f" CNAME records of {first} and {second} both point to {self.target} again."
            )
        return (
            f"Add CNAME records for {first} and {second} that point to {self.target}: then one certificate serves all hosts of"
            f" {self.domain}, before anybody visits. Without them each host gets its own at its first visit, and certificate"
            " authorities give a domain about fifty of these a week."
        )

    def records(self) -> Sequence[RequiredRecord]:
        """The delegation, as records for the owner to add; none is required."""
        delegation, target = self.delegation, self.target
        if delegation is None or target is None:
            return ()
        found = (delegation.found or {}).get("names", {})
        return [
            RequiredRecord(
                purpose=CERTIFICATE,
                type="CNAME",
                name=name.removesuffix(f".{self.domain}"),
                fqdn=name,
                expected=target,
                required=False,
                observed=tuple(found.get(name, {}).get("observed", ())),
                status=_STATUS[DelegationState(found[name]["state"])] if name in found else PENDING,
                reason=found.get(name, {}).get("reason"),
                checked_at=delegation.checked_at,
            )
            for name in challenge_names(self.domain)
        ]


class ZoneStatuses:
    """Reads how zones stand. `delegations` None: the platform orders no certificates for zones. Every method may raise
    StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, delegations: Delegations | None) -> None:
        self._store = store
        self._clock = clock
        self._delegations = delegations

    async def of(self, domain: str, tenant_id: str | None) -> ZoneStatus:
        """A zone of this tenant's; nothing of another's is told."""
        async with self._store.read() as tx:
            delegation = await tx.delegations.get(domain)
            managed = await tx.held_certificates.get(domain, Origin.MANAGED)
            uploaded = await tx.held_certificates.get(upload_name(domain), Origin.UPLOADED)
            order = (await tx.acme_orders.last([domain])).get(domain)
        if delegation is not None and delegation.tenant_id != tenant_id:
            delegation = None
        target = None
        if delegation is not None and self._delegations is not None:
            target = delegation.target(self._delegations.acme_zone)
        token = None if delegation is None else delegation.token
        return ZoneStatus(
            domain=domain,
            now=self._clock.now(),
            target=target,
            delegation=delegation,
            managed=managed if managed is not None and managed.tenant_id == tenant_id else None,
            uploaded=uploaded if uploaded is not None and uploaded.tenant_id == tenant_id else None,
            order=order if order is not None and order.token == token else None,
        )

    async def named(self, domain: str) -> ZoneStatus | None:
        """Whoever's zone it is, for operators, after a look at its delegation; None where it is no zone."""
        await self.check(domain)
        async with self._store.read() as tx:
            found = await tx.delegations.get(domain)
        return None if found is None else await self.of(domain, found.tenant_id)

    async def renew(self, domain: str) -> ZoneStatus | None:
        """Have the zone's certificate renewed now, as if its time had come; None where it has none. For operators."""
        async with self._store.begin() as tx:
            held = await tx.held_certificates.get(domain, Origin.MANAGED)
            if held is None:
                return None
            await tx.held_certificates.save(replace(held, renew_at=self._clock.now()))
        return await self.of(domain, held.tenant_id)

    async def check(self, domain: str) -> None:
        """Look at the zone's delegation now."""
        if self._delegations is not None:
            await self._delegations.check(domain, fresh=True)
