"""What looks make of custom domains: each is stored with its consequences, in one transaction.

A look takes seconds, and meanwhile others may have looked, or removed the domain. What somebody asked for counts in any
case; what the schedule brought counts only if nobody has looked since it began, so that an old finding never overrules
a new one.
"""

import math
from dataclasses import replace
from datetime import datetime

from router.clock import Clock
from router.domains.challenge import new_token
from router.domains.checks import ASK_EVERY, REASONS, CheckState, Move, Phase, after, asked, too_soon
from router.domains.custom import CustomDomain, DomainsTx, happened, live, tell
from router.domains.looking import Look
from router.errors import CHECKED_JUST_NOW, RouterError
from router.leases import GuardedUnit, Lease
from router.routes.records import DomainStatus

PHASES = {
    DomainStatus.PENDING: Phase.WAITING,
    DomainStatus.VERIFIED: Phase.UP,
    DomainStatus.ACTIVE: Phase.UP,
    DomainStatus.FAILED: Phase.FAILED,
}
_STATUSES = {Move.UP: DomainStatus.VERIFIED, Move.FAILED: DomainStatus.FAILED, Move.REMOVED: DomainStatus.REMOVED}


class CustomLife:
    """Writes down what looks found. Every method may raise StoreUnavailableError."""

    def __init__(self, store: GuardedUnit[DomainsTx], clock: Clock, *, ask_every: float = ASK_EVERY) -> None:
        """`ask_every` is how many seconds lie between two looks that somebody asks for."""
        self._store = store
        self._clock = clock
        self._ask_every = ask_every

    async def ask(self, domain_id: str) -> CustomDomain:
        """Somebody wants a look now: its schedule begins anew. Raises RouterError: NOT_FOUND, CHECKED_JUST_NOW."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = live(await tx.custom_domains.get(domain_id))
            check_turn(old.check, now, self._ask_every)
            new = replace(old, check=asked(old.check, now), proof=old.proof or new_token())
            await tx.custom_domains.save(new, routed=new.proof != old.proof)
            return new

    async def note(
        self, seen: CustomDomain, look: Look, *, asked_for: bool = False, under: Lease | None = None
    ) -> CustomDomain:
        """The domain after a look at what it was when that began. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin(under) as tx:
            old = live(await tx.custom_domains.get(seen.id))
            if old.check.checked_at != seen.check.checked_at and not asked_for:
                return old
            new, move = self._after(old, look, now)
            await tx.custom_domains.save(new, routed=_routed(old) != _routed(new))
            if move is not None:
                await tell(tx, new, happened(old, new.status), now, reason=new.failure_reason)
            return new

    def _after(self, old: CustomDomain, look: Look, now: datetime) -> tuple[CustomDomain, Move | None]:
        phase = PHASES[old.status]
        check, move = after(old.check, phase, look.finding, now, luck=old.luck, method=look.method)
        if look.caa_forbids is not None:
            check = replace(check, caa_forbidden=look.caa_forbids)
        new = replace(old, check=check, proof=old.proof or new_token())
        if look.finding.definitive:
            new = replace(new, detail=look.noted(now))
        if move is None:
            return new, None
        new = replace(new, status=_STATUSES[move], updated_at=now)
        if move is Move.UP:
            new = replace(new, verified_at=now, failure_reason=None)
        elif move is Move.FAILED:
            new = replace(new, failure_reason=REASONS[phase])
        else:
            new = replace(new, removed_at=now)
        return new, move


def check_turn(state: CheckState, now: datetime, every: float) -> None:
    """Raises RouterError CHECKED_JUST_NOW where somebody asked for a look less than `every` seconds ago."""
    left = too_soon(state, now, every)
    if left is not None:
        raise RouterError(CHECKED_JUST_NOW, retry_after=math.ceil(left))


def _routed(domain: CustomDomain) -> tuple[object, ...]:
    """What its routing record shows of what a look may change."""
    check = domain.check
    return domain.status, domain.proof, check.caa_forbidden, check.not_pointing, check.method
