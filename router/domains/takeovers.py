"""Takeovers: a claim is proven, and the name moves, in one transaction: what its holders had goes, with its routes, and the
claimant has what it wanted, which is then looked at as any other new domain is.

Whoever proves a name has it, and as a preview domain all that lies below it, since its wildcards cover that. A preview
domain above it stays with whom it belongs: the more specific name wins (`routes/chain.py`), and who has the one has shown
to control it.
"""

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from router.clock import Clock
from router.domains.checks import ASK_EVERY, wait
from router.domains.claims import TRANSFERRED, Claim, ClaimRows
from router.domains.custom import (
    CustomDomain,
    DomainRows,
    DomainsTx,
    Wanted,
    give_up,
    in_use,
    make_custom,
    redirects_back,
)
from router.domains.custom import tell as tell_custom
from router.domains.looking import Looker
from router.domains.pointing import Finding
from router.domains.preview import PreviewDomain, ZoneRows, ZonesTx, make_preview, scope_exists
from router.domains.preview import tell as tell_preview
from router.domains.redirects import RedirectPolicy
from router.leases import GuardedUnit, Lease
from router.routes.records import DomainStatus, Scope

TO_ANOTHER, FROM_ANOTHER = "proven_by_another", "proven"  # the reasons in the events of whoever loses it, and gets it


class _Names(DomainRows, Protocol):
    async def others(self, name: str, tenant_id: str, *, under: bool) -> list[CustomDomain]:
        """Other tenants' live custom domains of that name, or also `under` it."""

    async def forget_released(self, name: str, tenant_id: str, *, under: bool) -> None:
        """That others let go of them protects nobody any more."""


class _Zones(ZoneRows, Protocol):
    async def others(self, name: str, tenant_id: str, *, under: bool) -> list[PreviewDomain]:
        """Other tenants' preview domains of that name, or also `under` it."""

    async def forget_released(self, name: str, tenant_id: str, *, under: bool) -> None:
        """As of custom domains."""


class TakeoversTx(DomainsTx, ZonesTx, Protocol):
    """What a transaction offers to takeovers."""

    @property
    def claims(self) -> ClaimRows: ...

    @property
    def custom_domains(self) -> _Names: ...

    @property
    def preview_domains(self) -> _Zones: ...


class Takeovers:
    """A claims.Proofs. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: GuardedUnit[TakeoversTx],
        clock: Clock,
        *,
        looker: Looker,
        target: str,
        ask_every: float = ASK_EVERY,
    ) -> None:
        """`target` is where custom domains' CNAMEs must lead; `ask_every` as in `CustomLife`."""
        self._store = store
        self._clock = clock
        self._looker = looker
        self._target = target
        self._ask_every = ask_every

    async def prove(self, claim: Claim) -> bool:
        """See `Proofs`."""
        now = self._clock.now()
        if claim.checked_at is not None and (now - claim.checked_at).total_seconds() < self._ask_every:
            return False
        seen = await self._looker.shown(claim.name, claim.token, fresh=True)
        return await self._conclude(claim.id, seen.finding, asked_for=True)

    async def recheck(self, claim_id: str, under: Lease) -> Finding:
        """A look at a claim that is due."""
        async with self._store.read() as tx:
            claim = await tx.claims.get(claim_id)
        if claim is None:
            return Finding.UNKNOWN
        seen = await self._looker.shown(claim.name, claim.token)
        await self._conclude(claim_id, seen.finding, under=under)
        return seen.finding

    async def _conclude(
        self, claim_id: str, finding: Finding, *, asked_for: bool = False, under: Lease | None = None
    ) -> bool:
        """What a look makes of a claim; whether the name moved."""
        now = self._clock.now()
        async with self._store.begin(under) as tx:
            await tx.preview_domains.hold_names()
            claim = await tx.claims.get(claim_id)
            if claim is None:
                return False
            if claim.expires_at <= now:
                await tx.claims.drop(claim.id)
                return False
            if finding is Finding.VALID:
                await tx.claims.drop(claim.id)
                return await self._move(tx, claim, now)
            checks = 0 if asked_for else claim.checks + 1
            due = min(now + wait(checks), claim.expires_at)
            await tx.claims.put(replace(claim, checks=checks, next_check_at=due, checked_at=now))
            return False

    async def _move(self, tx: TakeoversTx, claim: Claim, now: datetime) -> bool:
        """Whether there still was something to make of the name."""
        if "scope" in claim.wanted:
            return await self._to_preview(tx, claim, now)
        wanted = Wanted(**claim.wanted)
        holder = await tx.resources.get(wanted.resource_id)
        if holder is None or holder.deleted_at is not None or holder.tenant_id != claim.tenant_id:
            return False
        current = await tx.custom_domains.by_fqdn(claim.name)
        if current is not None and current.tenant_id == claim.tenant_id:
            if await in_use(tx, current):
                return True
            await give_up(tx, current, now)
        await _take(tx, claim, now, under=False)
        if await redirects_back(tx, claim.name, RedirectPolicy(wanted.redirect_policy)):
            # The other one of the pair was told to since: better no redirect than no domain.
            wanted = replace(wanted, redirect_policy=RedirectPolicy.NONE.value)
        new = await make_custom(
            tx, holder, claim.name, wanted, now, target=self._target, token=claim.token, at_once=True
        )
        await tell_custom(tx, new, "transferred", now, reason=FROM_ANOTHER)
        return True

    async def _to_preview(self, tx: TakeoversTx, claim: Claim, now: datetime) -> bool:
        scope, scope_id = Scope(claim.wanted["scope"]), claim.wanted["scope_id"]
        if not await scope_exists(tx, scope, scope_id):
            return False
        await _take(tx, claim, now, under=True)
        new = await make_preview(tx, scope, scope_id, claim.name, now, at_once=True)
        await tell_preview(tx, new, "transferred", now, reason=FROM_ANOTHER)
        return True


async def _take(tx: TakeoversTx, claim: Claim, now: datetime, *, under: bool) -> None:
    """The end of what others have at the name, or also under it."""
    for domain in await tx.custom_domains.others(claim.name, claim.tenant_id, under=under):
        gone = replace(domain, status=DomainStatus.REMOVED, failure_reason=TRANSFERRED, removed_at=now, updated_at=now)
        await tx.custom_domains.save(gone)
        await tell_custom(tx, gone, "transferred", now, reason=TO_ANOTHER)
    for preview in await tx.preview_domains.others(claim.name, claim.tenant_id, under=under):
        await tx.preview_domains.clear(preview.scope, preview.scope_id, released=False)
        await tell_preview(tx, preview, "transferred", now, reason=TO_ANOTHER)
    for rows in (tx.custom_domains, tx.preview_domains):
        await rows.forget_released(claim.name, claim.tenant_id, under=under)
