"""The stored audit log: memory twin, SQLite and PostgreSQL; and the entry in the transaction of its change."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from router.audit.act import Act, acting
from router.audit.entry import Actor, ActorType, AuditTx, Entry, EntryFilter, Outcome, Via
from router.base.clock import ManualClock
from router.base.ids import new_id
from router.base.paging import Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, RouterError, StoreUnavailableError
from router.store import Store
from router.tenancy.workspaces import Workspace, Workspaces
from tests.support.database import Databases, execute
from tests.support.memory_audit import MemoryAudit
from tests.support.world import World

pytestmark = pytest.mark.asyncio

KEY = Actor(type=ActorType.API_KEY, id="k1", name="ci", scope="tenant")
ALL = Window(limit=1000)


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def log(
    request: pytest.FixtureRequest, databases: Databases, clock: ManualClock
) -> AsyncIterator[Transactions[AuditTx]]:
    if request.param == "memory":
        yield MemoryAudit()
        return
    async with databases.new(request.param) as url:
        opened = await Store.open(url, clock=clock)
        yield opened
        await opened.close()


def entry(clock: ManualClock, tenant: str | None = "t1", **fields: object) -> Entry:
    act = Act(actor=KEY, via=Via.API, action="sandbox.update", resource_id="s1", tenant_id=tenant, status=200)
    return replace(act.entry(clock.now()), **fields)  # type: ignore[arg-type]  # fields of an entry


async def listed(log: Transactions[AuditTx], where: EntryFilter, window: Window = ALL) -> list[str]:
    async with log.read() as tx:
        found = await tx.audit.list(where, window)
        assert window is not ALL or where.after is not None or await tx.audit.count(where) == len(found)
        return [one.id for one in found]


async def test_an_entry_comes_back_as_it_was(log: Transactions[AuditTx], clock: ManualClock) -> None:
    """With everything that it has; put again by its id it says what it says then."""
    one = entry(
        clock,
        workspace_id=new_id(),
        project_id=new_id(),
        code="conflict",
        address="2001:db8::/64",
        request_id="r" * 128,
        user_agent="ü" * 200,
        changes={"name": {"old": "ä", "new": None}, "metadata": None},
        resource_name="x" * 255,
        count=7,
    )
    async with log.begin() as tx:
        await tx.audit.put([one])
    async with log.read() as tx:
        assert await tx.audit.get(one.id) == one
        assert await tx.audit.get(new_id()) is None
    changed = replace(one, status=409, outcome=Outcome.REFUSED)
    async with log.begin() as tx:
        await tx.audit.put([changed])
    async with log.read() as tx:
        assert await tx.audit.get(one.id) == changed


async def test_conditions(log: Transactions[AuditTx], clock: ManualClock) -> None:
    """Each narrows; the newest come first."""
    ids = {}
    for name, fields in {
        "key of the platform": {"actor_scope": "platform", "tenant_id": None},
        "plain": {},
        "of others": {"tenant_id": "t2"},
        "domain": {"action": "custom_domain.create", "resource_type": "custom_domain", "resource_id": "d1"},
        "refused": {"outcome": Outcome.REFUSED, "status": 403},
        "operator": {"actor_type": ActorType.OPERATOR, "actor_id": "1000", "tenant_id": None},
        "there": {"workspace_id": "w1", "project_id": "p1", "request_id": "r1"},
    }.items():
        clock.advance(1)
        one = entry(clock, **fields)
        ids[one.id] = name
        async with log.begin() as tx:
            await tx.audit.put([one])
    start = clock.now() - timedelta(seconds=5)

    async def found(**where: object) -> list[str]:
        return [ids[one] for one in await listed(log, EntryFilter(**where))]  # type: ignore[arg-type]  # conditions

    assert await found() == list(reversed(ids.values()))
    assert await found(tenant_id="t1") == ["there", "refused", "domain", "plain"]
    assert await found(action="custom_domain.create") == await found(action="custom_domain.*") == ["domain"]
    assert await found(action="custom.*") == []
    assert await found(resource_type="custom_domain", resource_id="d1") == ["domain"]
    assert await found(outcome=Outcome.REFUSED) == ["refused"]
    assert await found(not_by_platform=True) == ["there", "refused", "domain", "of others", "plain"]
    assert await found(actor_type=ActorType.OPERATOR) == await found(actor_id="1000") == ["operator"]
    assert await found(workspace_id="w1") == await found(project_id="p1") == await found(request_id="r1") == ["there"]
    assert await found(since=start + timedelta(seconds=1), until=start + timedelta(seconds=3)) == [
        "domain",
        "of others",
    ]


async def test_pages_by_a_position(log: Transactions[AuditTx], clock: ManualClock) -> None:
    """Several entries of one instant, and every one comes once."""
    async with log.begin() as tx:
        for number in range(7):
            clock.advance(number % 2)
            await tx.audit.put([entry(clock)])
    seen: list[str] = []
    where = EntryFilter()
    while page := await listed(log, where, Window(limit=2)):
        seen += page
        async with log.read() as tx:
            last = await tx.audit.get(page[-1])
        assert last is not None
        where = replace(where, after=(last.created_at, last.id))
    assert seen == await listed(log, EntryFilter())
    assert len(set(seen)) == 7


async def test_the_bound_of_a_tenant(log: Transactions[AuditTx], clock: ManualClock) -> None:
    """Of a tenant with too many the refused go first, then the oldest; others lose nothing."""
    old = entry(clock)
    clock.advance(100)
    refused = entry(clock, outcome=Outcome.REFUSED)
    earlier = entry(clock)
    clock.advance(1)
    later, foreign, ours = entry(clock), entry(clock, "t2"), entry(clock, None)
    async with log.begin() as tx:
        await tx.audit.put([old, earlier, refused, later, foreign, ours])
        assert await tx.audit.over(2) == {"t1": 2}
        assert await tx.audit.over(4) == {}
        assert await tx.audit.trim("t1", 3) == 3
        assert await tx.audit.trim(None, 0) == 0
    assert set(await listed(log, EntryFilter())) == {later.id, foreign.id, ours.id}


# What follows is about real transactions.


async def entries_of(store: Store, tenant_id: str | None = None) -> list[Entry]:
    async with store.read() as tx:
        return list(await tx.audit.list(EntryFilter(tenant_id=tenant_id), ALL))


def renaming(tenant_id: str, workspace_id: str) -> Act:
    return Act(
        actor=KEY, via=Via.API, action="workspace.update", resource_id=workspace_id, tenant_id=tenant_id, status=200
    )


async def rename_and_fail(store: Store, workspace: Workspace) -> None:
    async with store.begin() as tx:
        await tx.workspaces.save(replace(workspace, name="Nobody's"))
        raise RouterError(CONFLICT)


async def test_the_entry_is_in_the_transaction_of_the_change(store: Store, clock: ManualClock, world: World) -> None:
    """With what was before and after; a transaction that fails leaves neither, and without an act there is no entry."""
    tenant = await world.tenants.create("Acme")
    workspaces = Workspaces(store, clock)
    workspace, _ = await workspaces.create(tenant.id, name="Clinic")
    assert await entries_of(store) == []
    act = renaming(tenant.id, workspace.id)
    with acting(act):
        await workspaces.update(workspace.id, name="Practice", metadata={"card": "4111"})
    (one,) = await entries_of(store)
    assert one == act.stored
    assert (one.id, one.resource_name, one.workspace_id) == (act.id, "Practice", workspace.id)
    assert one.changes == {"name": {"old": "Clinic", "new": "Practice"}, "metadata": None}
    failing = renaming(tenant.id, workspace.id)
    with acting(failing), pytest.raises(RouterError):
        await rename_and_fail(store, workspace)
    assert failing.stored is None
    assert len(await entries_of(store)) == 1


async def test_a_store_that_refuses_the_entry_refuses_the_change(
    store: Store, database: str, clock: ManualClock, world: World
) -> None:
    """No act is without its entry."""
    tenant = await world.tenants.create("Acme")
    workspaces = Workspaces(store, clock)
    workspace, _ = await workspaces.create(tenant.id, name="Clinic")
    await execute(database, "DROP TABLE audit_entries")
    with acting(renaming(tenant.id, workspace.id)), pytest.raises(StoreUnavailableError):
        await workspaces.update(workspace.id, name="Practice")
    assert (await workspaces.get(workspace.id)).name == "Clinic"


async def test_later_transactions_of_an_act_add_to_its_entry(store: Store, clock: ManualClock, world: World) -> None:
    """One entry with all changes; what an act has left running adds nothing."""
    tenant = await world.tenants.create("Acme")
    workspaces = Workspaces(store, clock)
    workspace, _ = await workspaces.create(tenant.id, name="Clinic")
    with acting(renaming(tenant.id, workspace.id)):
        await workspaces.update(workspace.id, name="Practice")
        await workspaces.update(workspace.id, slug="practice")
    (one,) = await entries_of(store)
    assert set(one.changes) == {"name", "slug"}


async def test_what_the_router_does_by_itself(store: Store, clock: ManualClock, world: World) -> None:
    """An event outside of any act is an entry of the system's, and one about another tenant than the act's too."""
    tenant, other = await world.tenants.create("Acme"), await world.tenants.create("Globex")
    facts = {"domain_id": new_id(), "fqdn": "shop.example.com", "reason": "cname_missing"}
    async with store.begin() as tx:
        await tx.events.emit("domain.failed", clock.now(), tenant_id=tenant.id, data=facts)
        await tx.events.emit("sandbox.state_changed", clock.now(), tenant_id=tenant.id, data={})
    (one,) = await entries_of(store)
    assert (one.actor_type, one.via, one.action) == (ActorType.SYSTEM, Via.JOB, "custom_domain.failed")
    assert (one.tenant_id, one.resource_id, one.resource_name) == (tenant.id, facts["domain_id"], "shop.example.com")
    assert one.changes == {"reason": {"new": "cname_missing"}}
    clock.advance(1)
    act = Act(actor=KEY, via=Via.API, action="custom_domain.verify", tenant_id=tenant.id, status=200)
    with acting(act):
        async with store.begin() as tx:
            for owner in (tenant, other):
                await tx.events.emit("domain.transferred", clock.now(), tenant_id=owner.id, data=facts)
    (taken,) = await entries_of(store, other.id)
    assert (taken.actor_type, taken.action) == (ActorType.SYSTEM, "custom_domain.transferred")
    assert [found.action for found in await entries_of(store, tenant.id)] == [
        "custom_domain.verify",
        "custom_domain.failed",
    ]
