"""Whose requests wake a machine, and whether its traffic counts as use."""

import asyncio

import miosa
import pytest

from router.base.clock import ManualClock
from router.node.services import Services
from router.routes.records import ResourceRecord
from router.routes.wakes import Wake
from router.store import Store
from tests.support.api import ApiClient

pytestmark = pytest.mark.asyncio


async def said(store: Store, slug: str) -> tuple[Wake, bool]:
    """What the record of a resource says."""
    record = (await store.records.fetch([f"slug:{slug}"]))[f"slug:{slug}"]
    assert isinstance(record, ResourceRecord)
    return record.wake, record.keeps_awake


@pytest.mark.parametrize("noun", ["sandboxes", "computers"])
async def test_a_machines_own_word_comes_before_the_tenants(api: ApiClient, store: Store, noun: str) -> None:
    """From the first moment, and after each change; null goes back to the tenant's. Unless somebody says so nothing wakes."""
    made = (await api("POST", f"/api/v1/{noun}", json={"name": "Box", "slug": "box"})).json["data"]
    path = f"/api/v1/{noun}/{made['id']}"
    assert (made["wake"], made["keeps_awake"]) == (None, None)
    assert await said(store, "box") == (Wake.OFF, True)
    tenant = await api("PATCH", "/api/v1/tenant", json={"default_wake": "any", "default_keeps_awake": False})
    assert tenant.json["data"] | {"default_wake": "any", "default_keeps_awake": False} == tenant.json["data"]
    assert await said(store, "box") == (Wake.ANY, False)
    own = (await api("PATCH", path, json={"wake": "authorised", "keeps_awake": True})).json["data"]
    assert (own["wake"], own["keeps_awake"]) == ("authorised", True)
    assert await said(store, "box") == (Wake.AUTHORISED, True)
    assert (await api("PATCH", path, json={"name": "Other"})).json["data"]["wake"] == "authorised"
    assert (await api("PATCH", path, json={"wake": None, "keeps_awake": None})).json["data"]["wake"] is None
    assert await said(store, "box") == (Wake.ANY, False)
    await api("POST", f"/api/v1/{noun}", json={"name": "Late", "slug": "late", "wake": "off", "keeps_awake": True})
    assert await said(store, "late") == (Wake.OFF, True)


async def test_pings_count_unless_the_tenant_says_otherwise(api: ApiClient, store: Store) -> None:
    """Its records say so when the change is answered."""

    async def count() -> bool:
        record = (await store.records.fetch(["slug:box"]))["slug:box"]
        assert isinstance(record, ResourceRecord)
        return record.pings_keep_awake

    await api("POST", "/api/v1/sandboxes", json={"name": "Box", "slug": "box"})
    assert (await api("GET", "/api/v1/tenant")).json["data"]["pings_keep_awake"] is True
    assert await count()
    answer = await api("PATCH", "/api/v1/tenant", json={"pings_keep_awake": False})
    assert answer.json["data"]["pings_keep_awake"] is False
    assert not await count()
    assert (await api("PATCH", "/api/v1/tenant", json={"pings_keep_awake": "no"})).status == 422


@pytest.mark.parametrize("noun", ["sandboxes", "computers"])
async def test_a_machine_shows_its_last_use(api: ApiClient, services: Services, clock: ManualClock, noun: str) -> None:
    """Alone and in lists: apart from what keeps it awake, where its traffic does not; null where there was none."""
    made = (await api("POST", f"/api/v1/{noun}", json={"name": "Box"})).json["data"]
    path, names = f"/api/v1/{noun}/{made['id']}", ("last_activity_at", "last_uncounted_activity_at")

    def shown(machine: dict[str, object]) -> tuple[object, ...]:
        return tuple(machine[name] for name in names)

    assert shown(made) == (None, None)
    await services.resources.record_activity({made["id"]: clock.now()})
    at = made["created_at"]
    assert shown((await api("GET", path)).json["data"]) == (at, None)
    assert [shown(one) for one in (await api("GET", f"/api/v1/{noun}")).json["data"]] == [(at, None)]
    assert shown((await api("PATCH", path, json={"keeps_awake": False})).json["data"]) == (None, at)


async def test_the_official_client_has_the_last_use(
    api: ApiClient, client: miosa.Miosa, services: Services, clock: ManualClock
) -> None:
    """Among the fields of a computer or sandbox as the API gave them."""
    made = (await api("POST", "/api/v1/sandboxes", json={"name": "Box"})).json["data"]
    await services.resources.record_activity({made["id"]: clock.now()})
    found = await asyncio.to_thread(client.sandboxes.get, made["id"])
    assert found.data["last_activity_at"] == made["created_at"]


@pytest.mark.parametrize("body", [{"wake": "sometimes"}, {"wake": True}, {"wake": ""}, {"keeps_awake": "yes"}])
async def test_what_is_neither(api: ApiClient, body: dict[str, object]) -> None:
    """It is refused with the field's name, and changes nothing."""
    made = (await api("POST", "/api/v1/sandboxes", json={"wake": "any", "keeps_awake": False})).json["data"]
    (name,) = body
    answer = await api("PATCH", f"/api/v1/sandboxes/{made['id']}", json=body)
    assert (answer.status, list(answer.fields)) == (422, [name])
    answer = await api("PATCH", "/api/v1/tenant", json={f"default_{name}": body[name]})
    assert (answer.status, list(answer.fields)) == (422, [f"default_{name}"])
    assert (await api("PATCH", "/api/v1/tenant", json={"default_wake": None})).status == 422
    shown = (await api("GET", f"/api/v1/sandboxes/{made['id']}")).json["data"]
    assert (shown["wake"], shown["keeps_awake"]) == ("any", False)


async def test_the_official_client_loads_such_a_machine(api: ApiClient, client: miosa.Miosa) -> None:
    """Fields that it does not know are no error for it."""
    made = (await api("POST", "/api/v1/sandboxes", json={"wake": "any", "keeps_awake": False})).json["data"]
    assert (await asyncio.to_thread(client.sandboxes.get, made["id"])).id == made["id"]
    assert [one.id for one in await asyncio.to_thread(client.sandboxes.list)] == [made["id"]]
