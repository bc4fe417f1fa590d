"""PostgreSQL dead, frozen and back: every wait ends, what comes out is an outage, and nothing has to be restarted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import pytest
import pytest_asyncio
import sqlalchemy as sa

from router.base.clock import SystemClock
from router.errors import StoreUnavailableError
from router.routes.records import State
from router.settings import Database
from router.store import Store, migrate
from router.tenancy.resources import Resource
from tests.support.postgres import Postgres
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.asyncio, pytest.mark.realtime]

# So short that a machine which stalls beside other tests exceeds them on its own: these tests run alone.
LIMITS = Database(connections=2, connect_time=0.5, statement_time=0.6, lock_time=0.3)
PATIENCE = 5.0  # seconds: several times what the limits add up to


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of its own, because it is stopped."""
    with Postgres() as running:
        yield running


class Scene:
    """A store with one sandbox on a server, and what its follower told."""

    def __init__(self, server: Postgres, url: str, store: Store, shop: Resource) -> None:
        self.server = server
        self.url = url
        self.store = store
        self.shop = shop
        self.world = World(store, SystemClock())
        self.keys: list[str] = []
        self.gaps = 0
        self.follower = store.follow(self._hear, self._gap)

    def _hear(self, keys: Sequence[str]) -> None:
        self.keys += keys

    def _gap(self) -> None:
        self.gaps += 1

    async def read(self) -> None:
        await self.world.resources.get(self.shop.id)

    async def write(self) -> None:
        await self.world.resources.patch(self.shop.id, suspended=True)

    async def resolve(self) -> None:
        await self.store.records.fetch(["slug:shop"])

    async def claim(self) -> None:
        await self.store.idempotency.claim("key:1", "5f6c", "f", SystemClock().now())

    async def lease(self) -> None:
        await self.store.leases.acquire("prune", "a", 1.0)

    async def works(self) -> None:
        """Wait until everything works again."""
        async with asyncio.timeout(20):
            for what in (self.read, self.write, self.resolve, self.claim, self.lease):
                while await outage(what) is not None:
                    await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def scene(server: Postgres) -> AsyncIterator[Scene]:
    url = await server.create(migrated=False)
    await migrate(url)
    before = await Store.open(url, clock=SystemClock())
    try:
        world = World(before, SystemClock())
        shop = await world.sandbox(await world.tenant(), "shop")
    finally:
        await before.close()
    store = await Store.open(url, clock=SystemClock(), limits=LIMITS)
    try:
        scene = Scene(server, url, store, shop)
        try:
            await scene.follower.start()
            yield scene
        finally:
            await scene.follower.close()
    finally:
        await store.close()


async def outage(what: Callable[[], Awaitable[None]]) -> StoreUnavailableError | None:
    """What came out of it, in time."""
    try:
        async with asyncio.timeout(PATIENCE):
            await what()
    except StoreUnavailableError as error:
        return error
    return None


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_an_outage_and_its_end(scene: Scene, how: str) -> None:
    """Reads, writes and look-ups fail within their time, many at once too; when the server is back they work."""
    if how == "stopped":
        scene.server.stop()
    else:
        scene.server.freeze()
    for what in (scene.read, scene.write, scene.resolve, scene.claim, scene.lease):
        assert await outage(what) is not None, what
    began = time.monotonic()
    found = await asyncio.gather(*(outage(scene.resolve) for _ in range(20)))
    assert all(found)
    assert time.monotonic() - began < PATIENCE
    await eventually(lambda: scene.follower.missing, "the follower notices")
    if how == "stopped":
        scene.server.start()
    else:
        scene.server.thaw()
    await scene.works()
    await eventually(lambda: scene.gaps, "the follower says that it may have missed something")


async def test_changes_are_heard_after_an_outage(scene: Scene) -> None:
    """The connection that listens is made anew."""
    scene.server.stop()
    await eventually(lambda: scene.follower.missing, "the follower notices")
    scene.server.start()
    await eventually(lambda: scene.gaps, "it may have missed something")
    other = await Store.open(scene.url, clock=SystemClock())
    await World(other, SystemClock()).resources.patch(scene.shop.id, state=State.STOPPED)
    await eventually(lambda: "slug:shop" in scene.keys, "the change is heard")
    await other.close()


async def test_whoever_gives_up_is_let_go(scene: Scene) -> None:
    """A task that is cancelled while the server is silent ends soon, and its connection is not given to others."""
    await scene.works()
    scene.server.freeze()
    for what in (scene.read, scene.write, scene.resolve):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await what()
        assert time.monotonic() - began < PATIENCE
    scene.server.thaw()
    await scene.works()


async def test_a_statement_that_takes_too_long(scene: Scene) -> None:
    """The server ends it, and the connection goes on."""
    async with scene.store.begin() as tx:
        pid = await tx._connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with pytest.raises(StoreUnavailableError, match="statement timeout"):
        async with scene.store.begin() as tx:
            await tx._connection.execute(sa.text("SELECT pg_sleep(30)"))
    async with scene.store.begin() as tx:
        assert await tx._connection.scalar(sa.text("SELECT pg_backend_pid()")) == pid


async def test_connections_are_bounded(scene: Scene) -> None:
    """Who finds them all in use waits, and not for ever; then there is room again."""
    async with scene.store.begin(), scene.store.begin():
        assert await outage(scene.write) is not None
    await scene.write()


async def test_a_lock_that_is_never_freed(scene: Scene) -> None:
    """The wait has an end, and readers never notice."""
    other = await Store.open(scene.url, clock=SystemClock())
    async with other.begin() as tx:
        assert await tx.resources.get(scene.shop.id) is not None
        error = await outage(scene.write)
        assert error is not None
        assert "lock" in str(error)
        await scene.read()
        await scene.resolve()
    await other.close()
    await scene.write()


@pytest.mark.parametrize("wrong", ["postgresql://nobody@127.0.0.1:{port}/none", "postgresql://127.0.0.1:1/none"])
async def test_where_nothing_is(server: Postgres, wrong: str) -> None:
    """A database that isn't there, and a port on which nothing listens, are outages with a reason."""
    with pytest.raises(StoreUnavailableError):
        await Store.open(wrong.format(port=server.port), clock=SystemClock(), limits=LIMITS)


async def test_jobs_leave_connections_to_others(server: Postgres) -> None:
    """However many results a job writes at once, a service finds a free connection."""
    store = await Store.open(await server.create(), clock=SystemClock(), limits=Database(connections=2))
    world = World(store, SystemClock())
    lease = await store.leases.acquire("check_domains", "a", 30.0)
    assert lease is not None
    held, begun = asyncio.Event(), 0

    async def write() -> None:
        nonlocal begun
        async with store.begin(lease):
            begun += 1
            await held.wait()

    jobs = [asyncio.create_task(write()) for _ in range(5)]
    await eventually(lambda: begun, "the first of them has a connection")
    await world.tenant()
    assert begun == 1
    held.set()
    await asyncio.gather(*jobs)
    await store.close()
