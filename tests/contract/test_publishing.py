"""The pipeline on a store, with a probe that says what the test wants: what goes wrong on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError, StoreUnavailableError
from router.routes.records import Kind, ResourceRecord, State
from router.store import Store
from router.tenancy.deployments import Deployment, Deployments
from router.tenancy.env import Env
from router.tenancy.publishing import Plan, Publishing
from router.tenancy.releases import Releases
from router.tenancy.resources import Resource
from router.tenancy.tenants import Tenant
from router.tenancy.versions import Build, Version
from tests.support.world import NETWORKS, OWN_LISTENERS, World

pytestmark = pytest.mark.asyncio


class Said:
    """A Probe that answers what it is told, after what it is told to do first."""

    def __init__(self) -> None:
        self.words: str | None = None
        self.first: Callable[[], Any] | None = None
        self.looked: list[tuple[str, int, str | None]] = []

    async def check(self, address: str, port: int, path: str | None, _scheme: str = "http") -> str | None:
        self.looked.append((address, port, path))
        if self.first is not None:
            await self.first()
        return self.words


class Flaky:
    """The store, away whenever a test says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False

    def begin(self) -> AbstractAsyncContextManager[Any]:
        return self._unless_away(self._store.begin)

    def read(self) -> AbstractAsyncContextManager[Any]:
        return self._unless_away(self._store.read)

    @asynccontextmanager
    async def _unless_away(self, opened: Callable[[], AbstractAsyncContextManager[Any]]) -> AsyncIterator[Any]:
        if self.away:
            raise StoreUnavailableError("away")
        async with opened() as tx:
            yield tx


class Scene:
    """One tenant with a running sandbox and a deployment, and the pipeline between them."""

    def __init__(self, world: World, store: Store, clock: ManualClock) -> None:
        self.world = world
        self.probe = Said()
        self.store = Flaky(store)
        self.deployments = Deployments(store, clock, resources=world.resources)
        self.releases = Releases(store, clock)
        self.publishing = Publishing(
            self.store,
            clock,
            probe=self.probe,
            networks=NETWORKS,
            own_listeners=OWN_LISTENERS,
            reserved_ports={49983},
            check_time=1.0,
        )
        self.tenant: Tenant
        self.sandbox: Resource
        self.site: Deployment

    async def publish(self, **plan: Any) -> tuple[Version, Build]:
        """Publish the sandbox; how it ended."""
        plan = {"source_sandbox_id": self.sandbox.id} | plan
        version = await self.publishing.start(self.site.id, Plan(**plan))
        assert await self.publishing.wait(version.id, 30)
        build = await self.releases.build(self.site.id, version.build_id or "")
        return await self.releases.version(self.site.id, version.id), build

    async def refused(self, *, site: Deployment | None = None, **plan: Any) -> RouterError:
        deployment_id = (site or self.site).id
        with pytest.raises(RouterError) as caught:
            await self.publishing.start(deployment_id, Plan(**{"source_sandbox_id": self.sandbox.id} | plan))
        assert (await self.releases.versions(deployment_id)).total == 0
        return caught.value


@pytest_asyncio.fixture
async def scene(world: World, store: Store, clock: ManualClock) -> AsyncIterator[Scene]:
    made = Scene(world, store, clock)
    made.tenant = await world.tenant()
    made.sandbox = await world.sandbox(made.tenant, "box")
    made.site = await made.deployments.create(made.tenant.id, "Site")
    yield made
    made.store.away = False
    await made.publishing.close()


async def test_it_looks_where_the_sandbox_listens(scene: Scene) -> None:
    """At the real port behind the public one, with the path of the plan."""
    await scene.world.place(scene.sandbox, generation="boot-2", ports={8080: 18080})
    _, build = await scene.publish(port=8080, health_check_path="/up")
    assert build.state == "succeeded"
    assert scene.probe.looked == [("10.0.0.7", 18080, "/up")]


async def test_a_sandbox_that_goes_meanwhile(scene: Scene) -> None:
    """Deleted or suspended while it is checked: the build says so, and it is not checked any more."""
    scene.probe.words = "answered with status 503"

    async def suspend() -> None:
        await scene.world.resources.patch(scene.sandbox.id, suspended=True)

    scene.probe.first = suspend
    assert (await scene.publish())[1].error_message == "The sandbox is suspended."
    await scene.world.resources.patch(scene.sandbox.id, suspended=False)

    async def delete() -> None:
        await scene.world.resources.delete(scene.sandbox.id)

    scene.probe.first = delete
    assert (await scene.publish())[1].error_message == "The sandbox has been deleted."
    assert len(scene.probe.looked) == 2


async def test_a_program_that_never_answers(scene: Scene) -> None:
    """A look that takes longer than all the time there is ends with it."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    scene.probe.first = for_ever
    version, build = await scene.publish()
    assert (version.state, build.error_message) == ("failed", "Port 3000 does not answer: given up after 1 s.")


async def test_own_listeners_are_not_looked_at(scene: Scene) -> None:
    """A port that was never registered may lead to ourselves; it is asked for here first."""
    await scene.world.place(scene.sandbox, address="127.0.0.1", ports={3000: 9000})
    _, build = await scene.publish(port=8081)
    assert build.error_message == "Port 8081 of the sandbox can't be reached from here."
    assert scene.probe.looked == []


async def test_a_store_that_is_away_while_checking(scene: Scene) -> None:
    """That is our fault, and said so; where it is back for the end the build is failed at once."""

    async def lose() -> None:
        scene.store.away = True

    scene.probe.words, scene.probe.first = "answered with status 503", lose
    version = await scene.publishing.start(scene.site.id, Plan(source_sandbox_id=scene.sandbox.id))
    with pytest.raises(StoreUnavailableError):
        await scene.publishing._running[version.id][1]
    scene.store.away = False
    build = await scene.releases.build(scene.site.id, version.build_id or "")
    assert build.state == "running", "it will be overdue"


async def test_closing_while_the_store_is_away(scene: Scene) -> None:
    """The build stays running until a process finds it overdue."""

    async def for_ever() -> None:
        await asyncio.Event().wait()

    scene.probe.first = for_ever
    version = await scene.publishing.start(scene.site.id, Plan(source_sandbox_id=scene.sandbox.id))
    scene.store.away = True
    await scene.publishing.close()
    build = await scene.releases.build(scene.site.id, version.build_id or "")
    assert build.state == "running"
    scene.store.away = False
    with pytest.raises(RuntimeError, match="publishing is closed"):
        await scene.publishing.start(scene.site.id, Plan(source_sandbox_id=scene.sandbox.id))


async def test_whom_nobody_knows_has_ended(scene: Scene) -> None:
    """Waiting for a build of another process, or for none, takes no time."""
    assert await scene.publishing.wait("00000000-0000-4000-8000-000000000000", 5)


@pytest.mark.parametrize(
    ("plan", "fields"),
    [
        ({"port": 49983}, {"port": ["is reserved by the platform"]}),
        ({"port": 70000}, {"port": ["must be between 1 and 65535"]}),
        ({"environment": "Pro"}, {"environment": ["must start with alphanumeric and contain only a-z 0-9 - _"]}),
        (
            {"health_check_path": "up"},
            {"health_check_path": ["must be a path such as /healthz, percent-encoded where needed"]},
        ),
        ({"run_command": "x" * 2001}, {"run_command": ["should be at most 2000 character(s)"]}),
        ({"external_user_id": "x" * 256}, {"external_user_id": ["should be at most 255 character(s)"]}),
        ({"data_services": ("",)}, {"data_services": ["can't be blank"]}),
        ({"data_services": ("a",) * 51}, {"data_services": ["should have at most 50 item(s)"]}),
    ],
)
async def test_plans_that_are_refused(scene: Scene, plan: dict[str, Any], fields: dict[str, list[str]]) -> None:
    """The service checks for itself: the command line has no models."""
    error = await scene.refused(**plan)
    assert (error.problem, error.fields) == (VALIDATION_FAILED, fields)


async def test_sources_that_are_refused(scene: Scene) -> None:
    """Another tenant's sandbox, what is no sandbox, a suspended one, one whose own port is the platform's."""
    other = await scene.world.sandbox(await scene.world.tenant("Other"), "other")
    computer = await scene.world.sandbox(scene.tenant, "desk", kind=Kind.COMPUTER)
    for source in (other, computer, scene.site):
        assert (await scene.refused(source_sandbox_id=source.id)).problem is NOT_FOUND
    await scene.world.resources.patch(scene.sandbox.id, suspended=True)
    assert (await scene.refused()).problem is CONFLICT


async def test_what_is_blocked_is_not_published_under_another_name(scene: Scene) -> None:
    """Neither from the sandbox of a deployment that is blocked, nor does a deployment outlive its sandbox's block."""
    await scene.publish()
    site, world = scene.site.resource, scene.world
    copy, ready = [await scene.deployments.create(scene.tenant.id, name) for name in ("Copy", "Ready")]
    staged = await scene.publishing.start(ready.id, Plan(source_sandbox_id=scene.sandbox.id, promote=False))
    assert await scene.publishing.wait(staged.id, 5)
    await world.resources.patch(site.id, suspended=True)
    assert (await scene.refused(site=copy)).problem is CONFLICT
    with pytest.raises(RouterError) as caught:
        await scene.releases.promote(ready.id, staged.id)
    assert caught.value.problem is CONFLICT
    await world.resources.patch(site.id, suspended=False)
    await world.resources.patch(scene.sandbox.id, suspended=True)
    await world.place(site, address="10.0.0.9")
    await world.resources.delete(scene.sandbox.id)
    (record,) = (await world.store.records.fetch([f"slug:{site.slug}"])).values()
    assert isinstance(record, ResourceRecord)
    assert record.suspended
    assert (await world.blocks.of_resources([site.id]))[site.id].subject == scene.sandbox.id


async def test_a_deployment_that_runs_is_not_disturbed(scene: Scene) -> None:
    """One that the platform runs already goes on while the first version is checked, and when that fails."""
    site = scene.site.resource
    await scene.world.place(site, address="10.0.0.9")
    scene.probe.words = "answered with status 503"
    states = []

    async def look() -> None:
        states.append((await scene.deployments.get(site.id)).resource.state)

    scene.probe.first = look
    version, _ = await scene.publish()
    assert version.state == "failed"
    assert set(states) == {State.RUNNING}
    assert (await scene.deployments.get(site.id)).resource.state is State.RUNNING


async def test_services_check_names(scene: Scene, store: Store, clock: ManualClock) -> None:
    """Names of deployments, environments and variables, where no model has looked at them before."""
    env = Env(store, clock)
    for attempt, fields in (
        (scene.deployments.create(scene.tenant.id, " "), {"name": ["can't be blank"]}),
        (scene.deployments.update(scene.site.id, name=None), {"name": ["can't be blank"]}),
        (
            scene.releases.promote(scene.site.id, scene.site.id, "Pro"),
            {"environment": ["must start with alphanumeric and contain only a-z 0-9 - _"]},
        ),
        (
            env.set(scene.site.id, {"A": "\x00"}, environment="Pro"),
            {
                "environment": ["must start with alphanumeric and contain only a-z 0-9 - _"],
                "env.A": ["must not contain a null character"],
            },
        ),
    ):
        with pytest.raises(RouterError) as caught:
            await attempt
        assert (caught.value.problem, caught.value.fields) == (VALIDATION_FAILED, fields)
