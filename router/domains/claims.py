"""Claims: a tenant wants a name that another one has, or had until lately, and may show in DNS that it is theirs.

Who is in the way of a name:

    whoever has it            as a custom domain, as a preview domain, or a name around it as either: a wildcard record
                              covers every name below it, so whoever nests inside another's zone passes for its owner;
                              round a preview domain, whoever has a name inside
    whoever let go of it      within 30 days: DNS may lead here for as long as nobody changed it, so whoever came next would
                              be verified at once, by records of somebody else's

It does not matter which of them is verified. The claim's token goes into a TXT record at `_miosa-challenge.<name>`; once it
is there, the name is the claimant's, and with a preview domain all that lies below it (`takeovers.py`). A claim ends after
7 days. The same tenant that asks again has the same token; what it asked for last is what it gets.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from router.clock import iso
from router.domains.challenge import new_token
from router.domains.checks import wait
from router.domains.names import enclosing
from router.domains.requirement import of_claim
from router.errors import CONFLICT, RouterError
from router.unit import new_id

TAKEN = "has already been taken"

CLAIM_TIME = timedelta(days=7)
LET_GO_TIME = timedelta(days=30)
MOST_CLAIMS = 100  # open ones of one tenant

# Why a domain was removed that another tenant proved to be theirs; nobody is protected by having lost a name so.
TRANSFERRED = "transferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One tenant's claim to a name. `wanted` is what to make of the name once it is proven, `checks` counts the looks."""

    id: str
    name: str
    tenant_id: str
    token: str
    wanted: Mapping[str, Any]
    checks: int = 0
    next_check_at: datetime
    checked_at: datetime | None = None
    created_at: datetime
    expires_at: datetime


class ClaimRows(Protocol):
    """Stored claims."""

    async def get(self, claim_id: str) -> Claim | None: ...

    async def of(self, tenant_id: str, name: str) -> Claim | None: ...

    async def count(self, tenant_id: str) -> int:
        """How many a tenant has."""

    async def put(self, claim: Claim) -> None:
        """Store it, new or changed."""

    async def drop(self, claim_id: str) -> None: ...

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[datetime, str]]:
        """The ids of those whose next look is due, with when it was due, the longest ago first."""


class Names(Protocol):
    """Custom domains, as far as others' names go."""

    async def foreign(self, names: Collection[str], tenant_id: str) -> str | None:
        """One of `names` that is another tenant's live custom domain."""

    async def foreign_under(self, domain: str, tenant_id: str) -> str | None:
        """Another tenant's live custom domain under `domain`."""

    async def released(self, names: Collection[str], tenant_id: str, since: datetime) -> str | None:
        """One of `names` that another tenant was the last to let go of, not before `since`."""

    async def released_under(self, domain: str, tenant_id: str, since: datetime) -> str | None:
        """Such a one under `domain`."""


class Zones(Names, Protocol):
    """Preview domains likewise."""

    async def hold_names(self) -> None:
        """Until the end of the transaction nobody else sets or registers a domain. The first thing in it."""


class ClaimsTx(Protocol):
    """What a transaction offers to claims."""

    @property
    def claims(self) -> ClaimRows: ...

    @property
    def custom_domains(self) -> Names: ...

    @property
    def preview_domains(self) -> Zones: ...


class Proofs(Protocol):
    """Looks whether claims are proven."""

    async def prove(self, claim: Claim) -> bool:
        """Whether the claim's record is there, and so the name has become the claimant's. Looks at most every ten seconds.

        Raises StoreUnavailableError, and RouterError where what was wanted can no longer be."""


async def host_is_held(tx: ClaimsTx, fqdn: str, tenant_id: str, now: datetime) -> bool:
    """Whether somebody else is in the way of a custom domain."""
    since, above = now - LET_GO_TIME, enclosing(fqdn)
    return bool(
        await tx.custom_domains.foreign(above, tenant_id)
        or await tx.preview_domains.foreign(above, tenant_id)
        or await tx.custom_domains.released([fqdn], tenant_id, since)
        or await tx.preview_domains.released(above, tenant_id, since)
    )


async def zone_is_held(tx: ClaimsTx, domain: str, tenant_id: str, now: datetime) -> bool:
    """Whether somebody else is in the way of a preview domain."""
    since, above = now - LET_GO_TIME, enclosing(domain)
    return bool(
        await tx.preview_domains.foreign(above, tenant_id)
        or await tx.preview_domains.foreign_under(domain, tenant_id)
        or await tx.custom_domains.foreign(above, tenant_id)
        or await tx.custom_domains.foreign_under(domain, tenant_id)
        or await tx.preview_domains.released(above, tenant_id, since)
        or await tx.preview_domains.released_under(domain, tenant_id, since)
        or await tx.custom_domains.released([domain], tenant_id, since)
        or await tx.custom_domains.released_under(domain, tenant_id, since)
    )


async def open_claim(tx: ClaimsTx, name: str, tenant_id: str, wanted: Mapping[str, Any], now: datetime) -> Claim | None:
    """The tenant's claim to the name, with what it wants now; None where it has too many others."""
    old = await tx.claims.of(tenant_id, name)
    if old is not None and old.expires_at > now:
        claim = replace(old, wanted=wanted)
    else:
        if old is not None:
            await tx.claims.drop(old.id)
        if await tx.claims.count(tenant_id) >= MOST_CLAIMS:
            return None
        claim = Claim(
            id=new_id(),
            name=name,
            tenant_id=tenant_id,
            token=new_token(),
            wanted=wanted,
            next_check_at=now + wait(0),
            created_at=now,
            expires_at=now + CLAIM_TIME,
        )
    await tx.claims.put(claim)
    return claim


def taken(field: str, claim: Claim | None = None) -> RouterError:
    """That a name is another's, and what would show that it is not."""
    beside: dict[str, object] = {}
    if claim is not None:
        beside["claim"] = {
            "name": claim.name,
            "expires_at": iso(claim.expires_at),
            "records": [of_claim(claim.name, claim.token, claim.checked_at).shown()],
        }
    return RouterError(CONFLICT, TAKEN, fields={field: [TAKEN]}, beside=beside)


async def forget_claim(tx: ClaimsTx, name: str, tenant_id: str) -> None:
    """The tenant has the name, however it came by it."""
    claim = await tx.claims.of(tenant_id, name)
    if claim is not None:
        await tx.claims.drop(claim.id)
