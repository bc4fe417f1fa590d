"""A tenant that is deleted is gone from every table, on both databases; strangers stay protected; an interruption does no harm."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from router.base.clock import ManualClock
from router.base.leases import Lease
from router.base.paging import FIRST
from router.domains.certificates import Seen
from router.errors import RouterError, StoreUnavailableError
from router.routes.records import NameRecord, ResourceRecord, Scope, State, name_key, slug_key
from router.store import Store, schema
from router.store.certificate_tables import certificate_attempts, certificates
from router.store.retention import RETENTION
from router.store.schema import metadata
from router.store.tenant_rows import NOT_THEIRS, ORDER, OWNED, STAYS, traces
from router.store.whole import read_whole
from router.tenancy.blocks import BlockKind
from router.tenancy.tenant_deletion import TenantDeletion
from router.tenancy.tenants import Tenant
from tests.support.database import rows
from tests.support.request_records import MemoryKept
from tests.support.world import World

pytestmark = pytest.mark.asyncio


@pytest.fixture
def deletion(store: Store, clock: ManualClock) -> TenantDeletion:
    return TenantDeletion(store, clock, order=ORDER)


async def inhabited(world: World, store: Store, name: str) -> Tenant:
    """A tenant with rows in many tables."""
    slug = name.lower()
    tenant = await world.tenant(name)
    workspace = await world.workspace(tenant, "Clinic")
    await world.project(workspace, "Site")
    for number in range(3):
        sandbox = await world.sandbox(tenant, f"{slug}{number}")
        await world.ports.put(sandbox.id, 3000)
        await world.resources.record_activity({sandbox.id: datetime.now(UTC)})
    await world.resources.delete((await world.sandbox(tenant, f"{slug}gone")).id)
    await world.domain(sandbox, f"www.{slug}.example")
    await world.domains.remove((await world.domain(sandbox, f"old.{slug}.example")).id)
    await world.zone(Scope.TENANT, tenant.id, f"{slug}.dev")
    await world.zone(Scope.WORKSPACE, workspace.id, f"clinic-{slug}.dev")
    key, _ = await world.keys.create(tenant.id)
    await world.block(BlockKind.RESOURCE, sandbox.id)
    await store.idempotency.claim(key.id, "k", "f", world._clock.now())
    claimed = await store.idempotency.claim("internal", f"k-{slug}", "f", world._clock.now())
    await store.idempotency.finish(claimed, 200, f'{{"tenant_id": "{tenant.id}"}}'.encode(), world._clock.now())  # type: ignore[arg-type]
    await store.certificate_log.save_visits([Seen(f"www.{slug}.example", datetime.now(UTC))])
    async with store.begin() as tx:
        values = {"host": f"www.{slug}.example", "domain": f"{slug}.example", "opened_at": 1.0, "outcome": "issued"}
        await tx._connection.execute(
            sa.insert(certificate_attempts).values(**values, id=tenant.id[:-1] + "x", tenant_id=tenant.id)
        )
        await tx._connection.execute(sa.update(certificates).values(tenant_id=tenant.id))
    return tenant


class StoppedError(Exception):
    """As when a process ends."""


async def found(database: str, text: str) -> dict[str, int]:
    async with read_whole(database) as store:
        return dict(await store.run(lambda: traces(store.connection, text)))


async def test_the_schema_has_every_table() -> None:
    """Whatever else has been imported: a table that it misses would keep its rows when their tenant is deleted."""
    files = Path(schema.__file__).parent.glob("*tables.py")
    assert {file.stem for file in files} <= vars(schema).keys()


async def test_every_table_is_somebodys() -> None:
    """Each table is found to have a tenant's rows, or says why it has none."""
    assert set(metadata.tables) == set(OWNED) | set(NOT_THEIRS)
    assert set(OWNED) & set(NOT_THEIRS) == set()
    assert set(STAYS) <= set(OWNED) <= set(RETENTION)
    assert set(ORDER) | set(STAYS) == set(OWNED)


async def test_nothing_is_left(
    world: World, store: Store, database: str, deletion: TenantDeletion, clock: ManualClock
) -> None:
    """Of the tenant's id but the entry that it was deleted; another tenant has all that it had."""
    acme, globex = await inhabited(world, store, "Acme"), await inhabited(world, store, "Globex")
    async with store.read() as tx:
        others = await tx.tenant_rows.counts(globex.id)
    before = await deletion.begin(acme.id)
    assert {name for name, number in before.items() if number} >= {
        "resources",
        "previews",
        "events",
        "zones",
        "endpoints",
    }
    record = (await store.records.fetch([slug_key("acme0")]))[slug_key("acme0")]
    assert isinstance(record, ResourceRecord)
    assert record.suspended  # at once
    await deletion.finish(acme.id)
    async with store.read() as tx:
        assert sum((await tx.tenant_rows.counts(acme.id)).values()) == 0
        assert await tx.tenant_rows.counts(globex.id) == others
        assert [one.id for one in (await tx.tenants.list(FIRST)).items] == [globex.id]
    await store.sum_up_holdings()  # as a job does each minute
    assert await found(database, acme.id) == {"audit_entries.resource_id": 1}
    assert await rows(database, "SELECT action, actor_type FROM audit_entries WHERE action = 'tenant.delete'") == [
        ("tenant.delete", "system")
    ]
    with pytest.raises(RouterError):
        await deletion.begin(acme.id)


async def test_strangers_stay_protected(
    world: World, store: Store, database: str, deletion: TenantDeletion, clock: ManualClock
) -> None:
    """Its slugs answer as deleted and are nobody's to take, its zones count as let go of, its hosts as removed, and what was
    spent at the authority as spent."""
    acme, globex = await inhabited(world, store, "Acme"), await world.tenant("Globex")
    await deletion.begin(acme.id)
    await deletion.finish(acme.id)
    with pytest.raises(RouterError):
        await world.sandbox(globex, "acme0")
    keys = [slug_key("acme0"), name_key("www.acme.example")]
    records = await store.records.fetch(keys)
    slug = records[keys[0]]
    assert isinstance(slug, ResourceRecord)
    assert slug.state is State.DESTROYED
    host = records[keys[1]]
    assert isinstance(host, NameRecord)
    assert host.suspended  # it led to what an operator had blocked
    assert host.tenant_id == ""
    since = clock.now() - timedelta(days=1)
    async with store.read() as tx:
        assert await tx.preview_domains.released(["acme.dev"], globex.id, since) is not None
    assert await rows(database, "SELECT status FROM certificates WHERE host = 'www.acme.example'") == [("removed",)]
    assert await rows(database, "SELECT count(*) FROM certificate_attempts WHERE tenant_id IS NULL") == [(1,)]


async def test_an_interruption_does_no_harm(world: World, store: Store, database: str, clock: ManualClock) -> None:
    """Who takes the deletion up, the job or the command, finishes it; nothing comes back meanwhile."""
    acme = await inhabited(world, store, "Acme")
    for _ in range(4):
        left = 2  # what is reported first is whether resources were in service

        def stop(_what: str, _gone: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise StoppedError

        interrupted = TenantDeletion(store, clock, order=ORDER)
        await interrupted.begin(acme.id)
        with pytest.raises(StoppedError):
            await interrupted.finish(acme.id, progress=stop)
    job = TenantDeletion(store, clock, order=ORDER)
    with pytest.raises(StoreUnavailableError, match="lease"):
        await job.run(Lease("delete_tenants", "nobody", 1))
    lease = await store.leases.acquire("delete_tenants", "node/1", 60.0)
    assert lease is not None
    await job.run(lease)
    await store.sum_up_holdings()  # as a job does each minute
    assert await found(database, acme.id) == {"audit_entries.resource_id": 1}
    await job.run(lease)


async def test_request_records_go_too(store: Store, world: World, clock: ManualClock) -> None:
    """Those of the tenant."""
    kept = MemoryKept()
    acme = await world.tenant("Acme")
    deletion = TenantDeletion(store, clock, order=ORDER, records=kept)
    await deletion.begin(acme.id)
    await deletion.finish(acme.id)
    assert kept.forgotten == [UUID(acme.id).bytes]
