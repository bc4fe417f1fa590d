"""What can be done with custom domains: register, find, list, redirect and remove them."""

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from router.base.clock import Clock
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions, commit_ambient
from router.domains.claims import (
    MAX_DOMAINS,
    Proofs,
    check_room,
    forget_claim,
    host_is_held,
    open_claim,
    taken,
    too_many_claims,
)
from router.domains.custom import CustomDomain, DomainFilter, emit_event, happened, live, moved
from router.domains.names import registrable
from router.domains.redirects import DEFAULT_STATUS
from router.domains.registration import Wanted, check_circle, give_up, make_custom, own_domain, parse_policy
from router.domains.transaction import Tx
from router.errors import NOT_FOUND, RouterError
from router.routes.records import DomainStatus


class CustomDomains:
    """What can be done with custom domains. Every method may raise StoreUnavailableError."""

    def __init__(
        self,
        store: Transactions[Tx],
        clock: Clock,
        *,
        proofs: Proofs,
        reserved: Collection[str],
        target: str,
        max_domains: int = MAX_DOMAINS,
    ) -> None:
        """`reserved` are the domains at and under which none may be registered; `target` is where CNAMEs must lead; `max_domains` is
        how many domains one tenant may have."""
        self._store = store
        self._clock = clock
        self._proofs = proofs
        self._reserved = tuple(reserved)
        self._target = target
        self._max_domains = max_domains

    async def register(
        self,
        resource_id: str,
        name: str,
        *,
        redirect_policy: str | None = None,
        redirect_status: int = DEFAULT_STATUS,
        external_workspace_id: str | None = None,
        external_user_id: str | None = None,
        external_project_id: str | None = None,
    ) -> CustomDomain:
        """A new domain in the state `pending`.

        Raises RouterError: NOT_FOUND (the resource), VALIDATION_FAILED (`domain`, `redirect_policy`,
        `redirect_status`), CONFLICT "has already been taken", with the record that proves a claim where another tenant is
        in the way (`claims.py`), and where the tenant has as many domains as it may have. Asked again with that record in place, the name is the asker's.
        """
        fqdn = registrable(name, self._reserved, field="domain")
        wanted = Wanted(
            resource_id=resource_id,
            redirect_policy=parse_policy(redirect_policy, redirect_status).value,
            redirect_status=redirect_status,
            external_workspace_id=external_workspace_id,
            external_user_id=external_user_id,
            external_project_id=external_project_id,
        )
        now = self._clock.now()
        async with self._store.begin() as tx:
            await tx.preview_domains.hold_names()
            holder = await tx.owners.resource(resource_id)
            if holder is None or holder.deleted_at is not None:
                raise RouterError(NOT_FOUND, "resource not found")
            current = await own_domain(tx, fqdn, holder.tenant_id)
            if current is None:
                await check_room(tx, holder.tenant_id, self._max_domains, "domain")
            if not await host_is_held(tx, fqdn, holder.tenant_id, now):
                if current is not None:
                    await give_up(tx, current, now)
                await forget_claim(tx, fqdn, holder.tenant_id)
                return await make_custom(tx, holder, fqdn, wanted, now, target=self._target)
            claim = await open_claim(tx, fqdn, holder.tenant_id, asdict(wanted), now)
        if claim is None:
            raise too_many_claims("domain")
        if claim.created_at != now:
            await commit_ambient()  # a claim is proven by DNS
        if claim.created_at == now or not await self._proofs.prove(claim):
            raise taken("domain", claim, target=self._target)
        found = await self.find(fqdn)
        if found.resource_id != resource_id:
            raise taken("domain")
        return found

    async def check(self, name: str, tenant_id: str, holder_id: str | None = None) -> bool:
        """Whether `register` has something to do for that resource, or for a new one of the tenant: it has the name
        already, or it may have it. Raises RouterError as `register`."""
        fqdn = registrable(name, self._reserved, field="domain")
        async with self._store.read() as tx:
            current = await tx.custom_domains.by_fqdn(fqdn)
            if current is not None and current.resource_id == holder_id:
                return False
            if await own_domain(tx, fqdn, tenant_id) is None:
                await check_room(tx, tenant_id, self._max_domains, "domain")
            if await host_is_held(tx, fqdn, tenant_id, self._clock.now()):
                raise taken("domain")
            return True

    async def get(self, domain_id: str) -> CustomDomain:
        """Raises RouterError: NOT_FOUND (also once it is removed)."""
        async with self._store.read() as tx:
            return live(await tx.custom_domains.get(domain_id))

    async def find(self, name: str) -> CustomDomain:
        """The live domain of that name. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        fqdn = registrable(name, (), field="domain")
        async with self._store.read() as tx:
            return live(await tx.custom_domains.by_fqdn(fqdn))

    async def list(self, where: DomainFilter, window: Window = FIRST) -> Listing[CustomDomain]:
        """The newest first; each condition of `where` narrows."""
        async with self._store.read() as tx:
            return await tx.custom_domains.list(where, window)

    async def mark_active(self, domain_id: str) -> CustomDomain:
        """A certificate was issued and is in use; saying it again changes nothing. Raises RouterError: NOT_FOUND, CONFLICT."""
        now = self._clock.now()
        async with self._store.read() as tx:
            domain = live(await tx.custom_domains.get(domain_id))
        if domain.status is DomainStatus.ACTIVE:
            return domain
        return await self._move(domain_id, DomainStatus.ACTIVE, tls_issued_at=domain.tls_issued_at or now)

    async def redirect(
        self, domain_id: str, redirect_policy: str | None, redirect_status: int = DEFAULT_STATUS
    ) -> CustomDomain:
        """Set its redirect policy. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        policy = parse_policy(redirect_policy, redirect_status)
        async with self._store.begin() as tx:
            old = live(await tx.custom_domains.get(domain_id))
            new = replace(old, redirect_policy=policy, redirect_status=redirect_status, updated_at=self._clock.now())
            await check_circle(tx, new)
            await tx.custom_domains.save(new)
            return new

    async def remove(self, domain_id: str) -> CustomDomain:
        """Detach it: the name stops routing and may be registered anew. Raises RouterError: NOT_FOUND."""
        return await self._move(domain_id, DomainStatus.REMOVED, removed_at=self._clock.now())

    async def _move(self, domain_id: str, to: DomainStatus, **changes: Any) -> CustomDomain:
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = live(await tx.custom_domains.get(domain_id))
            new = moved(old, to, now, **changes)
            await tx.custom_domains.save(new)
            await emit_event(tx, new, happened(old, to), now, reason=new.failure_reason)
            return new
