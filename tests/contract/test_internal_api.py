"""/internal/v1 on a real store: the platform's news, and what is refused of them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from router.api.internal.activity import InternalActivity
from router.api.internal.endpoints import InternalEndpoints
from router.api.internal.resources import InternalResources
from router.base.clock import ManualClock
from router.base.ids import new_id
from router.jobs.activity import ActivityFeed
from router.routes.records import ResourceRecord, slug_key
from router.routes.wakes import Wake
from tests.support.api import ApiClient, KnownCredentials, serving
from tests.support.world import World

pytestmark = pytest.mark.asyncio

NOBODY = "3086d9a5-64b8-4b79-96b8-b404634d1b5b"

ENDPOINT: dict[str, Any] = {"address": "10.0.3.7", "generation": "boot-42", "state": "running", "ports": {"5173": 8000}}


@pytest_asyncio.fixture
async def api(world: World, clock: ManualClock) -> AsyncIterator[ApiClient]:
    resources = [
        InternalResources(world.resources),
        InternalEndpoints(world.resources.endpoints),
        InternalActivity(ActivityFeed(used=lambda _: {}, rows=world.resources, clock=clock)),
    ]
    async with serving(resources, KnownCredentials({}, internal="t"), key="t", clock=clock) as client:
        yield client


@pytest_asyncio.fixture
async def tenant(world: World) -> str:
    return (await world.tenant("Acme")).id


def sandbox(tenant: str, **fields: object) -> dict[str, object]:
    return {"kind": "sandbox", "slug": "sbx01j9x", "tenant_id": tenant, "default_port": 3000, **fields}


async def record(world: World, slug: str) -> ResourceRecord | None:
    found = (await world.store.records.fetch([slug_key(slug)]))[slug_key(slug)]
    assert found is None or isinstance(found, ResourceRecord)
    return found


async def test_resource_is_created_then_updated(api: ApiClient, tenant: str, world: World) -> None:
    """The first PUT creates (201), the same again changes nothing (200), another one updates what it names."""
    path = f"/internal/v1/resources/{new_id()}"
    first = await api(
        "PUT",
        path,
        json=sandbox(
            tenant,
            exposed_ports=[5173, 80],
            host_modes={"5173": "localhost"},
            schemes={"80": "https"},
            protocols={"80": "h2c"},
        ),
    )
    again = await api(
        "PUT",
        path,
        json=sandbox(
            tenant,
            exposed_ports=[80, 5173],
            host_modes={"5173": "localhost"},
            schemes={"80": "https"},
            protocols={"80": "h2c"},
        ),
    )
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    shown = first.json["data"]
    assert (shown["exposed_ports"], shown["host_modes"]) == ([80, 5173], {"5173": "localhost"})
    assert (shown["schemes"], shown["protocols"]) == ({"80": "https"}, {"80": "h2c"})
    assert (shown["state"], shown["suspended"]) == ("provisioning", False)
    assert shown["workspace_id"]
    assert shown["project_id"]
    assert (await api("GET", path)).json == first.json
    update = await api("PUT", path, json=sandbox(tenant, default_port=None))
    assert update.json["data"]["default_port"] is None
    assert update.json["data"]["exposed_ports"] == [80, 5173], "what is not named stays"
    found = await record(world, "sbx01j9x")
    assert found is not None
    assert found.exposed_ports == frozenset({80, 5173})


async def test_change_is_stored_when_it_is_answered(api: ApiClient, tenant: str, world: World) -> None:
    """Operation, state and suspension are in the routing record as soon as the answer is there."""
    resource = new_id()
    await api("PUT", f"/internal/v1/resources/{resource}", json=sandbox(tenant))
    answer = await api("PUT", f"/internal/v1/endpoints/{resource}", json=ENDPOINT)
    assert answer.status == 200
    assert answer.json["data"] | {"updated_at": None} == {
        "resource_id": resource,
        "version_id": None,
        "address": "10.0.3.7",
        "generation": "boot-42",
        "state": "running",
        "ports": {"5173": 8000},
        "listening": None,
        "updated_at": None,
    }
    found = await record(world, "sbx01j9x")
    assert found is not None
    assert found.endpoint is not None
    assert (found.endpoint.address, found.endpoint.port(5173), found.state) == ("10.0.3.7", 8000, "running")
    await api("PATCH", f"/internal/v1/resources/{resource}", json={"state": "stopped", "suspended": True})
    found = await record(world, "sbx01j9x")
    assert found is not None
    assert (found.state, found.suspended) == ("stopped", True)
    assert (await api("GET", f"/internal/v1/endpoints/{resource}")).json["data"]["address"] == "10.0.3.7"
    gone = await api("DELETE", f"/internal/v1/endpoints/{resource}")
    assert gone.json == {"data": {"resource_id": resource, "deleted": True}}
    assert (await api("GET", f"/internal/v1/endpoints/{resource}")).status == 404
    assert (await api("DELETE", f"/internal/v1/endpoints/{resource}")).status == 404


async def test_deleted_resource(api: ApiClient, tenant: str) -> None:
    """DELETE and the state `destroyed` are for good: nothing is found any more, and the id stays used."""
    for end in (("DELETE", None), ("PATCH", {"state": "destroyed"})):
        path = f"/internal/v1/resources/{new_id()}"
        body = sandbox(tenant, slug=f"sbx{new_id()[:8]}")
        await api("PUT", path, json=body)
        answer = await api(end[0], path, json=end[1])
        assert (answer.status, answer.json["data"]["state"]) == (200, "destroyed")
        assert (await api("GET", path)).status == 404
        assert (await api("DELETE", path)).status == 404
        assert (await api("PUT", path, json=body)).status == 409


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_unknown_resource(api: ApiClient, method: str) -> None:
    """What was never told of is 404."""
    body = {"state": "running"} if method == "PATCH" else None
    assert (await api(method, f"/internal/v1/resources/{new_id()}", json=body)).status == 404


async def test_unknown_field_of_a_change(api: ApiClient, tenant: str) -> None:
    """A PATCH that names a field which does not exist is 422 with that field, and changes nothing."""
    path = f"/internal/v1/resources/{new_id()}"
    await api("PUT", path, json=sandbox(tenant))
    answer = await api("PATCH", path, json={"state": "running", "suspend": True})
    assert (answer.status, answer.fields) == (422, {"suspend": ["is not a field of this request"]})
    assert (await api("GET", path)).json["data"]["state"] == "provisioning"


async def test_slug_of_another(api: ApiClient, tenant: str) -> None:
    """A slug belongs to one resource on the whole platform: 409 for everybody else."""
    await api("PUT", f"/internal/v1/resources/{new_id()}", json=sandbox(tenant))
    answer = await api("PUT", f"/internal/v1/resources/{new_id()}", json=sandbox(tenant))
    assert (answer.status, answer.code) == (409, "conflict")
    assert answer.fields == {"slug": ["has already been taken"]}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"kind": "database"}, {"kind"}),
        ({"slug": "-x"}, {"slug"}),
        ({"slug": "www"}, {"slug"}),
        ({"slug": "3000-x"}, {"slug"}),
        ({"slug": 5}, {"slug"}),
        ({"tenant_id": "acme"}, {"tenant_id"}),
        ({"tenant_id": NOBODY}, {"tenant_id"}),
        ({"workspace_id": NOBODY}, {"workspace_id"}),
        ({"project_id": NOBODY}, {"project_id"}),
        ({"default_port": 0}, {"default_port"}),
        ({"default_port": 65536}, {"default_port"}),
        ({"default_port": "3000"}, {"default_port"}),
        ({"default_port": 49983}, {"default_port"}),
        ({"exposed_ports": [80, 70000]}, {"exposed_ports.1"}),
        ({"exposed_ports": [49983]}, {"exposed_ports"}),
        ({"exposed_ports": None}, {"exposed_ports"}),
        ({"host_modes": {"http": "localhost"}}, {"host_modes.http"}),
        ({"host_modes": {"80": "not a host"}}, {"host_modes.80"}),
        ({"schemes": {"80": "ftp"}}, {"schemes"}),
        ({"protocols": {"80": "h3"}}, {"protocols"}),
        ({"protocols": {"0": "h2c"}}, {"protocols.0"}),
        ({"schemes": {"http": "https"}}, {"schemes.http"}),
        ({"first_byte": 0}, {"first_byte"}),
        ({"size": "huge"}, {"size"}),
    ],
    ids=str,
)
async def test_wrong_fields_of_a_resource(
    api: ApiClient, tenant: str, fields: dict[str, object], wrong: set[str]
) -> None:
    """Each mistake is 422 with the field's name, and nothing is stored."""
    path = f"/internal/v1/resources/{new_id()}"
    answer = await api("PUT", path, json=sandbox(tenant, **fields))
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert set(answer.fields) == wrong
    assert (await api("GET", path)).status == 404


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"address": "8.8.8.8"}, {"address"}),
        ({"address": "169.254.169.254"}, {"address"}),
        ({"address": "fe80::1"}, {"address"}),
        ({"address": "0.0.0.0"}, {"address"}),
        ({"address": "example.com"}, {"address"}),
        ({"address": 5}, {"address"}),
        ({"address": "127.0.0.1", "ports": {"3000": 8081}}, {"address"}),
        ({"generation": ""}, {"generation"}),
        ({"generation": None}, {"generation"}),
        ({"state": "dancing"}, {"state"}),
        ({"state": "destroyed"}, {"state"}),
        ({"ports": {"0": 80}}, {"ports.0"}),
        ({"ports": {"80": 0}}, {"ports.80"}),
        ({"ports": {"80": "80"}}, {"ports.80"}),
        ({"ports": [80]}, {"ports"}),
        ({"listening": [{"port": 0, "address": "::"}]}, {"listening.0.port"}),
        ({"listening": [{"port": 80}]}, {"listening.0.address"}),
        ({"listening": [{"port": 80, "address": "localhost"}]}, {"listening"}),
        ({"listening": [{"port": 80, "address": "fe80::1%eth0"}]}, {"listening"}),
        ({"listening": [{"port": 80, "address": "::"}] * 33}, {"listening"}),
        ({"listening": {"80": "::"}}, {"listening"}),
        ({"version_id": NOBODY}, {"version_id"}),
    ],
    ids=str,
)
async def test_wrong_fields_of_an_endpoint(
    api: ApiClient, tenant: str, fields: dict[str, object], wrong: set[str]
) -> None:
    """An address outside the backend networks, on link-local, metadata or our own listeners is refused by its field."""
    resource = new_id()
    await api("PUT", f"/internal/v1/resources/{resource}", json=sandbox(tenant))
    answer = await api("PUT", f"/internal/v1/endpoints/{resource}", json=ENDPOINT | fields)
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert set(answer.fields) == wrong
    assert (await api("GET", f"/internal/v1/endpoints/{resource}")).status == 404


async def test_what_listens_inside(api: ApiClient, tenant: str, world: World) -> None:
    """It is shown again and reaches the routing record; a report without it forgets it, since it may be old."""
    resource = new_id()
    await api("PUT", f"/internal/v1/resources/{resource}", json=sandbox(tenant))
    listening = [{"port": 3000, "address": "127.0.0.1"}, {"port": 8000, "address": "::"}]
    for reported, kept in ((listening, ((3000, "127.0.0.1"), (8000, "::"))), ([], ()), (None, None)):
        body = ENDPOINT if reported is None else ENDPOINT | {"listening": reported}
        answer = await api("PUT", f"/internal/v1/endpoints/{resource}", json=body)
        assert (answer.status, answer.json["data"]["listening"]) == (200, reported)
        found = await record(world, "sbx01j9x")
        assert found is not None
        assert found.endpoint is not None
        assert found.endpoint.listening == kept


async def test_endpoint_of_nothing(api: ApiClient) -> None:
    """An endpoint needs its resource."""
    assert (await api("PUT", f"/internal/v1/endpoints/{new_id()}", json=ENDPOINT)).status == 404


async def test_batch(api: ApiClient, tenant: str) -> None:
    """The right items are stored, each wrong one says what is wrong with it, in the order they were sent."""
    ids = [new_id() for _ in range(3)]
    for number, resource in enumerate(ids[:2]):
        body = sandbox(tenant, slug=f"batch{number}")
        assert (await api("PUT", f"/internal/v1/resources/{resource}", json=body)).status == 201
    items = [
        {"resource_id": ids[0], **ENDPOINT},
        {"resource_id": ids[1], **ENDPOINT, "address": "8.8.8.8"},
        {"resource_id": ids[2], **ENDPOINT},
    ]
    answer = await api("POST", "/internal/v1/endpoints/batch", json={"endpoints": items})
    assert answer.status == 200
    results = answer.json["data"]
    assert [(item["resource_id"], item["stored"]) for item in results] == list(
        zip(ids, [True, False, False], strict=True)
    )
    assert results[0]["error"] is None
    assert results[1]["error"]["fields"] == {"address": ["is outside the backend networks"]}
    assert results[2]["error"]["code"] == "not_found"
    assert (await api("GET", f"/internal/v1/endpoints/{ids[0]}")).status == 200
    assert (await api("GET", f"/internal/v1/endpoints/{ids[1]}")).status == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"endpoints": {}}, {"endpoints": [{}]}, {"endpoints": [{"resource_id": "x", **ENDPOINT}]}],
    ids=str,
)
async def test_batch_of_the_wrong_shape(api: ApiClient, body: dict[str, object]) -> None:
    """A batch whose items are not items is refused as a whole."""
    assert (await api("POST", "/internal/v1/endpoints/batch", json=body)).status == 422


async def test_batch_has_a_bound(api: ApiClient) -> None:
    """A thousand at once is enough."""
    items = [{"resource_id": new_id(), **ENDPOINT} for _ in range(1001)]
    answer = await api("POST", "/internal/v1/endpoints/batch", json={"endpoints": items})
    assert answer.fields == {"endpoints": ["should have at most 1000 item(s)"]}


async def test_repeated_with_an_idempotency_key(api: ApiClient, tenant: str) -> None:
    """The platform may use Idempotency-Key too."""
    path, headers = f"/internal/v1/resources/{new_id()}", {"Idempotency-Key": "k"}
    first = await api("PUT", path, json=sandbox(tenant), headers=headers)
    again = await api("PUT", path, json=sandbox(tenant), headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_activity(api: ApiClient, tenant: str, world: World) -> None:
    """The latest first; `since` leaves out what is older. What does not keep its resource awake is told apart from what does."""
    ids = [new_id(), new_id()]
    for number, resource in enumerate(ids):
        await api("PUT", f"/internal/v1/resources/{resource}", json=sandbox(tenant, slug=f"sbx{number}"))
    seen = {ids[0]: datetime(2026, 5, 17, 10, tzinfo=UTC), ids[1]: datetime(2026, 5, 17, 11, tzinfo=UTC)}
    await world.resources.record_activity(seen)
    early = {
        "resource_id": ids[0],
        "last_activity_at": "2026-05-17T10:00:00Z",
        "last_uncounted_activity_at": None,
    }
    late = {"resource_id": ids[1], "last_activity_at": "2026-05-17T11:00:00Z", "last_uncounted_activity_at": None}
    assert (await api("GET", "/internal/v1/activity")).json == {"data": [late, early]}
    for since in ("2026-05-17T11:00:00Z", "2026-05-17T12:30:00%2B02:00", "2026-05-17t10:00:00.5z"):
        assert (await api("GET", f"/internal/v1/activity?since={since}")).json == {"data": [late]}
    quiet = sandbox(tenant, slug="sbx0", keeps_awake=False)
    await api("PUT", f"/internal/v1/resources/{ids[0]}", json=quiet)
    early |= {"last_activity_at": None, "last_uncounted_activity_at": "2026-05-17T10:00:00Z"}
    assert (await api("GET", "/internal/v1/activity")).json == {"data": [late, early]}


@pytest.mark.parametrize(
    "since",
    [
        "",
        "yesterday",
        "1747476000",
        "2026-05-17",
        "2026-05-17T10:00:00",
        "2026-02-30T10:00:00Z",
        "0001-01-01T00:00:00%2B10:00",
    ],
)
async def test_activity_since_what_is_no_time(api: ApiClient, since: str) -> None:
    """`since` is a time with its offset."""
    assert (await api("GET", f"/internal/v1/activity?since={since}")).fields == {"since": ["is invalid"]}


async def test_who_may_wake_it(api: ApiClient, tenant: str, world: World) -> None:
    """The platform says it when it registers a resource, and later; what it does not send keeps its value."""
    path = f"/internal/v1/resources/{new_id()}"

    async def said(**fields: object) -> tuple[object, object, Wake, bool]:
        shown = (await api("PUT", path, json=sandbox(tenant, **fields))).json["data"]
        found = await record(world, "sbx01j9x")
        assert found is not None
        return shown["wake"], shown["keeps_awake"], found.wake, found.keeps_awake

    assert await said(wake="any", keeps_awake=False) == ("any", False, Wake.ANY, False)
    assert await said() == ("any", False, Wake.ANY, False)
    assert await said(wake=None, keeps_awake=None) == (None, None, Wake.OFF, True)
    refused = await api("PUT", path, json=sandbox(tenant, wake="sometimes", keeps_awake="no"))
    assert (refused.status, set(refused.fields)) == (422, {"wake", "keeps_awake"})
