"""What the resolver may expect of any source of records, asked of the one in memory, of the one in SQL, of Redis before
it, and of the one that a worker has, which asks another process for SQL's.

A `Scene` is filled with the same few things in each; the one in SQL is filled through the services.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Protocol

import pytest
import pytest_asyncio

from router.base.clock import ManualClock, SystemClock
from router.base.ids import new_id
from router.cache import SharedCache
from router.errors import StoreUnavailableError
from router.node.ipc.control_side import ControlSide
from router.node.ipc.store_client import StoreClient
from router.node.ipc.worker_side import WorkerSide
from router.observe.metrics import Metrics
from router.routes.batches import RecordSource
from router.routes.records import (
    DomainStatus,
    KeyRecord,
    NameRecord,
    ResourceRecord,
    Scope,
    SigningKey,
    SigningKeysRecord,
    State,
    ZoneRecord,
    api_key_key,
    signing_key,
)
from router.settings import Redis
from router.store import Store
from router.tenancy.keys import Key
from router.tenancy.signing_keys import FOR_COOKIES, SigningKeys
from router.tenancy.tenants import Tenant
from tests.support import records as make
from tests.support.database import Databases, execute
from tests.support.memory_records import MemoryRecords
from tests.support.memory_store import MemoryStore
from tests.support.redis import Server
from tests.support.world import World

pytestmark = pytest.mark.asyncio


class Scene(Protocol):
    """A tenant with the sandboxes `shop` and `blog`, and a source that knows them."""

    source: RecordSource

    async def fill(self) -> None: ...

    async def domain(self, fqdn: str, slug: str, *, verified: bool = True) -> None: ...

    async def remove_domain(self, fqdn: str) -> None: ...

    async def zone(self, domain: str, *, verified: bool = True) -> None: ...

    async def stop(self, slug: str) -> None: ...

    async def delete(self, slug: str) -> None: ...

    async def key(self) -> str:
        """An API key of the tenant; its digest."""

    async def revoke_key(self, digest: str) -> None: ...

    async def replace_signing_keys(self) -> None: ...

    async def switch_off(self) -> None: ...


_DIGEST = "a" * 64
_KEY = KeyRecord("key-1", "acme", "tenant", "acme", 1)


class MemoryScene:
    """The twin's scene: each record is put in by hand, as SQL would give it."""

    def __init__(self) -> None:
        self.source = MemoryRecords()
        self._resources = {slug: make.resource(slug) for slug in ("shop", "blog")}
        self._domains: dict[str, tuple[str, DomainStatus]] = {}
        self._signing = 0

    async def fill(self) -> None:
        self.source.put(*self._resources.values())

    async def domain(self, fqdn: str, slug: str, *, verified: bool = True) -> None:
        self._domains[fqdn] = slug, DomainStatus.VERIFIED if verified else DomainStatus.PENDING
        self._put(fqdn)

    async def remove_domain(self, fqdn: str) -> None:
        self.source.put(make.name(fqdn, None, status=DomainStatus.REMOVED))

    async def zone(self, domain: str, *, verified: bool = True) -> None:
        self.source.put(make.zone(domain, make.claim("tenant", "acme", verified=verified)))

    async def stop(self, slug: str) -> None:
        self._change(slug, State.STOPPED)

    async def delete(self, slug: str) -> None:
        self._change(slug, State.DESTROYED)

    async def key(self) -> str:
        self.source.put_under(api_key_key(_DIGEST), _KEY)
        return _DIGEST

    async def revoke_key(self, digest: str) -> None:
        self.source.put_under(api_key_key(digest), replace(_KEY, revoked=True, version=2))

    async def replace_signing_keys(self) -> None:
        self._signing += 1
        key = SigningKey(f"key-{self._signing}", "00" * 32, 0.0, 1.0)
        self.source.put(SigningKeysRecord("cookies", (key,), self._signing))

    async def switch_off(self) -> None:
        self.source.down = True

    def _change(self, slug: str, state: State) -> None:
        old = self._resources[slug]
        endpoint = None if state is State.DESTROYED else old.endpoint
        self._resources[slug] = replace(old, state=state, endpoint=endpoint, version=old.version + 1)
        self.source.put(self._resources[slug])
        for fqdn in self._domains:
            self._put(fqdn)

    def _put(self, fqdn: str) -> None:
        slug, status = self._domains[fqdn]
        target = self._resources[slug]
        self.source.put(make.name(fqdn, None if target.state is State.DESTROYED else target, status=status))


class SqlScene:
    """The store's scene."""

    def __init__(self, world: World, database: str) -> None:
        self.source: RecordSource = world.store.records
        self._world = world
        self._database = database
        self._tenant: Tenant
        self._key: Key

    async def fill(self) -> None:
        self._tenant = await self._world.tenant()
        for slug in ("shop", "blog"):
            await self._world.sandbox(self._tenant, slug, exposed_ports=frozenset({5173}))

    async def domain(self, fqdn: str, slug: str, *, verified: bool = True) -> None:
        async with self._world.store.read() as tx:
            resource = await tx.resources.by_slug(slug)
        assert resource is not None
        await self._world.domain(resource, fqdn, verified=verified)

    async def remove_domain(self, fqdn: str) -> None:
        await self._world.domains.remove((await self._world.domains.find(fqdn)).id)

    async def zone(self, domain: str, *, verified: bool = True) -> None:
        await self._world.zone(Scope.TENANT, self._tenant.id, domain, verified=verified)

    async def stop(self, slug: str) -> None:
        await self._world.resources.patch(await self._id(slug), state=State.STOPPED)

    async def delete(self, slug: str) -> None:
        await self._world.resources.delete(await self._id(slug))

    async def key(self) -> str:
        self._key, _ = await self._world.keys.create(self._tenant.id)
        return self._key.digest

    async def revoke_key(self, digest: str) -> None:
        assert digest == self._key.digest
        await self._world.keys.revoke(self._key.id)

    async def replace_signing_keys(self) -> None:
        await SigningKeys(self._world.store, ManualClock()).replace(FOR_COOKIES)

    async def switch_off(self) -> None:
        await execute(self._database, "DROP TABLE route_versions")

    async def _id(self, slug: str) -> str:
        async with self._world.store.read() as tx:
            resource = await tx.resources.by_slug(slug)
        assert resource is not None
        return resource.id


@asynccontextmanager
async def redis_before(store: Store, server: Server) -> AsyncIterator[RecordSource]:
    """Redis as a process has it, which hears of this store's commits."""
    shared = SharedCache(
        server.url,
        Redis(prefix=f"{new_id()}:"),
        fetch_time=2.0,
        store=store,
        publishes=True,
        metrics=Metrics(),
        clock=SystemClock(),
    )
    store.on_number(shared.committed)
    await shared.start(lambda _keys: None, lambda: None)
    yield shared.records
    await shared.close()


@asynccontextmanager
async def asked(store: Store) -> AsyncIterator[RecordSource]:
    """The store as a worker has it, over a socket."""
    clock = SystemClock()
    control_side = ControlSide(1, metrics=Metrics(0), clock=clock, on_https=lambda _host, _at: None)
    worker_side = WorkerSide(
        on_change=lambda _keys, _number: None,
        on_outbox=lambda _start, _to, _keys: False,
        used=lambda _: {},
        https=lambda _: {},
        figures=lambda: None,
    )
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    control_side.serve_store(store, MemoryStore())
    await control_side.connect(ours, 1)
    await worker_side.connect(theirs)
    await worker_side.until_ready(5)
    yield StoreClient(worker_side, clock, within=5).records
    worker_side.close()
    await control_side.close()


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql", "redis", "asked"])
async def scene(request: pytest.FixtureRequest, databases: Databases, clock: ManualClock) -> AsyncIterator[Scene]:
    if request.param == "memory":
        twin = MemoryScene()
        await twin.fill()
        yield twin
        return
    async with databases.new("sqlite" if request.param in ("redis", "asked") else request.param) as database:
        store = await Store.open(database, clock=clock)
        scene = SqlScene(World(store, clock), database)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            if request.param == "redis":
                server: Server = request.getfixturevalue("redis_server")
                scene.source = await stack.enter_async_context(redis_before(store, server))
            if request.param == "asked":
                scene.source = await stack.enter_async_context(asked(store))
            await scene.fill()
            yield scene


async def _resource(scene: Scene, slug: str) -> ResourceRecord:
    record = (await scene.source.fetch([f"slug:{slug}"]))[f"slug:{slug}"]
    assert isinstance(record, ResourceRecord)
    return record


async def _name(scene: Scene, fqdn: str) -> NameRecord:
    record = (await scene.source.fetch([f"name:{fqdn}"]))[f"name:{fqdn}"]
    assert isinstance(record, NameRecord)
    return record


async def test_what_is_unknown_has_no_record(scene: Scene) -> None:
    """Keys without a record come back absent or None, never as an error."""
    keys = ["name:nobody.example.com", "zone:example.com", "slug:nothing"]
    found = await scene.source.fetch(keys)
    assert [found.get(key) for key in keys] == [None, None, None]


async def test_a_resource_is_found_by_its_slug(scene: Scene) -> None:
    """Everything that routing needs of it is in its record."""
    record = await _resource(scene, "shop")
    assert (record.slug, record.state, record.default_port) == ("shop", State.RUNNING, 3000)
    assert record.exposed_ports == frozenset({5173})
    assert record.endpoint is not None
    assert record.endpoint.generation == "boot-1"
    assert not record.suspended


async def test_all_keys_of_a_host_in_one_fetch(scene: Scene) -> None:
    """Each key that has a record comes back under its own key, whatever its kind."""
    await scene.domain("www.example.com", "shop")
    await scene.zone("example.org")
    found = await scene.source.fetch(
        ["name:www.example.com", "zone:example.org", "slug:shop", "slug:blog", "slug:none"]
    )
    kinds = {key: type(record) for key, record in found.items() if record is not None}
    assert kinds == {
        "name:www.example.com": NameRecord,
        "zone:example.org": ZoneRecord,
        "slug:shop": ResourceRecord,
        "slug:blog": ResourceRecord,
    }


async def test_a_name_carries_its_resource(scene: Scene) -> None:
    """The name's record has the very record that the slug has, so that one fetch is enough."""
    await scene.domain("www.example.com", "shop")
    record = await _name(scene, "www.example.com")
    assert record.status is DomainStatus.VERIFIED
    assert record.resource == await _resource(scene, "shop")


async def test_a_name_shows_what_becomes_of_its_resource(scene: Scene) -> None:
    """A change of the resource is seen through the name at the next fetch, with a higher version."""
    await scene.domain("www.example.com", "shop")
    before = await _name(scene, "www.example.com")
    await scene.stop("shop")
    after = await _name(scene, "www.example.com")
    assert before.resource is not None
    assert after.resource is not None
    assert after.resource.state is State.STOPPED
    assert after.resource.version > before.resource.version


async def test_a_pending_name_has_a_record_that_does_not_route(scene: Scene) -> None:
    """The gate has to tell a name that waits for DNS from one that nobody knows."""
    await scene.domain("www.example.com", "shop", verified=False)
    assert not (await _name(scene, "www.example.com")).status.routes


async def test_a_removed_name_is_remembered_as_removed(scene: Scene) -> None:
    """Its record stays, with the status `removed` and without a resource."""
    await scene.domain("www.example.com", "shop")
    await scene.remove_domain("www.example.com")
    record = await _name(scene, "www.example.com")
    assert record.status is DomainStatus.REMOVED
    assert record.resource is None


async def test_a_deleted_resource_leaves_a_destroyed_one(scene: Scene) -> None:
    """Its slug answers with the state `destroyed` and no endpoint; names that led to it have no resource."""
    await scene.domain("www.example.com", "shop")
    await scene.delete("shop")
    record = await _resource(scene, "shop")
    assert record.state is State.DESTROYED
    assert record.endpoint is None
    assert (await _name(scene, "www.example.com")).resource is None


async def test_a_revoked_key_is_seen_at_the_next_fetch(scene: Scene) -> None:
    """A key's record is under its hash, and says with a higher version that it opens nothing any more."""
    digest = await scene.key()
    name = api_key_key(digest)
    found = await scene.source.fetch([name, api_key_key("0" * 64), "slug:shop"])
    before = found[name]
    assert isinstance(before, KeyRecord)
    assert (before.scope, before.until, before.revoked) == ("tenant", None, False)
    assert found.get(api_key_key("0" * 64)) is None
    await scene.revoke_key(digest)
    after = (await scene.source.fetch([name]))[name]
    assert isinstance(after, KeyRecord)
    assert after == replace(before, revoked=True, version=after.version)
    assert after.version > before.version


async def test_signing_keys_come_whole_and_at_once(scene: Scene) -> None:
    """None before they are made; a key that was replaced is gone at the next fetch."""
    name = signing_key("cookies")
    assert (await scene.source.fetch([name])).get(name) is None
    seen = set[str]()
    for _ in range(2):
        await scene.replace_signing_keys()
        record = (await scene.source.fetch([name, "slug:shop"]))[name]
        assert isinstance(record, SigningKeysRecord)
        (key,) = record.keys
        assert len(bytes.fromhex(key.secret)) == 32
        assert key.until > key.since
        seen.add(key.id)
    assert len(seen) == 2


async def test_a_zone_lists_its_claims(scene: Scene) -> None:
    """A zone's record says which scope claims it, for which tenant, and whether it is verified."""
    await scene.zone("example.org", verified=False)
    record = (await scene.source.fetch(["zone:example.org"]))["zone:example.org"]
    assert isinstance(record, ZoneRecord)
    (claim,) = record.claims
    assert claim.scope is Scope.TENANT
    assert claim.contains(await _resource(scene, "shop"))
    assert not record.verified


async def test_a_source_that_is_away_says_so(scene: Scene) -> None:
    """Not knowing raises; it is never an empty answer."""
    await scene.switch_off()
    with pytest.raises(StoreUnavailableError):
        await scene.source.fetch(["slug:never-asked-before"])
