"""Captures over the API: switched on for a while, seen who has done it, read, and deleted."""

from typing import Any
from uuid import UUID

import pytest

from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.base.secret_box import SecretBox
from router.errors import RouterError
from router.node.services import Services
from router.records.captures import CaptureCodec
from router.records.kept import KeptRecords
from router.records.masking import Masks
from router.records.record import RecordFilter
from router.records.request_logs import RequestLogs
from router.routes.records import Kind, ResourceRecord, slug_key
from router.store import Store
from tests.contract.api.conftest import Carried
from tests.contract.api.test_request_logs import Shop, shop  # noqa: F401 - a fixture
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.request_records import told

pytestmark = pytest.mark.asyncio

CAPTURED = "0 1234 100000 0 0 0 4 1 203.0.113.0/24  "


async def captured(services: Services, shop: Shop, **changes: Any) -> str:  # noqa: F811
    """Have a request of the shop recorded and captured; its record's id."""
    kept, codec = services.request_logs._kept, services.request_logs._codec
    assert kept is not None
    assert codec is not None
    await shop.visit("req-0", details=CAPTURED)
    tenant = str(UUID(bytes=shop.tenant))
    await kept.keep([codec.stored(told(tenant=tenant, resource=shop.id, at=shop.now / 1e6, **changes))])
    return str((await kept.find(RecordFilter(tenant=shop.tenant), limit=1))[0].id)


async def test_switched_on_for_a_while(api: ApiClient, services: Services, shop: Shop, clock: ManualClock) -> None:  # noqa: F811
    """Until it ends by itself; who wanted it is seen, also by others, and every node hears of it by the resource's record."""
    path = f"{shop.path}/request-capture"
    off = (await api("GET", path)).json["data"]
    assert off == {"resource_id": shop.id, "active": False, "started_at": None, "ends_at": None, "started_by": None}
    on = (await api("PUT", path, json={"duration_seconds": 60})).json["data"]
    assert on["active"]
    assert on["started_by"].startswith("key:")
    assert (on["started_at"], on["ends_at"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")
    assert (await api("GET", path)).json["data"] == on
    clock.advance(60)
    over = (await api("GET", path)).json["data"]
    assert over == {**on, "active": False}
    assert (await api("PUT", path, json={})).json["data"]["ends_at"] == "2026-01-01T00:16:00Z"
    assert (await api("DELETE", path)).json["data"] == off
    assert (await api("DELETE", path)).json["data"] == off


@pytest.mark.parametrize("seconds", [0, -1, 3601, 1.5, "60", None, True])
async def test_durations_that_are_refused(api: ApiClient, shop: Shop, seconds: Any) -> None:  # noqa: F811
    """An hour is the most."""
    answer = await api("PUT", f"{shop.path}/request-capture", json={"duration_seconds": seconds})
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert list(answer.fields) == ["duration_seconds"]


async def test_the_proxy_hears_of_it(api: ApiClient, services: Services, shop: Shop, store: Store) -> None:  # noqa: F811
    """In the record that routes are made of."""
    await api("PUT", f"{shop.path}/request-capture", json={"duration_seconds": 60})
    key = slug_key("shop")
    for seconds, until in ((60, 1767225660.0), (None, 0.0)):
        if seconds is None:
            await api("DELETE", f"{shop.path}/request-capture")
        record = (await store.records.fetch([key]))[key]
        assert isinstance(record, ResourceRecord)
        assert record.capture_until == until


async def test_a_capture_as_it_is_shown(api: ApiClient, services: Services, shop: Shop) -> None:  # noqa: F811
    """Headers and bodies, without secrets."""
    record = await captured(services, shop)
    (item,) = (await api("GET", f"{shop.path}/request-logs")).json["data"]["items"]
    assert (item["id"], item["captured"]) == (record, True)
    shown = (await api("GET", f"/api/v1/request-logs/{record}/capture")).json["data"]
    assert "hush" not in str(shown)
    assert shown["request"].pop("headers")[:2] == [
        {"name": "Host", "value": "shop.miosa.app", "cut": False, "masked": False},
        {"name": "Cookie", "value": "***", "cut": False, "masked": True},
    ]
    assert shown == {
        "id": record,
        "resource_id": shop.id,
        "request_id": "req-0",
        "host": "shop.miosa.app",
        "request": {
            "method": "POST",
            "target": "/login?next=/&token=***",
            "scheme": "https",
            "version": 1,
            "headers_cut": False,
            "upgrade": False,
            "body": {
                "text": '{"user": "ada", "password": "***"}',
                "base64": None,
                "size": 35,
                "whole": True,
                "masked": True,
                "content_type": "application/json",
                "content_encoding": None,
            },
        },
        "response": {
            "status": 200,
            "headers": [{"name": "Content-Type", "value": "text/plain", "cut": False, "masked": False}],
            "headers_cut": False,
            "body": {
                "text": "welcome",
                "base64": None,
                "size": 7,
                "whole": True,
                "masked": False,
                "content_type": "text/plain",
                "content_encoding": None,
            },
        },
    }


@pytest.mark.parametrize(
    ("body", "text", "encoded"),
    [
        ("8J+Y", "", "8J+Y"),
        ("YfCfmA==", "a", None),
        ("AAE=", None, "AAE="),
        ("/w==", None, "/w=="),
    ],
    ids=["half a character", "cut in a character", "binary", "no utf-8"],
)
async def test_bodies_as_they_are_shown(
    api: ApiClient,
    services: Services,
    shop: Shop,  # noqa: F811
    body: str,
    text: str | None,
    encoded: str | None,
) -> None:
    """As text where they are, else in base64."""
    record = await captured(services, shop, response={"body": body, "body_size": 99, "body_whole": False})
    shown = (await api("GET", f"/api/v1/request-logs/{record}/capture")).json["data"]["response"]["body"]
    assert (shown["text"] or "", shown["base64"]) == (text or "", encoded)
    assert (shown["size"], shown["whole"]) == (99, False)


async def test_deleted_with_purge(api: ApiClient, services: Services, shop: Shop) -> None:  # noqa: F811
    """At once; without it captures go with their records."""
    record = await captured(services, shop)
    await api("DELETE", f"{shop.path}/request-capture")
    assert (await api("GET", f"/api/v1/request-logs/{record}/capture")).status == 200
    await api("DELETE", f"{shop.path}/request-capture?purge=true")
    gone = await api("GET", f"/api/v1/request-logs/{record}/capture")
    assert (gone.status, gone.code) == (404, "capture_not_found")


async def test_of_what_nothing_was_captured(api: ApiClient, shop: Shop) -> None:  # noqa: F811
    """Nor of what is no record."""
    await shop.visit("a")
    (item,) = (await api("GET", f"{shop.path}/request-logs")).json["data"]["items"]
    answer = await api("GET", f"/api/v1/request-logs/{item['id']}/capture")
    assert (answer.status, answer.code) == (404, "capture_not_found")
    for wrong in ("1", "x", "9" * 30, str(int(item["id"]) + 1)):
        answer = await api("GET", f"/api/v1/request-logs/{wrong}/capture")
        assert (answer.status, answer.code) == (404, "request_log_not_found"), wrong


async def test_of_whom(api: ApiClient, services: Services, shop: Shop, acme: Account, globex: Account) -> None:  # noqa: F811
    """Of one's own alone: neither another tenant nor a key of another project gets it, nor anybody once the resource is gone."""
    record = await captured(services, shop)
    path = f"/api/v1/request-logs/{record}/capture"
    other = await services.projects.create(acme.tenant.id, name="Other", workspace_id=acme.project.workspace_id)
    _, narrow = await services.keys.create(acme.tenant.id, scope=KeyScope.PROJECT, scope_id=other.id)
    assert (await api("GET", path, key=globex.key)).status == 404
    assert (await api("GET", path, key=narrow)).status == 403
    await services.deployments.delete(shop.id)
    assert (await api("GET", path)).status == 404


async def test_sealed_where_there_is_a_key(
    services: Services,
    shop: Shop,  # noqa: F811
    kept: KeptRecords,
    clock: ManualClock,
) -> None:
    """The store has nothing to read; with another key nobody reads it."""
    record_id = await captured(services, shop)
    stored = await kept.capture(shop.tenant, UUID(shop.id).bytes, "req-0", shop.now)
    assert stored is not None
    assert stored.data.startswith("1.")
    assert "welcome" not in stored.data
    other = RequestLogs(kept, clock, codec=CaptureCodec(Masks(), SecretBox([b"k" * 32])))
    record = await other.record(shop.tenant, int(record_id))
    with pytest.raises(RouterError, match="no longer has") as caught:
        await other.capture(record)
    assert caught.value.code == "capture_not_found"


async def test_where_nothing_is_captured(api: ApiClient, services: Services, shop: Shop) -> None:  # noqa: F811
    """`records.captures` is off: said so, and nothing is switched on."""
    services.request_logs._codec = None
    for method, path in (
        ("PUT", f"{shop.path}/request-capture"),
        ("DELETE", f"{shop.path}/request-capture?purge=true"),
    ):
        answer = await api(method, path, json={} if method == "PUT" else None)
        assert answer.code == "not_served_here", (method, answer.body)
    assert not (await api("GET", f"{shop.path}/request-capture")).json["data"]["active"]


async def test_machines_too(api: ApiClient, services: Services, acme: Account) -> None:
    """Sandboxes and computers as deployments."""
    for kind, plural in ((Kind.SANDBOX, "sandboxes"), (Kind.COMPUTER, "computers")):
        machine = await services.resources.create(kind, acme.tenant.id)
        answer = await api("PUT", f"/api/v1/{plural}/{machine.id}/request-capture", json={})
        assert answer.json["data"]["active"], answer.body


async def test_a_replay(api: ApiClient, services: Services, shop: Shop, carried: Carried) -> None:  # noqa: F811
    """What was masked is asked for by its name; what is given goes where it was, from the address of who calls."""
    record = await captured(services, shop)
    path = f"/api/v1/request-logs/{record}/replay"
    refused = await api("POST", path, json={})
    assert refused.status == 422
    assert set(refused.fields) == {"headers.cookie", "query.token", "body"}
    assert carried.orders == []
    body = {"headers": {"Cookie": None}, "query": {"token": "t"}, "body": '{"user": "ada", "password": "p"}'}
    done = await api("POST", path, json=body)
    assert done.status == 200, done.body
    (order,) = carried.orders
    assert (order["host"], order["method"], order["target"]) == ("shop.miosa.app", "POST", "/login?next=/&token=t")
    assert order["client"] == "127.0.0.1"
    shown = done.json["data"]
    assert shown["response"].pop("body")["size"] == 0
    assert shown.pop("request_id") == order["request_id"]
    new = shown.pop("id")
    assert (await api("GET", f"/api/v1/request-logs?request_id={order['request_id']}")).json["data"]["items"][0][
        "id"
    ] == new
    assert shown == {
        "replay_of": record,
        "resource_id": shop.id,
        "status": 204,
        "ending": "--",
        "ending_text": "complete",
        "error": None,
        "in_time": True,
        "response": {"status": 204, "headers": [], "headers_cut": False},
    }


async def test_a_replay_of_what_is_not_ones_own(
    api: ApiClient,
    services: Services,
    shop: Shop,  # noqa: F811
    globex: Account,
    carried: Carried,
) -> None:
    """Nothing is sent; nor of a resource that is gone, nor where the host leads elsewhere."""
    record = await captured(services, shop, request={"target": "/", "headers": [], "body": "", "body_size": 0})
    path = f"/api/v1/request-logs/{record}/replay"
    assert (await api("POST", path, json={}, key=globex.key)).status == 404
    carried.answer = {"refused": "elsewhere"}
    moved = await api("POST", path, json={})
    assert (moved.status, moved.code) == (409, "conflict")
    await services.deployments.delete(shop.id)
    assert (await api("POST", path, json={})).status == 404
    assert len(carried.orders) == 1
