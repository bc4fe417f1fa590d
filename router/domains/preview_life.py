"""What looks make of preview domains: as `custom_life.py`, with a preview domain's own words.

One that is removed at the end of its life is cleared: its scope inherits again, so that new links lead somewhere.
"""

from dataclasses import replace
from datetime import datetime

from router.clock import Clock
from router.domains.checks import ASK_EVERY, REASONS, Move, Phase, after, asked, luck_of
from router.domains.custom_life import check_turn
from router.domains.looking import Look
from router.domains.preview import CHANGED, PreviewDomain, PreviewStatus, ZonesTx, happened, tell
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.leases import GuardedUnit, Lease

PHASES = {
    PreviewStatus.PENDING_DNS: Phase.WAITING,
    PreviewStatus.VERIFIED: Phase.UP,
    PreviewStatus.FAILED: Phase.FAILED,
}
_STATUSES = {Move.UP: PreviewStatus.VERIFIED, Move.FAILED: PreviewStatus.FAILED}


class PreviewLife:
    """Writes down what looks found. Every method may raise StoreUnavailableError."""

    def __init__(self, store: GuardedUnit[ZonesTx], clock: Clock, *, ask_every: float = ASK_EVERY) -> None:
        """`ask_every` is how many seconds lie between two looks that somebody asks for."""
        self._store = store
        self._clock = clock
        self._ask_every = ask_every

    async def get(self, preview_id: str) -> PreviewDomain:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return _there(await tx.preview_domains.by_id(preview_id))

    async def ask(self, preview_id: str) -> PreviewDomain:
        """Somebody wants a look now: its schedule begins anew. Raises RouterError: NOT_FOUND, CHECKED_JUST_NOW."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = _there(await tx.preview_domains.by_id(preview_id))
            check_turn(old.check, now, self._ask_every)
            new = replace(old, check=asked(old.check, now))
            await tx.preview_domains.put(new)
            return new

    async def note(
        self, seen: PreviewDomain, look: Look, *, asked_for: bool = False, under: Lease | None = None
    ) -> PreviewDomain:
        """The domain after a look at what it was when that began.

        Raises RouterError: NOT_FOUND, CONFLICT where the scope's domain was changed meanwhile.
        """
        now = self._clock.now()
        async with self._store.begin(under) as tx:
            old = _there(await tx.preview_domains.by_id(seen.id))
            if old.domain != seen.domain:
                raise RouterError(CONFLICT, CHANGED)
            if old.check.checked_at != seen.check.checked_at and not asked_for:
                return old
            new, move = _after(old, look, now)
            if move is Move.REMOVED:
                await tx.preview_domains.put(new)
                await tx.preview_domains.clear(new.scope, new.scope_id)
                await tell(tx, new, "cleared", now, reason=new.failure_reason)
                return new
            await tx.preview_domains.put(new)
            if move is not None:
                await tell(tx, new, happened(old, new.status), now, reason=new.failure_reason)
            return new


def _after(old: PreviewDomain, look: Look, now: datetime) -> tuple[PreviewDomain, Move | None]:
    phase = PHASES[old.status]
    check, move = after(old.check, phase, look.finding, now, luck=luck_of(old.id), method=look.method)
    if look.caa_forbids is not None:
        check = replace(check, caa_forbidden=look.caa_forbids)
    new = replace(old, check=check)
    if look.finding.definitive:
        new = replace(new, detail=look.noted(now), dns_status=look.dns_status)
    if move is Move.UP:
        new = replace(new, status=_STATUSES[move], verified_at=now, failure_reason=None, updated_at=now)
    elif move is Move.FAILED:
        new = replace(new, status=_STATUSES[move], failure_reason=REASONS[phase], updated_at=now)
    return new, move


def _there(preview: PreviewDomain | None) -> PreviewDomain:
    if preview is None:
        raise RouterError(NOT_FOUND, "preview domain not found")
    return preview
