"""Claims: a tenant wants a name that another one has, or had until lately, and may show in DNS that it is theirs.

Who is in the way of a name:

    a tenant that has it      as a custom domain, as a preview domain, or a name around it as either: a wildcard record
                              covers every name below it, so a name inside another tenant's zone would be verified by that
                              tenant's records; for a preview domain, also a tenant that has a name inside it
    a tenant that let it go   within 30 days: DNS may lead here until its owner changes it, so the next tenant would be
                              verified at once by the last one's records

It does not matter which of them is verified. The claim's token goes into a TXT record at `_miosa-challenge.<name>`; once it
is there, the name is the claimant's, and with a preview domain all that lies below it (`transfers.py`). A claim ends after
7 days. The same tenant that asks again has the same token; what it asked for last is what it gets.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from router.base.clock import iso
from router.base.ids import new_id
from router.domains.checks.challenge import new_token
from router.domains.checks.schedule import Slice, wait
from router.domains.names import enclosing
from router.domains.required_records import of_claim
from router.domains.transaction import Tx
from router.errors import CONFLICT, RouterError

TAKEN = "has already been taken"

CLAIM_TIME = timedelta(days=7)
LET_GO_TIME = timedelta(days=30)
MAX_DOMAINS = 1000  # of one tenant, of both kinds
MAX_CLAIMS = 100  # open ones of one tenant

# Why a domain was removed that another tenant proved to be theirs; a name that was lost so is not protected.
TRANSFERRED = "transferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One tenant's claim to a name. `wanted` is what to make of the name once it is proven, `checks` counts the checks."""

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

    async def foreign(self, name: str, tenant_id: str, now: datetime) -> bool:
        """Whether another tenant has an open claim to the name."""

    async def foreign_of(self, domains: Collection[str], tenant_id: str, now: datetime) -> bool:
        """Whether another tenant has one to a name of one of these registered domains."""

    async def put(self, claim: Claim) -> None:
        """Store it, new or changed."""

    async def drop(self, claim_id: str) -> None: ...

    async def due(self, now: datetime, limit: int, part: Slice) -> Sequence[tuple[datetime, str, str]]:
        """When the next check is due, the id and the tenant; tenants take turns (`queue.py`)."""


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

    async def foreign_of(self, domains: Collection[str], tenant_id: str) -> bool:
        """Whether another tenant has a live name of one of these registered domains."""

    async def released_of(self, domains: Collection[str], tenant_id: str, since: datetime) -> bool:
        """Whether another tenant let go of such a one, not before `since`."""

    async def count_of(self, tenant_id: str) -> int:
        """How many a tenant has now."""

    async def own_tokens(self, tokens: Collection[str], tenant_id: str) -> frozenset[str]:
        """Those of the tokens that are this tenant's, of a name that it has or had."""


class Proofs(Protocol):
    """Checks whether claims are proven."""

    async def prove(self, claim: Claim) -> bool:
        """Whether the claim's record is there, and so the name has become the claimant's. Checks at most every ten seconds.

        Raises StoreUnavailableError, and RouterError where what was wanted can no longer be."""


async def host_is_held(tx: Tx, fqdn: str, tenant_id: str, now: datetime) -> bool:
    """Whether another tenant is in the way of a custom domain."""
    since, above = now - LET_GO_TIME, enclosing(fqdn)
    return bool(
        await tx.custom_domains.foreign(above, tenant_id)
        or await tx.preview_domains.foreign(above, tenant_id)
        or await tx.custom_domains.released([fqdn], tenant_id, since)
        or await tx.preview_domains.released(above, tenant_id, since)
    )


async def zone_is_held(tx: Tx, domain: str, tenant_id: str, now: datetime) -> bool:
    """Whether another tenant is in the way of a preview domain."""
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


async def check_room(tx: Tx, tenant_id: str, max_domains: int, field: str) -> None:
    """Raises RouterError CONFLICT where the tenant has as many domains, of both kinds, as it may have."""
    if not await has_room(tx, tenant_id, max_domains):
        count = await tx.custom_domains.count_of(tenant_id) + await tx.preview_domains.count_of(tenant_id)
        problem = f"can't be added: this account has {count} domains, and may have {max_domains}"
        raise RouterError(CONFLICT, problem, fields={field: [problem]})


async def has_room(tx: Tx, tenant_id: str, max_domains: int) -> bool:
    """Whether a tenant has fewer domains than that, of both kinds."""
    return await tx.custom_domains.count_of(tenant_id) + await tx.preview_domains.count_of(tenant_id) < max_domains


async def open_claim(tx: Tx, name: str, tenant_id: str, wanted: Mapping[str, Any], now: datetime) -> Claim | None:
    """The tenant's claim to the name, with what it wants now; None where it has too many others."""
    old = await tx.claims.of(tenant_id, name)
    if old is not None and old.expires_at > now:
        claim = replace(old, wanted=wanted)
    else:
        if old is not None:
            await tx.claims.drop(old.id)
        if await tx.claims.count(tenant_id) >= MAX_CLAIMS:
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


def taken(field: str, claim: Claim | None = None, *, target: str | None = None) -> RouterError:
    """That a name is another's, and what would show that it is not; `target` is where a custom domain's CNAME must lead."""
    beside: dict[str, object] = {}
    if claim is not None:
        records = of_claim(claim.name, claim.token, claim.checked_at, target=target)
        beside["claim"] = {
            "name": claim.name,
            "expires_at": iso(claim.expires_at),
            "records": [record.shown() for record in records],
        }
    return RouterError(CONFLICT, TAKEN, fields={field: [TAKEN]}, beside=beside)


def too_many_claims(field: str) -> RouterError:
    """That a name is another's, and that the tenant can't claim it now."""
    problem = (
        f"{TAKEN}, and can't be claimed: this account has {MAX_CLAIMS} open claims, as many as it may have. Prove one of "
        f"them, or wait until one ends, which is {CLAIM_TIME.days} days after it was opened"
    )
    return RouterError(CONFLICT, problem, fields={field: [problem]})


async def forget_claim(tx: Tx, name: str, tenant_id: str) -> None:
    """The tenant has the name, however it came by it."""
    claim = await tx.claims.of(tenant_id, name)
    if claim is not None:
        await tx.claims.drop(claim.id)
