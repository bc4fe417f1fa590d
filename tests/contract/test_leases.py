"""What every Leases does: the in-memory ones and SQL. The store's clock can't be moved, so these wait for real."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.clock import ManualClock, SystemClock
from router.base.leases import Lease, Leases, MemoryLeases
from router.errors import StoreUnavailableError
from router.store import Store
from tests.support.database import Databases, execute
from tests.support.waiting import PAUSE
from tests.support.world import World

pytestmark = pytest.mark.asyncio

LONG = 60.0
SHORT = 0.2


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def leases(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[Leases]:
    if request.param == "memory":
        yield MemoryLeases(SystemClock())
        return
    async with databases.new(request.param) as database:
        store = await Store.open(database, clock=ManualClock())
        yield store.leases
        await store.close()


async def taken(leases: Leases, name: str, holder: str, seconds: float = LONG) -> Lease:
    lease = await leases.acquire(name, holder, seconds)
    assert lease is not None
    return lease


async def free(leases: Leases, name: str) -> None:
    """Wait until no process holds it."""
    async with asyncio.timeout(10):
        while not await leases.free([name]):
            await asyncio.sleep(PAUSE)


async def test_one_holder_at_a_time(leases: Leases) -> None:
    """While one holds a name no other gets it, and other names are no matter."""
    lease = await taken(leases, "prune", "a")
    assert (lease.name, lease.holder) == ("prune", "a")
    assert await leases.acquire("prune", "b", LONG) is None
    await taken(leases, "trim", "b")


async def test_of_many_at_once_one_gets_it(leases: Leases) -> None:
    """Ten that ask at the same time: one has it."""
    asked = await asyncio.gather(*(leases.acquire("prune", str(number), LONG) for number in range(10)))
    assert sum(lease is not None for lease in asked) == 1


async def test_the_holder_holds_on(leases: Leases) -> None:
    """The holder may renew it before it expires; the token stays."""
    lease = await taken(leases, "prune", "a", SHORT)
    assert await leases.acquire("prune", "a", LONG) == lease
    assert await leases.acquire("prune", "b", LONG) is None


async def test_who_says_nothing_loses_it(leases: Leases) -> None:
    """After its time another gets it, with a higher token; the first one's release takes nothing away."""
    lost = await taken(leases, "prune", "a", SHORT)
    await free(leases, "prune")
    lease = await taken(leases, "prune", "b")
    assert lease.token > lost.token
    await leases.release(lost)
    assert await leases.acquire("prune", "a", LONG) is None


async def test_a_lapse_is_a_new_holding(leases: Leases) -> None:
    """A holder that renews too late has a new token, even if no other process held it meanwhile."""
    lost = await taken(leases, "prune", "a", SHORT)
    await free(leases, "prune")
    assert (await taken(leases, "prune", "a")).token > lost.token


async def test_released_is_free_at_once(leases: Leases) -> None:
    """After a clean end no other process has to wait."""
    lease = await taken(leases, "prune", "a")
    await leases.release(lease)
    assert (await taken(leases, "prune", "b")).token > lease.token


async def test_which_are_free(leases: Leases) -> None:
    """Names that were never held are free, those that a process holds are not."""
    await taken(leases, "prune", "a")
    assert set(await leases.free(["prune", "trim"])) == {"trim"}


async def test_a_transaction_under_a_lease(store: Store, world: World) -> None:
    """It goes on while the lease is held; under one that was lost nothing is written."""
    lease = await taken(store.leases, "prune", "a")
    tenant = await world.tenant()
    async with store.begin(under=lease) as tx:
        assert await tx.tenants.get(tenant.id) == tenant
    await store.leases.release(lease)
    await taken(store.leases, "prune", "b")
    with pytest.raises(StoreUnavailableError, match="lost"):
        async with store.begin(under=lease):
            pytest.fail("it went on")


@pytest.mark.parametrize(
    "ahead",
    [
        pytest.param("UPDATE leases SET expires_at = expires_at + 10800", id="3 hours"),
        pytest.param("UPDATE leases SET expires_at = expires_at + 8640000", id="100 days"),
    ],
)
async def test_a_lease_of_a_clock_that_was_ahead(store: Store, database: str, ahead: str) -> None:
    """A lease that expires later than any lease lasts is free: its writer's clock was wrong, and it may be dead."""
    lost = await taken(store.leases, "prune", "the dead")
    await execute(database, ahead)
    assert await store.leases.free(["prune"]) == ["prune"]
    assert (await taken(store.leases, "prune", "b")).token > lost.token
    assert await store.leases.free(["prune"]) == []


async def test_a_lease_of_a_clock_that_was_behind(store: Store, database: str) -> None:
    """A clock that was ten minutes behind wrote leases that are over."""
    await taken(store.leases, "prune", "a")
    await execute(database, "UPDATE leases SET expires_at = expires_at - 600")
    await taken(store.leases, "prune", "b")


async def test_when_it_was_last_done(leases: Leases) -> None:
    """It stands with the lease, and a renewal without news leaves it."""
    assert await leases.ran(["prune", "trim"]) == {}
    await leases.acquire("prune", "a", LONG, 100.0)
    await leases.acquire("prune", "a", LONG)
    found = await leases.ran(["prune", "trim"])
    assert list(found) == ["prune"]
    assert 100 <= found["prune"] < 130


async def test_how_many_are_there(leases: Leases) -> None:
    """Those who said so and have neither left nor fallen silent."""
    assert await leases.present("a", LONG) == 1
    assert await leases.present("b", LONG) == 2
    await leases.leave("a")
    assert await leases.present("b", SHORT) == 1
    async with asyncio.timeout(20):
        while await leases.present("c", LONG) != 1:
            await asyncio.sleep(0.01)


async def test_several_are_renewed_at_once(leases: Leases) -> None:
    """Those that the holder still has, by the same token; what another has, or had meanwhile, stays as it is."""
    kept, ended, lost = [
        await taken(leases, name, "a", SHORT if name == "lost" else LONG) for name in ("prune", "trim", "lost")
    ]
    await leases.release(ended)
    await free(leases, "lost")
    other = await taken(leases, "lost", "b")
    assert list(await leases.renew({kept: 5.0, ended: None, lost: 5.0}, LONG)) == [kept]
    assert await leases.acquire("lost", "b", LONG) == other
    assert await leases.free(["prune", "trim", "lost"]) == ["trim"]
    assert await leases.renew({}, LONG) == []


async def test_a_lease_renewed_with_others_lasts(leases: Leases) -> None:
    """And it is said when its job was last done; one whose job was not done keeps what was said before."""
    first, second = await taken(leases, "prune", "a", SHORT), await taken(leases, "trim", "a", SHORT)
    assert len(await leases.renew({first: 30.0, second: None}, LONG)) == 2
    assert len(await leases.renew({first: None, second: None}, LONG)) == 2
    assert await leases.acquire("prune", "b", LONG) is None
    ran = await leases.ran(["prune", "trim"])
    assert ran.keys() == {"prune"}
    assert ran["prune"] == pytest.approx(30.0, abs=5.0)
