"""What operators do at a node's sockets, in the audit log of whose traffic it is."""

import os

import pytest

from router.audit.entry import ActorType, EntryFilter, Via
from router.audit.log import AuditLog
from router.base.clock import ManualClock
from router.base.paging import Window
from router.node.operator_acts import OperatorActs
from router.operator.server import Peer
from router.routes.records import Kind
from router.store import Store
from tests.support.world import World

pytestmark = pytest.mark.asyncio

ME = Peer(uid=os.getuid(), gid=os.getgid(), pid=os.getpid())
NOBODY = Peer(uid=2_000_000_001, gid=1, pid=1)


async def test_an_act_is_its_tenants_entry(store: Store, clock: ManualClock, world: World) -> None:
    """By a host of theirs, the id or slug of a resource or their own; what is nobody's is the platform's alone."""
    tenant = await world.tenant("Acme")
    shop = await world.resources.create(Kind.DEPLOYMENT, tenant.id, slug="shop")
    custom = await world.domains.register(shop.id, "shop.example.com")
    acts = OperatorActs(AuditLog(store, clock, max_entries=100), store, "miosa.app")
    subjects = (
        tenant.id,
        tenant.slug,
        shop.id,
        shop.slug,
        custom.fqdn,
        "shop.miosa.app",
        "3000-shop.sandbox.miosa.app",
    )
    for subject in subjects:
        clock.advance(1)
        await acts(ME, "tap", subject, {"max_rps": 100})
    await acts(NOBODY, "log_level", "shop.api", {"level": "debug"})
    await acts(NOBODY, "cut", "shop.example.org", {})
    async with store.read() as tx:
        found = await tx.audit.list(EntryFilter(tenant_id=tenant.id), Window(limit=100))
        everything = await tx.audit.list(EntryFilter(), Window(limit=100))
    assert [one.resource_name for one in reversed(found)] == list(subjects)
    assert {(one.action, one.via, one.actor_type, one.actor_id) for one in found} == {
        ("traffic.tap", Via.SOCKET, ActorType.OPERATOR, str(os.getuid()))
    }
    assert {one.project_id for one in found} == {shop.project_id, None}
    others = sorted((one.action, one.actor_name, one.tenant_id) for one in everything if one not in found)
    assert others == [
        ("log_level.set", "user 2000000001", None),
        ("session.cut", "user 2000000001", None),
    ]


async def test_a_store_that_is_away_keeps_nobody_from_acting(store: Store, clock: ManualClock) -> None:
    """The entry waits until the store is there again."""
    log = AuditLog(store, clock, max_entries=100)
    store.keep_closed("away")
    await OperatorActs(log, store, "miosa.app")(ME, "cut", "shop.example.com", {})
    await store.check()
    await log.flush()
    async with store.read() as tx:
        (one,) = await tx.audit.list(EntryFilter(), Window())
    assert (one.action, one.resource_name) == ("session.cut", "shop.example.com")
