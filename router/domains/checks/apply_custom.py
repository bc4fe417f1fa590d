"""Apply the result of a DNS check to a custom domain: its state, its schedule and an event, in one transaction."""

from dataclasses import replace
from datetime import datetime

from router.base.leases import Lease
from router.domains.checks.apply import Results, judged, next_state, noted, overtaken
from router.domains.checks.challenge import new_token
from router.domains.checks.judgement import Check
from router.domains.checks.schedule import failure_reason
from router.domains.custom import CustomDomain, emit_event, happened, live, moved
from router.routes.records import DomainStatus


class CustomResults(Results):
    """Stores requests for checks, and what checks found. Every method may raise StoreUnavailableError."""

    async def request_check(self, domain_id: str) -> CustomDomain:
        """A tenant requests a check: the schedule begins anew. Raises RouterError: NOT_FOUND, CHECKED_JUST_NOW."""
        async with self._store.begin() as tx:
            old = live(await tx.custom_domains.get(domain_id))
            state = await self._requested(tx, old.check, old.fqdn, old.tenant_id)
            new = replace(old, check=state, proof=old.proof or new_token())
            await tx.custom_domains.save(new, routed=new.proof != old.proof)
            return new

    async def apply_check(
        self, seen: CustomDomain, check: Check, *, requested: bool = False, under: Lease | None = None
    ) -> tuple[CustomDomain, Check]:
        """The domain after a check that began when it was as `seen`, and the check as it counts: what leads to us may need
        a proof. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin(under) as tx:
            old = live(await tx.custom_domains.get(seen.id))
            if overtaken(old.check, seen.check, requested=requested):
                return old, check
            if not old.status.routes:
                check = await judged(tx, check, old.tenant_id, now)
            new = self._after(old, check, now)
            await tx.custom_domains.save(new, routed=_routed(old) != _routed(new))
            if new.status is not old.status:
                await emit_event(tx, new, happened(old, new.status), now, reason=new.failure_reason)
            return new, check

    def _after(self, old: CustomDomain, check: Check, now: datetime) -> CustomDomain:
        state, to = next_state(old.check, old.status, check, now, jitter=old.jitter, in_doubt=self._in_doubt())
        detail = noted(old.detail, check, now)
        new = replace(old, check=state, proof=old.proof or new_token(), detail=detail)
        if to is DomainStatus.VERIFIED:
            return moved(new, to, now, verified_at=now, failure_reason=None)
        if to is DomainStatus.FAILED:
            return moved(new, to, now, failure_reason=failure_reason(old.status))
        return new if to is None else moved(new, to, now, removed_at=now)


def _routed(domain: CustomDomain) -> tuple[object, ...]:
    """What its routing record shows of what a check may change."""
    check = domain.check
    return domain.status, domain.proof, check.caa_forbidden, check.not_pointing, check.method
