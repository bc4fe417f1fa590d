"""What SQL says of the keys that open previews: their records, and that every change of one is a change of its record."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.routes.records import KeyRecord, api_key_key
from router.store import Store
from router.tenancy.keys import Key
from tests.support.world import World

pytestmark = pytest.mark.asyncio


async def _record(store: Store, key: Key) -> KeyRecord | None:
    name = api_key_key(key.digest)
    version, record = (await store.records.fetch_versioned([name]))[name]
    assert record is None or (isinstance(record, KeyRecord) and record.version == version > 0)
    return record


async def test_a_key_has_a_record_under_its_hash(world: World, store: Store, clock: ManualClock) -> None:
    """It says whose the key is, how far it reaches and until when; beside other records, and only under that hash."""
    tenant = await world.tenant()
    await world.sandbox(tenant, "shop")
    until = clock.now() + timedelta(days=1, microseconds=1500)
    workspace = await world.workspaces.default(tenant.id)
    wide, _ = await world.keys.create(tenant.id, expires_at=until)
    narrow, _ = await world.keys.create(tenant.id, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    names = [api_key_key(wide.digest), "slug:shop", api_key_key(narrow.digest), api_key_key("0" * 64)]
    found = await store.records.fetch(names)
    first, shop, second, nothing = (found[name] for name in names)
    assert isinstance(first, KeyRecord)
    assert isinstance(second, KeyRecord)
    assert (first.id, first.tenant_id, first.scope, first.scope_id) == (wide.id, tenant.id, "tenant", tenant.id)
    assert (first.until, first.revoked) == (until.timestamp(), False)
    assert (second.scope, second.scope_id, second.until) == ("workspace", workspace.id, None)
    assert shop is not None
    assert nothing is None


async def _revoke(world: World, key: Key) -> None:
    await world.keys.revoke(key.id)


async def _remove_its_workspace(world: World, key: Key) -> None:
    await world.workspaces.delete(key.scope_id)


@pytest.mark.parametrize("end", [_revoke, _remove_its_workspace], ids=["revoked", "scope removed"])
async def test_the_end_of_a_key_is_a_change_of_its_record(
    world: World, store: Store, end: Callable[[World, Key], Awaitable[None]]
) -> None:
    """Whatever ends a key, its record says so and every cache is told."""
    tenant = await world.tenant()
    workspace, _ = await world.workspaces.create(tenant.id, name="clinic")
    key, _ = await world.keys.create(tenant.id, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    before, heard = await _record(store, key), list[str]()
    assert before is not None
    assert not before.revoked
    store.after_commit(heard.extend)
    await end(world, key)
    after = await _record(store, key)
    assert after is not None
    assert after.revoked
    assert after.version > before.version
    assert api_key_key(key.digest) in heard


async def test_a_rotated_key_has_its_record_under_the_new_hash_alone(world: World, store: Store) -> None:
    """The old plain text is unknown from then on, and both records have changed."""
    tenant = await world.tenant()
    old, _ = await world.keys.create(tenant.id)
    heard = list[str]()
    store.after_commit(heard.extend)
    new, _ = await world.keys.rotate(old.id)
    assert heard == sorted({api_key_key(old.digest), api_key_key(new.digest)})
    name = api_key_key(old.digest)
    version, record = (await store.records.fetch_versioned([name]))[name]
    assert record is None
    assert version > 0
    assert await _record(store, new) is not None


async def test_a_key_that_is_used_is_no_change(world: World, store: Store) -> None:
    """Requests with a key must not make every cache look it up again."""
    tenant = await world.tenant()
    _, plain = await world.keys.create(tenant.id)
    heard = list[str]()
    store.after_commit(heard.extend)
    assert await world.keys.authenticate(plain) is not None
    assert heard == []


async def test_the_use_of_a_key_on_a_preview_is_stored(world: World, store: Store, clock: ManualClock) -> None:
    """By its hash, if it is later than what is stored; that is no change of its record, and unknown keys are ignored."""
    tenant = await world.tenant()
    key, _ = await world.keys.create(tenant.id)
    heard, at = list[str](), clock.now()
    store.after_commit(heard.extend)
    for seen in (at, at + timedelta(minutes=2), at + timedelta(minutes=1)):
        await world.keys.note_uses({key.digest: seen, "0" * 64: seen})
    assert (await world.keys.get(key.id)).last_used_at == at + timedelta(minutes=2)
    await world.keys.note_uses({})
    assert heard == []
