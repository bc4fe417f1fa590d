"""The machinery of zones' certificates on a store, with an authority and a DNS in memory, and a clock that is moved."""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from router.base.clock import ManualClock
from router.base.leases import Lease
from router.base.secret_box import SecretBox
from router.certificates.accounts import Accounts
from router.certificates.delegation import challenge_names
from router.certificates.delegations import Delegations
from router.certificates.held import HeldCertificate, Origin
from router.certificates.issuing import Issuing
from router.certificates.order import Order
from router.certificates.order_book import OrderBook
from router.certificates.renewals import Renewals
from router.domains.lookup import RecordType
from router.jobs.certificates import ZoneCertificates
from router.routes.records import Scope
from router.settings import Ca, Gate
from router.store import Store
from router.store.held_certificate_tables import acme_orders, delegations, held_certificates
from router.tenancy.events import EventFilter
from router.tenancy.tenants import Tenant
from tests.support.fake_authority import FakeAuthority, FakeRecords
from tests.support.held_certificates import DIRECTORY
from tests.support.memory_dns import MemoryLookup
from tests.support.world import World

ACME_ZONE = "acme.miosa.ai"
ZONE = "preview.acme.com"
KEY = bytes(range(32))


class Fleet:
    """One node's job, on a store that others may have, too."""

    def __init__(
        self, store: Store, clock: ManualClock, *, gate: Gate | None = None, platform: str | None = None
    ) -> None:
        self.store = store
        self.clock = clock
        self.world = World(store, clock)
        self.dns = MemoryLookup()
        self.records = FakeRecords()
        self.authority = FakeAuthority(clock, self.records)
        self.box = SecretBox([KEY])
        self.gate = gate or Gate()
        self.platform = platform
        self.doubt = False
        self.ended: list[str] = []
        self.lease: Lease | None = None
        self.start()

    def start(self) -> None:
        """A new process: nothing is remembered but what the store has."""
        ca = Ca(methods=("dns-01",))
        self.accounts = Accounts(self.store, self.clock, authority=self.authority, box=self.box)
        self.delegations = Delegations(
            self.store, self.clock, lookup=self.dns, acme_zone=ACME_ZONE, directory=DIRECTORY, ca=ca
        )
        self.issuing = Issuing(
            self.store,
            self.clock,
            authority=self.authority,
            accounts=self.accounts,
            records=self.records,
            box=self.box,
            book=OrderBook(
                self.store, self.clock, directory=self.authority.directory, gate=self.gate, on_end=self.ended.append
            ),
        )
        self.renewals = Renewals(
            self.store,
            self.clock,
            authority=self.authority,
            accounts=self.accounts,
            check=lambda domain, lease: self.delegations.check(domain, under=lease),
        )
        self.job = ZoneCertificates(
            self.store,
            self.clock,
            delegations=self.delegations,
            renewals=self.renewals,
            issuing=self.issuing,
            platform=self.platform,
            in_doubt=lambda: self.doubt,
        )

    async def zone(self, tenant: Tenant, domain: str = ZONE, *, delegated: bool = True) -> None:
        """A verified preview domain of the tenant's, whose wildcards lead here; `delegated`: its challenges too."""
        await self.world.zone(Scope.TENANT, tenant.id, domain)
        for wildcard in ("*", "*.sandbox"):
            self.dns.put(f"{wildcard}.{domain}", RecordType.CNAME, "proxy.miosa.ai")
        if delegated:
            await self.delegate(domain)

    async def delegate(self, domain: str = ZONE) -> None:
        async with self.store.read() as tx:
            delegation = await tx.delegations.get(domain)
        assert delegation is not None
        for name in challenge_names(domain):
            self.dns.put(name, RecordType.CNAME, delegation.target(ACME_ZONE))

    async def run(self) -> None:
        """One run of the job, as of now."""
        self.lease = await self.store.leases.acquire("certificates", "node", 60.0)
        assert self.lease is not None
        await self.job.run(self.lease)

    async def pass_time(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let the job run while time passes: each time that something is due, and five seconds later."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end and not until():
            await self.run()
            self.clock.advance(5)
            await self.run()
            now = self.clock.now()
            self.clock.advance(max(0.0, (min(await self._next_due(), end) - now).total_seconds()))
        await self.run()

    async def _next_due(self) -> datetime:
        """When the next thing in the store is due."""
        if await self.renewals.wanting():
            return self.clock.now() + timedelta(seconds=5)
        orders, zones, held = acme_orders.c, delegations.c, held_certificates.c
        now = self.clock.now()
        dates = (
            sa.select(sa.func.min(orders.next_at)).where(
                sa.or_(orders.closed_at.is_(None), orders.state == "failed"), orders.next_at > now
            ),
            sa.select(sa.func.min(zones.next_check_at)).where(zones.next_check_at > now),
            sa.select(sa.func.min(held.ari_at)).where(held.ari_at > now),
            sa.select(sa.func.min(held.renew_at)).where(held.renew_at > now),
        )
        async with self.store.read() as tx:
            found = [await tx._connection.scalar(date) for date in dates]
        return min((date for date in found if date is not None), default=now + timedelta(days=365))

    async def held(self, domain: str = ZONE) -> HeldCertificate | None:
        async with self.store.read() as tx:
            return await tx.held_certificates.get(domain, Origin.MANAGED)

    async def order(self, domain: str = ZONE) -> Order | None:
        """The newest one."""
        async with self.store.read() as tx:
            return (await tx.acme_orders.last([domain])).get(domain)

    async def events(self, tenant: Tenant) -> list[str]:
        """The types of those about certificates and delegations, in their order."""
        listing = await self.world.events.list(EventFilter(tenant_id=tenant.id))
        kinds = [event.type for event in listing.items]
        return [kind for kind in reversed(kinds) if kind.startswith(("certificate.", "delegation."))]
