"""Publishing: from a sandbox to a version that hosts lead to, and back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.node.services import Services
from router.routes.records import ResourceRecord, State, slug_key
from router.settings import Settings, load
from router.store import Store
from router.tenancy.endpoints import EndpointChange
from router.tenancy.publishing import INTERRUPTED, Plan
from router.tenancy.resources import Resource
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.backends import Backend, Visit
from tests.support.checks import verify_custom
from tests.support.ports import free_port
from tests.support.publishing import listen, program, sandbox_of
from tests.support.routes import Routes
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


@pytest.fixture
def settings() -> Settings:
    """Programs run on loopback here."""
    return load(
        environ={
            "MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8,10.0.0.0/8",
            "MIOSA_ROUTER_RESERVED_PORTS": "49983",
        }
    )


@pytest_asyncio.fixture
async def sandbox(services: Services, acme: Account) -> Resource:
    return await sandbox_of(services, acme)


@pytest_asyncio.fixture
async def running(services: Services, sandbox: Resource) -> AsyncIterator[Backend]:
    """The program in `sandbox`."""
    async with program(services, sandbox.id) as backend:
        yield backend


@pytest_asyncio.fixture
async def site(api: ApiClient, acme: Account) -> dict[str, Any]:
    """A deployment with nothing on it."""
    answer = await api("POST", "/api/v1/deployments", json={"name": "Smile Dental", "project_id": acme.project.id})
    assert answer.status == 201
    shown: dict[str, Any] = answer.json["data"]
    return shown


async def publish(api: ApiClient, site: dict[str, Any], sandbox: Resource, **body: Any) -> Answered:
    path = f"/api/v1/deployments/{site['id']}/publish"
    return await api("POST", path, json={"source_sandbox_id": sandbox.id, **body})


def be_impatient(services: Services, seconds: float = 0.5) -> None:
    """Give programs up soon that never answer."""
    services.publishing._check_time = seconds


async def record(store: Store, slug: str) -> ResourceRecord:
    found = (await store.records.fetch([slug_key(slug)]))[slug_key(slug)]
    assert isinstance(found, ResourceRecord)
    return found


async def test_publish(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, store: Store, routes: Routes
) -> None:
    """A sandbox that answers goes on air: version, build and release say so, and the route is live on return."""
    assert await routes.leads_to(site["public_url"]) == "host_not_found"
    answer = await publish(api, site, sandbox, kind="static", health_check_path="/healthz?full=1", output_path="dist")
    assert answer.status == 201
    made = answer.json["data"]
    assert await routes.leads_to(site["public_url"]) == (site["id"], 3000)
    assert (made["promoted"], made["services"]) == (True, [])
    deployment, version, build, release = (made[name] for name in ("deployment", "version", "build", "release"))
    assert (deployment["state"], deployment["port"]) == ("running", 3000)
    assert deployment["active_version_id"] == version["id"] == build["version_id"] == release["deployment_version_id"]
    assert (deployment["active_release_id"], deployment["current_build_id"]) == (release["id"], build["id"])
    assert (version["version_number"], version["state"], version["kind"]) == (1, "ready", "static")
    assert (version["runtime_port"], version["health_check_path"]) == (3000, "/healthz?full=1")
    assert version["artifact_manifest"] == {"output_path": "dist"}
    assert (version["source_sandbox_id"], version["environment"]) == (sandbox.id, "production")
    assert version["promoted_at"] is not None
    assert version["created_by"] == build["triggered_by"]
    assert version["created_by"].startswith("key:")
    assert (build["state"], build["error_message"]) == ("succeeded", None)
    assert build["log"].splitlines() == [
        f"2026-01-01T00:00:00Z Publishing sandbox {sandbox.id} to production as version 1.",
        "2026-01-01T00:00:00Z GET /healthz?full=1 succeeded on port 3000.",
        "2026-01-01T00:00:00Z Version 1 is live in production.",
    ]
    assert (release["state"], release["action"], release["previous_version_id"]) == ("active", "publish", None)
    found = await record(store, site["slug"])
    assert found.endpoint is not None
    assert (found.endpoint.generation, found.endpoint.port(3000), found.state) == ("boot-1", running.port, "running")


async def test_the_check_asks_for_the_path(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services
) -> None:
    """The path goes out as it was given; below 400 is good, a redirect too, and nobody follows it."""
    asked: list[bytes] = []

    async def moved(visit: Visit) -> None:
        asked.append(visit.method + b" " + visit.target)
        await visit.answer(b"", b"302 Found", b"Location: http://169.254.169.254/")

    async with program(services, sandbox.id, moved):
        answer = await publish(api, site, sandbox, health_check_path="/up%20now/../x?a=%zz&b=[]")
    assert answer.json["data"]["promoted"] is True
    assert asked == [b"GET /up%20now/../x?a=%zz&b=[]"]


async def test_a_program_that_comes_late(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services
) -> None:
    """It is asked again and again within its time, also while the sandbox starts and where it boots anew meanwhile."""
    visits = 0

    async def late(visit: Visit) -> None:
        nonlocal visits
        visits += 1
        await visit.answer(b"", b"200 OK" if visits > 1 else b"503 Service Unavailable")

    publishing = asyncio.ensure_future(publish(api, site, sandbox, health_check_path="/"))
    async with Backend(late) as backend:
        await listen(services, sandbox.id, backend.port)
        made = (await publishing).json["data"]
    assert made["promoted"] is True
    said = [line.split(" ", 1)[1] for line in made["build"]["log"].splitlines()]
    assert "Port 3000 answered GET / with status 503; trying again." in said


@pytest.mark.parametrize(
    ("status", "path", "words"),
    [
        (b"500 Oops", "/up", "Port 3000 answered GET /up with status 500: given up after 0.5 s."),
        (None, "/up", "Port 3000 closed the connection without an answer: given up after 0.5 s."),
    ],
)
async def test_a_failed_check_leaves_what_is_live(
    api: ApiClient,
    site: dict[str, Any],
    sandbox: Resource,
    running: Backend,
    services: Services,
    acme: Account,
    store: Store,
    status: bytes | None,
    path: str,
    words: str,
) -> None:
    """The version has failed, its build says why, and the live one goes on as it was."""
    first = (await publish(api, site, sandbox)).json["data"]
    before = await record(store, site["slug"])
    be_impatient(services)

    async def bad(visit: Visit) -> None:
        if status is not None:
            await visit.answer(b"", status)
        else:
            visit.writer.close()

    other = await sandbox_of(services, acme, name="Broken")
    async with program(services, other.id, bad):
        answer = await publish(api, site, other, health_check_path=path)
    assert answer.status == 201
    made = answer.json["data"]
    assert (made["promoted"], made["release"]) == (False, None)
    assert (made["version"]["state"], made["version"]["promoted_at"]) == ("failed", None)
    assert (made["build"]["state"], made["build"]["error_message"]) == ("failed", words)
    assert made["build"]["log"].endswith(f"Failed. {words}\n")
    assert (made["deployment"]["active_version_id"], made["deployment"]["state"]) == (first["version"]["id"], "running")
    assert await record(store, site["slug"]) == before
    shown = (await api("GET", f"/api/v1/deployments/{site['id']}/builds/{made['build']['id']}")).json["data"]
    assert shown == made["build"]


async def test_nothing_listens(api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services) -> None:
    """A refused connection says what to do; a deployment without any version has failed, and may be published again."""
    await listen(services, sandbox.id, free_port())
    be_impatient(services)
    made = (await publish(api, site, sandbox)).json["data"]
    assert made["build"]["error_message"] == (
        "Port 3000 refuses connections; bind the program to 0.0.0.0, not 127.0.0.1: given up after 0.5 s."
    )
    assert (made["deployment"]["state"], made["deployment"]["active_version_id"]) == ("failed", None)
    be_impatient(services, 30)
    async with program(services, sandbox.id):
        made = (await publish(api, site, sandbox)).json["data"]
    assert (made["promoted"], made["version"]["version_number"], made["deployment"]["state"]) == (True, 2, "running")


@pytest.mark.parametrize("state", ["paused", "stopping", "stopped", "error"])
async def test_a_sandbox_that_does_not_run(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services, state: str
) -> None:
    """Nobody waits for one that was stopped."""
    await listen(services, sandbox.id, 80, state=State(state))
    made = (await publish(api, site, sandbox)).json["data"]
    assert made["build"]["error_message"] == f"The sandbox is {state}. Start it, then publish again."


async def test_only_addresses_of_the_backend_networks(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, services: Services, store: Store
) -> None:
    """An endpoint that came past registration is not dialled for a check either."""
    async with store.begin() as tx:
        (endpoint,) = await tx.resources.endpoints(sandbox.id)
        await tx.resources.put_endpoints([replace(endpoint, address="169.254.169.254")])
    made = (await publish(api, site, sandbox)).json["data"]
    assert made["build"]["error_message"] == "Port 3000 of the sandbox can't be reached from here."
    assert running.visits == 0


async def test_publish_without_promoting(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, routes: Routes
) -> None:
    """`promote: false` makes a ready version that nothing points at, until it is promoted."""
    made = (await publish(api, site, sandbox, promote=False)).json["data"]
    assert (made["promoted"], made["release"], made["version"]["state"]) == (False, None, "ready")
    assert (made["deployment"]["state"], made["deployment"]["active_version_id"]) == ("pending", None)
    assert await routes.leads_to(site["public_url"]) == "host_not_found", "it has no port yet"
    path = f"/api/v1/deployments/{site['id']}/versions/{made['version']['id']}/promote"
    answer = await api("POST", path)
    assert (answer.status, answer.json["data"]["active_version_id"]) == (200, made["version"]["id"])
    assert await routes.leads_to(site["public_url"]) == (site["id"], 3000)
    assert (await api("POST", path)).json == answer.json, "again changes nothing"
    releases = (await api("GET", f"/api/v1/deployments/{site['id']}/releases")).json["data"]
    assert [release["action"] for release in releases] == ["promote"]


async def test_publish_without_waiting(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services, routes: Routes
) -> None:
    """`wait: false` answers 202 at once; the build goes on and ends by itself."""
    go = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await go.wait()
        await visit.answer()

    async with program(services, sandbox.id, slow):
        answer = await publish(api, site, sandbox, wait=False, health_check_path="/")
        assert answer.status == 202
        made = answer.json["data"]
        assert (made["promoted"], made["version"]["state"], made["build"]["state"]) == (False, "building", "running")
        assert made["build"]["finished_at"] is None
        assert made["deployment"]["state"] == "building"
        assert await routes.leads_to(site["public_url"]) == "starting"
        go.set()
        assert await services.publishing.wait(made["version"]["id"], 5)
    assert await routes.leads_to(site["public_url"]) == (site["id"], 3000)


async def test_who_leaves_does_not_stop_a_build(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services, store: Store
) -> None:
    """A client that goes away while it waits changes nothing: the build has another owner."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(visit: Visit) -> None:
        asked.set()
        await go.wait()
        await visit.answer()

    async with program(services, sandbox.id, slow):
        request = asyncio.ensure_future(publish(api, site, sandbox, health_check_path="/"))
        await asked.wait()
        request.cancel()
        go.set()
        active = None
        async with asyncio.timeout(5):
            while active is None:
                active = (await services.deployments.get(site["id"])).active_version_id


async def test_the_older_of_two_builds_does_not_win(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, services: Services, acme: Account
) -> None:
    """A build that ends after a newer version went live makes its version ready, and leaves the newer one on air."""
    go = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await go.wait()
        await visit.answer()

    other = await sandbox_of(services, acme, name="Slow")
    async with program(services, other.id, slow):
        slow_one = (await publish(api, site, other, wait=False, health_check_path="/")).json["data"]["version"]
        quick = (await publish(api, site, sandbox)).json["data"]
        assert quick["promoted"] is True
        go.set()
        assert await services.publishing.wait(slow_one["id"], 5)
    path = f"/api/v1/deployments/{site['id']}"
    assert (await api("GET", path)).json["data"]["active_version_id"] == quick["version"]["id"]
    version = (await api("GET", f"{path}/versions/{slow_one['id']}")).json["data"]
    assert (version["state"], version["promoted_at"]) == ("ready", None)
    build = (await api("GET", f"{path}/builds/{version['build_id']}")).json["data"]
    assert build["log"].endswith("Version 1 is ready. Version 2 is live already and stays so.\n")


async def test_several_at_once(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, routes: Routes
) -> None:
    """Each gets a number of its own, and the highest is live in the end, whichever was done first."""
    answers = await asyncio.gather(*(publish(api, site, sandbox) for _ in range(6)))
    assert [answer.status for answer in answers] == [201] * 6
    numbers = {answer.json["data"]["version"]["version_number"]: answer.json["data"]["version"] for answer in answers}
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    shown = (await api("GET", f"/api/v1/deployments/{site['id']}")).json["data"]
    assert shown["active_version_id"] == numbers[6]["id"]
    releases = (await api("GET", f"/api/v1/deployments/{site['id']}/releases")).json["data"]
    assert [release["id"] for release in releases if release["state"] == "active"] == [shown["active_release_id"]]
    assert await routes.leads_to(site["public_url"]) == (site["id"], 3000)


async def test_the_route_follows_the_sandbox(
    api: ApiClient,
    site: dict[str, Any],
    sandbox: Resource,
    running: Backend,
    services: Services,
    store: Store,
    routes: Routes,
) -> None:
    """Without an endpoint of its own a version is where its sandbox is: generation, state, suspension and end. The
    deployment's own domains follow as its platform host does."""
    domain = await services.custom_domains.register(site["id"], "www.smile.example")
    await verify_custom(services, domain.id)
    assert await routes.leads_to("www.smile.example") == "host_not_found"
    await publish(api, site, sandbox)
    url = site["public_url"]
    assert await routes.leads_to("www.smile.example") == (site["id"], 3000)
    await listen(services, sandbox.id, running.port, generation="boot-2")
    route = await routes.of(url)
    assert route.resource is not None
    assert route.resource.endpoint is not None
    assert route.resource.endpoint.generation == "boot-2"
    for state, code in ((State.STARTING, "starting"), (State.PAUSED, "stopped"), (State.ERROR, "stopped")):
        await services.resources.patch(sandbox.id, state=state)
        assert await routes.leads_to(url) == code
        assert await routes.leads_to("www.smile.example") == code
    await services.resources.patch(sandbox.id, state=State.RUNNING, suspended=True)
    assert await routes.leads_to(url) == "blocked"
    assert await routes.leads_to("www.smile.example") == "blocked"
    await services.resources.patch(sandbox.id, suspended=False)
    assert await routes.leads_to(url) == (site["id"], 3000)
    await services.resources.delete(sandbox.id)
    assert await routes.leads_to(url) == "stopped", "the deployment is still there"


async def test_visitors_of_a_deployment_keep_its_sandbox_awake(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, services: Services, clock: ManualClock
) -> None:
    """What the deployment served counts as activity of the sandbox that it follows, or that would be stopped under it;
    of one that nothing leads to any more it does not."""
    version = (await publish(api, site, sandbox)).json["data"]["version"]
    early, late = clock.now() - timedelta(hours=2), clock.now() - timedelta(hours=1)
    await services.resources.record_activity({sandbox.id: early, site["id"]: late})
    assert await services.resources.activity() == {sandbox.id: late, site["id"]: late}
    assert await services.resources.activity(late) == {sandbox.id: late, site["id"]: late}
    recent = {site["id"]: clock.now()}
    assert await services.resources.activity(recent=recent) == {sandbox.id: clock.now(), site["id"]: clock.now()}
    change = EndpointChange(resource_id=site["id"], version_id=version["id"], address="10.0.9.9", generation="vm-1")
    await services.resources.endpoints.put(change)
    assert await services.resources.activity() == {sandbox.id: early, site["id"]: late}


async def test_a_version_with_an_endpoint_of_its_own(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, services: Services, routes: Routes
) -> None:
    """The platform may run a version somewhere else: then hosts lead there, whatever becomes of the sandbox."""
    version = (await publish(api, site, sandbox)).json["data"]["version"]
    path = f"/internal/v1/endpoints/{site['id']}"
    body = {"address": "10.0.9.9", "generation": "vm-1", "ports": {"3000": 8080}, "version_id": version["id"]}
    answer = await api("PUT", path, json=body, key=INTERNAL_TOKEN)
    assert (answer.status, answer.json["data"]["version_id"]) == (200, version["id"])
    await services.resources.delete(sandbox.id)
    route = await routes.of(site["public_url"])
    assert route.problem is None
    assert route.resource is not None
    assert route.resource.endpoint is not None
    endpoint = route.resource.endpoint
    assert (endpoint.address, endpoint.generation, endpoint.port(3000)) == ("10.0.9.9", "vm-1", 8080)
    answer = await api("GET", f"{path}?version_id={version['id']}", key=INTERNAL_TOKEN)
    assert (answer.status, answer.json["data"]["generation"]) == (200, "vm-1")
    assert (await api("GET", path, key=INTERNAL_TOKEN)).status == 404, "the deployment itself has none"
    assert (await api("DELETE", f"{path}?version_id={version['id']}", key=INTERNAL_TOKEN)).status == 200
    assert await routes.leads_to(site["public_url"]) == "stopped"


async def test_roll_back(
    api: ApiClient,
    site: dict[str, Any],
    sandbox: Resource,
    running: Backend,
    services: Services,
    acme: Account,
    store: Store,
) -> None:
    """Without a version it goes to the newest that was live before; one that never was live, or failed, is passed."""
    path = f"/api/v1/deployments/{site['id']}"
    other = await sandbox_of(services, acme, name="Other", default_port=4000)
    first = (await publish(api, site, sandbox)).json["data"]["version"]["id"]
    await publish(api, site, sandbox, promote=False)
    await services.resources.patch(other.id, state=State.STOPPED)
    assert (await publish(api, site, other)).json["data"]["version"]["state"] == "failed"
    async with Backend(_hello) as backend:
        await listen(services, other.id, backend.port, public=4000)
        fourth = (await publish(api, site, other)).json["data"]
    assert fourth["deployment"]["port"] == 4000
    answer = await api("POST", f"{path}/rollback")
    assert answer.status == 200
    assert (answer.json["data"]["active_version_id"], answer.json["data"]["port"]) == (first, 3000)
    found = await record(store, site["slug"])
    assert (found.default_port, found.endpoint and found.endpoint.port(3000)) == (3000, running.port)
    answer = await api("POST", f"{path}/rollback")
    assert (answer.status, answer.code) == (409, "conflict")
    assert answer.json["error"]["message"] == "no version before version 1 was live in production"
    answer = await api("POST", f"{path}/rollback", json={"version_id": fourth["version"]["id"]})
    assert answer.json["data"]["active_version_id"] == fourth["version"]["id"]
    releases = (await api("GET", f"{path}/releases")).json
    assert releases["page"] == {"page": 1, "page_size": 20, "total": 4}
    assert [(one["action"], one["version_number"], one["state"]) for one in releases["data"]] == [
        ("rollback", 4, "active"),
        ("rollback", 1, "superseded"),
        ("publish", 4, "superseded"),
        ("publish", 1, "superseded"),
    ]
    one = releases["data"][3]
    assert (await api("GET", f"{path}/releases/{one['id']}")).json == {"data": one}
    answer = await api("POST", f"{path}/releases/{one['id']}/promote")
    assert (answer.status, answer.json["data"]["active_version_id"]) == (200, first)


async def test_what_can_not_go_on_air(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, services: Services, acme: Account
) -> None:
    """A failed version, one whose sandbox is gone, the live one, and none at all: 409 in words."""
    path = f"/api/v1/deployments/{site['id']}"

    async def refused(words: str, to: str, body: object = None) -> None:
        answer = await api("POST", f"{path}/{to}", json=body)
        assert (answer.status, answer.code, answer.json["error"]["message"]) == (409, "conflict", words)

    await refused("no version is live in production", "rollback")
    first = (await publish(api, site, sandbox)).json["data"]["version"]["id"]
    other = await sandbox_of(services, acme, name="Other")
    async with program(services, other.id):
        second = (await publish(api, site, other)).json["data"]["version"]["id"]
    await services.resources.patch(other.id, state=State.STOPPED)
    failed = (await publish(api, site, other)).json["data"]["version"]["id"]
    await refused("version 3 is failed, not ready", f"versions/{failed}/promote")
    await refused("version 2 is live in production already", "rollback", {"version_id": second})
    await services.resources.delete(sandbox.id)
    gone = "nothing runs version 1 any more: its sandbox has been deleted"
    await refused(gone, "rollback")
    await refused(gone, f"versions/{first}/promote")
    await services.resources.endpoints.put(
        EndpointChange(resource_id=site["id"], version_id=first, address="10.0.9.9", generation="vm-1")
    )
    assert (await api("POST", f"{path}/rollback")).status == 200, "now the platform runs it"


async def test_environments(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, routes: Routes
) -> None:
    """Each environment points at a version of its own; hosts lead to production's."""
    path = f"/api/v1/deployments/{site['id']}"
    staged = (await publish(api, site, sandbox, environment="staging")).json["data"]
    assert (staged["promoted"], staged["release"]["environment"]) == (True, "staging")
    assert (staged["deployment"]["active_version_id"], staged["deployment"]["state"]) == (None, "pending")
    live = (await publish(api, site, sandbox)).json["data"]["version"]["id"]
    version = staged["version"]["id"]
    answer = await api("POST", f"{path}/versions/{live}/promote", json={"environment": "staging"})
    assert (answer.status, answer.json["data"]["active_version_id"]) == (200, live)
    answer = await api("POST", f"{path}/rollback", json={"environment": "staging"})
    assert (answer.status, answer.json["data"]["active_version_id"]) == (200, live), "production stays"
    answer = await api("POST", f"{path}/versions/{version}/promote")
    assert answer.json["data"]["active_version_id"] == version, "without a word it is production"
    answer = await api("POST", f"{path}/versions/{version}/promote", json={"environment": "No Good"})
    assert (answer.status, answer.fields) == (422, {"environment": ["has invalid format"]})


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"source_sandbox_id": None}, {"source_sandbox_id": ["can't be blank"]}),
        ({"source_sandbox_id": "sbx"}, {"source_sandbox_id": ["must be a UUID"]}),
        (
            {"kind": "container"},
            {"kind": ["is invalid: must be 'auto', 'static', 'dynamic' or 'sandbox_backed'"]},
        ),
        ({"port": 0}, {"port": ["must be greater than or equal to 1"]}),
        ({"port": 49983}, {"port": ["is reserved by the platform"]}),
        ({"port": "3000"}, {"port": ["is invalid"]}),
        ({"health_check_path": "healthz"}, {"health_check_path": ["has invalid format"]}),
        ({"health_check_path": "//evil.example/"}, {"health_check_path": ["has invalid format"]}),
        ({"health_check_path": "/a b"}, {"health_check_path": ["has invalid format"]}),
        ({"health_check_path": "/\r\nHost: x"}, {"health_check_path": ["has invalid format"]}),
        ({"promote": "no"}, {"promote": ["is invalid"]}),
        ({"data_services": ["a"] * 51}, {"data_services": ["should have at most 50 item(s)"]}),
        ({"environment": "../x"}, {"environment": ["has invalid format"]}),
    ],
)
async def test_what_publish_refuses(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, body: dict[str, Any], fields: dict[str, list[str]]
) -> None:
    """Wrong fields are named, and nothing is made of them."""
    answer = await publish(api, site, sandbox, **body)
    assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", fields)
    versions = await api("GET", f"/api/v1/deployments/{site['id']}/versions")
    assert versions.json["page"]["total"] == 0


async def test_a_sandbox_without_a_port(
    api: ApiClient, site: dict[str, Any], services: Services, acme: Account
) -> None:
    """Which port is meant must be known: the only one on which it listens, or the one that was exposed first."""
    be_impatient(services)
    portless = await sandbox_of(services, acme, default_port=None)
    assert (await publish(api, site, portless)).fields == {"port": ["can't be blank"]}

    async def published(*listening: int) -> Answered:
        change = EndpointChange(
            resource_id=portless.id, address="127.0.0.1", generation="1", ports=dict.fromkeys(listening, free_port())
        )
        await services.resources.endpoints.put(change)
        return await publish(api, site, portless)

    assert (await published(8000, 9000)).fields == {"port": ["can't be blank"]}
    assert (await published(8000)).json["data"]["version"]["runtime_port"] == 8000
    await services.previews.put(portless.id, 9000)
    assert (await published(8000, 9000)).json["data"]["version"]["runtime_port"] == 9000


async def test_others_sandboxes(
    api: ApiClient, site: dict[str, Any], acme: Account, globex: Account, services: Services, sandbox: Resource
) -> None:
    """Another tenant's sandbox is not there, one outside of a narrow key is refused; computers are no sandboxes."""
    foreign = await sandbox_of(services, globex)
    for unknown in (foreign.id, new_id(), site["id"]):
        answer = await publish(api, site, sandbox, source_sandbox_id=unknown)
        assert (answer.status, answer.code) == (404, "sandbox_not_found")
    outside, _ = await services.resources.put(
        new_id(), kind=sandbox.kind, slug="outside", tenant_id=acme.tenant.id, default_port=3000
    )
    path = f"/api/v1/deployments/{site['id']}/publish"
    body = {"source_sandbox_id": outside.id}
    assert (await api("POST", path, json=body, key=acme.workspace_key)).status == 403
    assert (await api("POST", path, json=body, key=acme.project_key)).status == 403
    path = f"/api/v1/sandboxes/{foreign.id}/deploy"
    assert (await api("POST", path, json={})).status == 404
    assert (await api("POST", f"/api/v1/sandboxes/{sandbox.id}/deploy", json={}, key=globex.key)).status == 404


async def test_publish_is_done_once(api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend) -> None:
    """The same Idempotency-Key again gets the same answer, and no second version."""
    path = f"/api/v1/deployments/{site['id']}/publish"
    body, headers = {"source_sandbox_id": sandbox.id}, {"Idempotency-Key": new_id()}
    first = await api("POST", path, json=body, headers=headers)
    again = await api("POST", path, json=body, headers=headers)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await api("GET", f"/api/v1/deployments/{site['id']}/versions")).json["page"]["total"] == 1


async def test_versions_are_listed_and_read_on(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, running: Backend, services: Services
) -> None:
    """The newest first, by condition, and by cursor: what is added meanwhile moves nothing."""
    for number in range(1, 6):
        await publish(api, site, sandbox, external_user_id=f"user-{number % 2}")
    path = f"/api/v1/deployments/{site['id']}/versions"
    first = (await api("GET", f"{path}?limit=2")).json
    assert [version["version_number"] for version in first["data"]] == [5, 4]
    assert first["page"] == {"page": 1, "page_size": 2, "total": 5, "next_cursor": "4"}
    await publish(api, site, sandbox)
    second = (await api("GET", f"{path}?limit=2&cursor={first['page']['next_cursor']}")).json
    assert [version["version_number"] for version in second["data"]] == [3, 2]
    third = (await api("GET", f"{path}?limit=2&cursor={second['page']['next_cursor']}")).json
    assert [version["version_number"] for version in third["data"]] == [1]
    assert third["page"]["next_cursor"] is None
    odd = (await api("GET", f"{path}?external_user_id=user-1&page_size=2&page=2")).json
    assert [version["version_number"] for version in odd["data"]] == [1]
    assert (await api("GET", f"{path}?state=failed")).json["data"] == []
    for wrong in ("cursor=x", "cursor=-1", "limit=0", "limit=x", "state=nice"):
        answer = await api("GET", f"{path}?{wrong}")
        assert (answer.status, list(answer.fields)) == (422, [wrong.partition("=")[0]])
    builds = (await api("GET", f"/api/v1/deployments/{site['id']}/builds?page_size=2")).json
    assert [build["version_number"] for build in builds["data"]] == [6, 5]
    assert builds["page"] == {"page": 1, "page_size": 2, "total": 6}


async def test_deploy_a_sandbox(api: ApiClient, sandbox: Resource, running: Backend, acme: Account) -> None:
    """The page's example: a deployment is made where there is none, in the sandbox's project, called like it."""
    body = {"kind": "static", "environment": "production", "external_workspace_id": "dental-office-123"}
    path = f"/api/v1/sandboxes/{sandbox.id}/deploy"
    answer = await api("POST", path, json=body)
    assert answer.status == 201
    made = answer.json["data"]
    deployment = made["deployment"]
    assert (deployment["name"], deployment["slug"]) == ("Smile Dental", "smile-dental")
    assert (deployment["project_id"], deployment["external_workspace_id"]) == (acme.project.id, "dental-office-123")
    assert (made["promoted"], made["deployment_id"], made["url"]) == (True, deployment["id"], deployment["public_url"])
    assert (made["version"]["kind"], made["version"]["external_workspace_id"]) == ("static", "dental-office-123")
    again = (await api("POST", path, json={})).json["data"]
    assert (again["deployment_id"], again["version"]["version_number"]) == (deployment["id"], 2), "the same one"
    named = (await api("POST", path, json={"name": "Another"})).json["data"]
    assert (named["deployment"]["slug"], named["version"]["version_number"]) == ("another", 1)
    again = (await api("POST", path, json={"name": "Another"})).json["data"]
    assert (again["deployment_id"], again["version"]["version_number"]) == (named["deployment_id"], 2)
    to = (await api("POST", path, json={"deployment_id": deployment["id"]})).json["data"]
    assert (to["deployment_id"], to["version"]["version_number"]) == (deployment["id"], 3)
    answer = await api("POST", path, json={"deployment_id": new_id()})
    assert (answer.status, answer.code) == (404, "deployment_not_found")


async def test_deploy_with_a_domain(
    api: ApiClient, sandbox: Resource, running: Backend, services: Services, globex: Account
) -> None:
    """The domain is registered for the deployment, once; one that can't be had is refused before anything is made."""
    path = f"/api/v1/sandboxes/{sandbox.id}/deploy"
    theirs = await sandbox_of(services, globex)
    await services.custom_domains.register(theirs.id, "taken.example")
    for domain, status in (("taken.example", 409), ("x.miosa.app", 422), ("127.0.0.1", 422)):
        answer = await api("POST", path, json={"custom_domain": domain})
        assert (answer.status, list(answer.fields)) == (status, ["domain"])
    assert (await api("GET", "/api/v1/deployments")).json["data"] == []
    for _ in range(2):
        made = (await api("POST", path, json={"domain": "smiledental.example"})).json["data"]
    domains = (await api("GET", f"/api/v1/deployments/{made['deployment_id']}/domains")).json["data"]
    assert [(domain["fqdn"], domain["status"]) for domain in domains] == [("smiledental.example", "pending")]
    assert made["deployment"]["custom_domain_id"] is None, "it leads nowhere yet"
    await verify_custom(services, domains[0]["id"])
    shown = (await api("GET", f"/api/v1/deployments/{made['deployment_id']}")).json["data"]
    assert shown["custom_domain_id"] == domains[0]["id"]


async def test_a_build_whose_process_died(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services, clock: ManualClock, store: Store
) -> None:
    """Past its deadline a build that still runs is failed, by whoever looks; before it nobody touches it."""
    now = clock.now()
    await listen(services, sandbox.id, free_port())
    version = await services.publishing.start(site["id"], Plan(source_sandbox_id=sandbox.id))
    await services.publishing._tasks.close()  # what a killed process does: it goes, and says nothing
    build = await services.releases.build(site["id"], version.build_id or "")
    assert build.state == "running"
    assert build.deadline_at is not None
    clock.advance((build.deadline_at - now).total_seconds())
    assert await services.publishing.fail_overdue() == 0
    clock.advance(1)
    assert await services.publishing.fail_overdue() == 1
    assert await services.publishing.fail_overdue() == 0
    build = await services.releases.build(site["id"], version.build_id or "")
    assert (build.state, build.error_message, build.finished_at) == ("failed", INTERRUPTED, clock.now())
    assert build.log.count("\n") == 2, "what it had said stays"
    assert (await services.releases.version(site["id"], version.id)).state == "failed"
    assert (await services.deployments.get(site["id"])).state == "failed"


async def test_a_node_that_ends_fails_its_builds(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services
) -> None:
    """Closing in order ends the builds under way, and says so at once."""
    asked = asyncio.Event()

    async def never(visit: Visit) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with program(services, sandbox.id, never):
        version = await services.publishing.start(site["id"], Plan(source_sandbox_id=sandbox.id, health_check_path="/"))
        await asked.wait()
        await services.publishing.close()
        build = await services.releases.build(site["id"], version.build_id or "")
    assert (build.state, build.error_message) == ("failed", INTERRUPTED)


async def test_a_deployment_that_is_deleted_meanwhile(
    api: ApiClient, site: dict[str, Any], sandbox: Resource, services: Services, routes: Routes
) -> None:
    """Its build fails, and it stays deleted."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(visit: Visit) -> None:
        asked.set()
        await go.wait()
        await visit.answer()

    async with program(services, sandbox.id, slow):
        version = await services.publishing.start(site["id"], Plan(source_sandbox_id=sandbox.id, health_check_path="/"))
        await asked.wait()
        assert (await api("DELETE", f"/api/v1/deployments/{site['id']}")).status == 200
        go.set()
        assert await services.publishing.wait(version.id, 5)
    assert await routes.leads_to(site["public_url"]) == "resource_deleted"
    assert (await api("GET", f"/api/v1/deployments/{site['id']}")).status == 404
    await eventually(lambda: not services.publishing._running, "no build is left")


async def _hello(visit: Visit) -> None:
    await visit.answer(b"hello")
