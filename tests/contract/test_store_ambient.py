"""An ambient transaction: an Idempotency-Key, a change and its response are stored at once, or not at all."""

import asyncio
import contextvars
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from router.base.clock import ManualClock
from router.base.idempotency import Claimed, Replay, Running
from router.base.transactions import commit_ambient
from router.errors import CONFLICT, IDEMPOTENCY_IN_PROGRESS, RouterError, StoreUnavailableError
from router.store import Store
from router.tenancy.tenants import Tenant
from tests.support.world import World

pytestmark = pytest.mark.asyncio

OWNER, KEY = "key:1", "5f6c"


async def claim(store: Store, clock: ManualClock) -> Claimed:
    found = await store.idempotency.claim(OWNER, KEY, "f", clock.now())
    assert isinstance(found, Claimed)
    return found


async def call_it(store: Store, tenant: Tenant, name: str) -> None:
    async with store.begin() as tx:
        await tx.tenants.save(replace(tenant, name=name))


async def name_of(store: Store, tenant: Tenant) -> str:
    async with store.read() as tx:
        found = await tx.tenants.get(tenant.id)
    assert found is not None
    return found.name


async def test_key_change_and_response_are_committed_together(world: World, store: Store, clock: ManualClock) -> None:
    """Before the block ends nobody is told of the change, though its own reads see it; afterwards all of it is there."""
    tenant = await world.tenant()
    resource = await world.sandbox(tenant, "shop")
    told: list[str] = []
    store.after_commit(told.extend)
    async with store.ambient():
        claimed = await claim(store, clock)
        async with store.begin() as tx:
            await tx.resources.save(resource, replace(resource, name="Shop"))
        assert (await world.resources.get(resource.id)).name == "Shop"
        await store.idempotency.finish(claimed, 201, b"{}", clock.now())
        assert told == []
    assert "slug:shop" in told
    assert (await world.resources.get(resource.id)).name == "Shop"
    assert await store.idempotency.claim(OWNER, KEY, "f", clock.now()) == Replay(201, b"{}")


async def test_nothing_is_left_of_a_call_that_ended_between_change_and_response(
    world: World, store: Store, clock: ManualClock
) -> None:
    """As where the process dies: no change that a repeated request would make a second time, and no claimed key."""
    tenant = await world.tenant("Before")

    async def die() -> None:
        async with store.ambient():
            await claim(store, clock)
            await call_it(store, tenant, "After")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await die()
    assert await name_of(store, tenant) == "Before"
    assert isinstance(await store.idempotency.claim(OWNER, KEY, "f", clock.now()), Claimed)


async def test_a_change_that_raises_is_undone_and_the_key_stays(world: World, store: Store, clock: ManualClock) -> None:
    """The refusal is stored as the response, and nothing of the change."""
    tenant = await world.tenant("Before")

    async def refuse() -> None:
        async with store.begin() as tx:
            await tx.tenants.save(replace(tenant, name="After"))
            raise RouterError(CONFLICT, "no room")

    async with store.ambient():
        claimed = await claim(store, clock)
        with pytest.raises(RouterError):
            await refuse()
        await store.idempotency.finish(claimed, 409, b"no", clock.now())
    assert await name_of(store, tenant) == "Before"
    assert await store.idempotency.claim(OWNER, KEY, "f", clock.now()) == Replay(409, b"no")


async def test_a_second_change_leaves_the_first_alone(world: World, store: Store) -> None:
    """Each `begin()` stands or falls by itself, as without."""
    tenant = await world.tenant("Before")

    async def fail() -> None:
        async with store.ambient():
            await call_it(store, tenant, "First")
            async with store.begin() as tx:
                await tx.tenants.save(replace(tenant, name="Second"))
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await name_of(store, tenant) == "First"


async def test_who_waits_for_something_else_commits_first(world: World, store: Store, clock: ManualClock) -> None:
    """Then others see the key as running and the change as made, and may change the same."""
    tenant = await world.tenant("Before")

    async def others() -> tuple[object, str]:
        found = await store.idempotency.claim(OWNER, KEY, "f", clock.now())
        name = await name_of(store, tenant)
        await call_it(store, tenant, "Theirs")
        return found, name

    outside = asyncio.get_running_loop().create_task
    async with store.ambient():
        claimed = await claim(store, clock)
        await call_it(store, tenant, "Ours")
        await commit_ambient()
        # A context of its own: another request.
        assert await outside(others(), context=_empty()) == (Running(), "Ours")
        assert await name_of(store, tenant) == "Theirs"
        await store.idempotency.finish(claimed, 200, b"{}", clock.now())
    assert await store.idempotency.claim(OWNER, KEY, "f", clock.now()) == Replay(200, b"{}")


async def test_a_key_that_was_lost_with_an_undone_transaction(world: World, store: Store, clock: ManualClock) -> None:
    """Where another request has taken it meanwhile, that one is under way: 409, and nothing is changed a second time."""
    tenant = await world.tenant("Before")

    async def fail() -> None:
        async with store.begin() as tx:
            await tx.tenants.save(replace(tenant, name="Undone"))
            raise ZeroDivisionError

    async def another() -> object:
        return await store.idempotency.claim(OWNER, KEY, "f", clock.now())

    async def run() -> None:
        async with store.ambient():
            await claim(store, clock)
            with pytest.raises(ZeroDivisionError):
                await fail()
            assert isinstance(await asyncio.get_running_loop().create_task(another(), context=_empty()), Claimed)
            await call_it(store, tenant, "After")

    with pytest.raises(RouterError) as refused:
        await run()
    assert refused.value.problem is IDEMPOTENCY_IN_PROGRESS
    assert await name_of(store, tenant) == "Before"


async def test_a_change_that_is_lost_later_is_not_answered(world: World, store: Store, clock: ManualClock) -> None:
    """Where what is read for the response fails, the change goes, too, and whoever passes over that can't store a response."""
    tenant = await world.tenant("Before")

    async def read() -> None:
        async with store.read():
            raise StoreUnavailableError("away")

    async def run() -> None:
        async with store.ambient():
            claimed = await claim(store, clock)
            await call_it(store, tenant, "After")
            with suppress(StoreUnavailableError):
                await read()
            await store.idempotency.finish(claimed, 200, b"{}", clock.now())

    async def end() -> None:
        async with store.ambient():
            await call_it(store, tenant, "After")
            with suppress(StoreUnavailableError):
                await read()

    for ending in (run, end):
        with pytest.raises(StoreUnavailableError):
            await ending()
        assert await name_of(store, tenant) == "Before"


async def test_of_two_at_once_one_executes(world: World, store: Store, clock: ManualClock) -> None:
    """The second waits for the first, and is sent its response."""
    tenant = await world.tenant("Before")
    executed: list[int] = []

    async def request(number: int) -> object:
        async with store.ambient():
            found = await store.idempotency.claim(OWNER, KEY, "f", clock.now())
            if isinstance(found, Claimed):
                executed.append(number)
                await call_it(store, tenant, f"By {number}")
                await store.idempotency.finish(found, 200, b"%d" % number, clock.now())
            return found

    found = await asyncio.gather(*(request(number) for number in range(2)))
    (first,) = executed
    assert await name_of(store, tenant) == f"By {first}"
    assert found[1 - first] == Replay(200, b"%d" % first)


async def test_what_only_reads_sees_one_instant(world: World, store: Store) -> None:
    """Several reads are one transaction, which a change of its own ends."""
    tenant = await world.tenant("Before")
    seen: Sequence[str]
    async with store.ambient(reading=True):
        before = await name_of(store, tenant)
        await asyncio.get_running_loop().create_task(call_it(store, tenant, "Theirs"), context=_empty())
        same = await name_of(store, tenant)
        await call_it(store, tenant, "Ours")
        seen = (before, same, await name_of(store, tenant))
    assert seen == ("Before", "Before", "Ours")


def _empty() -> contextvars.Context:
    return contextvars.Context()
