"""Transfers: a claim is proven, and the name moves, in one transaction: what its holders had goes, with its routes, and the
claimant has what it wanted, which is then checked as any other new domain is.

The tenant that proves a name has it, and as a preview domain all that lies below it, since its wildcards cover that. A preview
domain above it stays with whom it belongs: the more specific name wins (`routes/chain.py`), and who has the one has shown
to control it.
"""

from dataclasses import replace
from datetime import datetime

from router.base.clock import Clock
from router.base.leases import GuardedTransactions, Lease
from router.domains.checks.checker import Checker
from router.domains.checks.cooldown import ConcurrencyLimit
from router.domains.checks.pointing import CheckResult
from router.domains.checks.schedule import ASK_EVERY, counted, wait
from router.domains.claims import MAX_DOMAINS, TRANSFERRED, Claim, has_room
from router.domains.custom import emit_event as emit_custom
from router.domains.custom import moved
from router.domains.preview_domains import emit_event as emit_preview
from router.domains.preview_domains import make_preview, scope_exists
from router.domains.redirects import RedirectPolicy
from router.domains.registration import Wanted, give_up, in_use, make_custom, redirects_back
from router.domains.transaction import Tx
from router.routes.records import DomainStatus, Scope

# The reasons in the events of the tenant that loses a name, and of the one that gets it.
TO_ANOTHER, FROM_ANOTHER = "proven_by_another", "proven"


class Transfers:
    """A claims.Proofs. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: GuardedTransactions[Tx],
        clock: Clock,
        *,
        checker: Checker,
        target: str,
        ask_every: float = ASK_EVERY,
        max_domains: int = MAX_DOMAINS,
    ) -> None:
        """`target` is where custom domains' CNAMEs must lead; `ask_every` as in `CustomResults`; `max_domains` is how many domains one
        tenant may have: what it proves beyond them waits until there is room, or its claim ends."""
        self._store = store
        self._clock = clock
        self._checker = checker
        self._target = target
        self._ask_every = ask_every
        self._max_domains = max_domains
        self._limit = ConcurrencyLimit()

    async def prove(self, claim: Claim) -> bool:
        """See `Proofs`."""
        now = self._clock.now()
        if claim.checked_at is not None and 0 <= (now - claim.checked_at).total_seconds() < self._ask_every:
            return False
        with self._limit.take(claim.tenant_id):
            result = await self._checker.proven(claim.name, claim.token, zone=_of_zone(claim), fresh=True)
        return await self._conclude(claim.id, result, asked_for=True)

    async def recheck(self, claim_id: str, under: Lease) -> CheckResult:
        """A check of a claim that is due."""
        async with self._store.read() as tx:
            claim = await tx.claims.get(claim_id)
        if claim is None:
            return CheckResult.UNKNOWN
        result = await self._checker.proven(claim.name, claim.token, zone=_of_zone(claim))
        await self._conclude(claim_id, result, under=under)
        return result

    async def _conclude(
        self, claim_id: str, result: CheckResult, *, asked_for: bool = False, under: Lease | None = None
    ) -> bool:
        """Apply the result of a check to a claim; whether the name moved."""
        now = self._clock.now()
        async with self._store.begin(under) as tx:
            await tx.preview_domains.hold_names()
            claim = await tx.claims.get(claim_id)
            if claim is None:
                return False
            if claim.expires_at <= now:
                await tx.claims.drop(claim.id)
                return False
            if result is CheckResult.VALID and await self._has_room(tx, claim):
                await tx.claims.drop(claim.id)
                return await self._move(tx, claim, now)
            checks = 0 if asked_for else counted(claim.checks, result)
            due = min(now + wait(checks), claim.expires_at)
            await tx.claims.put(replace(claim, checks=checks, next_check_at=due, checked_at=now))
            return False

    async def _has_room(self, tx: Tx, claim: Claim) -> bool:
        """Whether its tenant may have the name beside what it has now; in the place of another it always may."""
        if _of_zone(claim):
            replaced: object = await tx.preview_domains.get(Scope(claim.wanted["scope"]), claim.wanted["scope_id"])
        else:
            current = await tx.custom_domains.by_fqdn(claim.name)
            replaced = current if current is not None and current.tenant_id == claim.tenant_id else None
        return replaced is not None or await has_room(tx, claim.tenant_id, self._max_domains)

    async def _move(self, tx: Tx, claim: Claim, now: datetime) -> bool:
        """Whether there still was something to make of the name."""
        if _of_zone(claim):
            return await self._to_preview(tx, claim, now)
        wanted = Wanted(**claim.wanted)
        holder = await tx.owners.resource(wanted.resource_id)
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
        await emit_custom(tx, new, "transferred", now, reason=FROM_ANOTHER)
        return True

    async def _to_preview(self, tx: Tx, claim: Claim, now: datetime) -> bool:
        scope, scope_id = Scope(claim.wanted["scope"]), claim.wanted["scope_id"]
        if not await scope_exists(tx, scope, scope_id):
            return False
        await _take(tx, claim, now, under=True)
        new = await make_preview(tx, scope, scope_id, claim.name, now, token=claim.token, at_once=True)
        await emit_preview(tx, new, "transferred", now, reason=FROM_ANOTHER)
        return True


def _of_zone(claim: Claim) -> bool:
    """Whether a preview domain is wanted."""
    return "scope" in claim.wanted


async def _take(tx: Tx, claim: Claim, now: datetime, *, under: bool) -> None:
    """The end of what others have at the name, or also under it."""
    for domain in await tx.custom_domains.others(claim.name, claim.tenant_id, under=under):
        gone = moved(domain, DomainStatus.REMOVED, now, failure_reason=TRANSFERRED, removed_at=now)
        await tx.custom_domains.save(gone)
        await emit_custom(tx, gone, "transferred", now, reason=TO_ANOTHER)
    for preview in await tx.preview_domains.others(claim.name, claim.tenant_id, under=under):
        await tx.preview_domains.clear(preview.scope, preview.scope_id, released=False)
        await emit_preview(tx, preview, "transferred", now, reason=TO_ANOTHER)
    for rows in (tx.custom_domains, tx.preview_domains):
        await rows.forget_released(claim.name, claim.tenant_id, under=under)
