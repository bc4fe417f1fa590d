"""Apply the result of a DNS check to a preview domain, as `apply_custom.py` does to a custom domain.

One that is removed at the end of its life is cleared: its scope inherits again, so that new links lead somewhere.
"""

from dataclasses import replace
from datetime import datetime

from router.base.leases import Lease
from router.domains.checks.apply import Results, judged, next_state, noted, overtaken
from router.domains.checks.judgement import Check
from router.domains.checks.schedule import failure_reason, jitter_of
from router.domains.preview_domains import CHANGED, PreviewDomain, PreviewStatus, emit_event, happened
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import DomainStatus


class PreviewResults(Results):
    """Stores requests for checks, and what checks found. Every method may raise StoreUnavailableError."""

    async def get(self, preview_id: str) -> PreviewDomain:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return _there(await tx.preview_domains.by_id(preview_id))

    async def request_check(self, preview_id: str) -> PreviewDomain:
        """A tenant requests a check: the schedule begins anew. Raises RouterError: NOT_FOUND, CHECKED_JUST_NOW."""
        async with self._store.begin() as tx:
            old = _there(await tx.preview_domains.by_id(preview_id))
            new = replace(old, check=await self._requested(tx, old.check, old.domain, old.tenant_id))
            await tx.preview_domains.put(new)
            return new

    async def apply_check(
        self, seen: PreviewDomain, check: Check, *, requested: bool = False, under: Lease | None = None
    ) -> tuple[PreviewDomain, Check]:
        """The domain after a check that began when it was as `seen`, and the check as it counts.

        Raises RouterError: NOT_FOUND, CONFLICT where the scope's domain was changed meanwhile.
        """
        now = self._clock.now()
        async with self._store.begin(under) as tx:
            old = _there(await tx.preview_domains.by_id(seen.id))
            if old.domain != seen.domain:
                raise RouterError(CONFLICT, CHANGED)
            if overtaken(old.check, seen.check, requested=requested):
                return old, check
            if not old.verified:
                check = await judged(tx, check, old.tenant_id, now)
            new, to = _after(old, check, now, in_doubt=self._in_doubt())
            await tx.preview_domains.put(new)
            if to is DomainStatus.REMOVED:
                await tx.preview_domains.clear(new.scope, new.scope_id)
                await emit_event(tx, new, "cleared", now, reason=new.failure_reason)
            elif to is not None:
                await emit_event(tx, new, happened(old, new.status), now, reason=new.failure_reason)
            return new, check


def _after(
    old: PreviewDomain, check: Check, now: datetime, *, in_doubt: bool
) -> tuple[PreviewDomain, DomainStatus | None]:
    """The domain, and the state that it enters; what is removed has no status of its own."""
    state, to = next_state(old.check, old.state, check, now, jitter=jitter_of(old.id), in_doubt=in_doubt)
    new = replace(old, check=state, detail=noted(old.detail, check, now))
    if check.result.definitive:
        new = replace(new, dns_status=check.dns_status)
    if to is DomainStatus.VERIFIED:
        new = replace(new, status=PreviewStatus.VERIFIED, verified_at=now, failure_reason=None, updated_at=now)
    elif to is DomainStatus.FAILED:
        new = replace(new, status=PreviewStatus.FAILED, failure_reason=failure_reason(old.state), updated_at=now)
    return new, to


def _there(preview: PreviewDomain | None) -> PreviewDomain:
    if preview is None:
        raise RouterError(NOT_FOUND, "preview domain not found")
    return preview
