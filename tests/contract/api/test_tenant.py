"""/tenant: what it is, has, and looks like."""

import asyncio
import base64
from typing import Any

import miosa
import pytest

from router.base.ids import new_id
from router.errors import PORT_CLOSED
from router.node.services import Services
from router.pages import Pages
from router.pages.negotiation import Form
from router.routes.records import Kind, name_key, slug_key
from router.store import Store
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_custom

pytestmark = pytest.mark.asyncio

LOGO = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
MARKS = {
    "product_name": "ClinicIQ",
    "logo_url": LOGO,
    "support_url": "https://cliniciq.dev/help",
    "support_email": "help@cliniciq.dev",
    "primary_color": "#e11d48",
    "primary_color_dark": "#fb7185",
    "background_color": "#fff1f2",
}
NONE = dict.fromkeys(MARKS)


async def test_tenant(api: ApiClient, acme: Account) -> None:
    """The caller's own tenant, whatever else there is."""
    answer = await api("GET", "/api/v1/tenant")
    assert answer.status == 200
    shown = {"id": acme.tenant.id, "slug": "acme", "name": "Acme", "plan": "free", "auto_expose": False}
    assert answer.json["data"] | shown == answer.json["data"]


async def test_update(api: ApiClient, acme: Account, services: Services, store: Store) -> None:
    """`auto_expose` makes every port of every resource routable when the call returns."""
    await services.resources.create(Kind.SANDBOX, acme.tenant.id, slug="sbxopen")
    key = slug_key("sbxopen")
    assert (await store.records.fetch([key]))[key].exposed_ports == frozenset()  # type: ignore[union-attr]
    answer = await api("PATCH", "/api/v1/tenant", json={"auto_expose": True, "name": "Acme Inc"})
    assert (answer.status, answer.json["data"]["name"], answer.json["data"]["auto_expose"]) == (200, "Acme Inc", True)
    assert (await store.records.fetch([key]))[key].exposed_ports is None  # type: ignore[union-attr]
    answer = await api("PATCH", "/api/v1/tenant", json={"auto_expose": None, "name": ""})
    assert answer.fields == {"auto_expose": ["can't be blank"], "name": ["can't be blank"]}


async def test_plan(api: ApiClient, acme: Account, globex: Account, services: Services) -> None:
    """Plan, limits and what the tenant has; deleted and other tenants' things do not count."""
    made = [await services.resources.create(kind, acme.tenant.id) for kind in (*Kind, Kind.SANDBOX)]
    await services.resources.delete(made[0].id)
    await services.custom_domains.register(made[2].id, "app.acme.example")
    answer = await api("GET", "/api/v1/tenant/plan")
    assert answer.status == 200
    assert answer.json == {
        "data": {
            "tenant_id": acme.tenant.id,
            "name": "Acme",
            "plan": "free",
            "limits": {"requests_per_minute": 300, "exchanges_per_resource": 256},
            "usage": {
                "workspaces": 2,
                "projects": 2,
                "sandboxes": 1,
                "computers": 1,
                "deployments": 1,
                "custom_domains": 1,
            },
        }
    }


async def test_branding(api: ApiClient) -> None:
    """Marks are set as a whole, and cleared."""
    assert (await api("GET", "/api/v1/tenant/branding")).json == {"data": NONE}
    answer = await api("PUT", "/api/v1/tenant/branding", json={"branding": MARKS})
    assert (answer.status, answer.json) == (200, {"data": MARKS})
    answer = await api("PUT", "/api/v1/tenant/branding", json={"branding": {"product_name": "X", "logo_url": None}})
    assert answer.json == {"data": NONE | {"product_name": "X"}}
    assert (await api("GET", "/api/v1/tenant/branding")).json == answer.json
    answer = await api("DELETE", "/api/v1/tenant/branding")
    assert (answer.status, answer.json) == (200, {"deleted": True})
    assert (await api("GET", "/api/v1/tenant/branding")).json == {"data": NONE}


@pytest.mark.parametrize(
    ("marks", "field", "words"),
    [
        ({"primary_color": "red"}, "primary_color", "has invalid format"),
        ({"product_name": "x" * 61}, "product_name", "should be at most 60 character(s)"),
        ({"product_name": " "}, "product_name", "can't be blank"),
        ({"support_url": "javascript:alert(1)"}, "support_url", "has invalid format"),
        ({"support_email": "help"}, "support_email", "has invalid format"),
        (
            {"logo_url": "http://x.example/a.png"},
            "logo_url",
            "has invalid format",
        ),
        (
            {"logo_url": "data:text/html;base64,AAAA"},
            "logo_url",
            "has invalid format",
        ),
        ({"logo_url": 5}, "logo_url", "is invalid"),
    ],
)
async def test_branding_refuses(api: ApiClient, marks: dict[str, Any], field: str, words: str) -> None:
    """What could not be shown is not taken: it lands in pages of ours."""
    answer = await api("PUT", "/api/v1/tenant/branding", json={"branding": marks})
    assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", {f"branding.{field}": [words]})
    unwrapped = (await api("PUT", "/api/v1/tenant/branding", json=marks)).fields
    assert unwrapped == {"branding": ["can't be blank"], field: ["is not a field of this request"]}


async def test_pages_show_the_marks(
    api: ApiClient, acme: Account, globex: Account, services: Services, store: Store
) -> None:
    """Records of the tenant's hosts carry its marks for our pages when the call returns, and nobody else's do."""
    await services.resources.create(Kind.SANDBOX, globex.tenant.id, slug="sbxtheirs")
    computer = await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug="cmpours")
    domain = await services.custom_domains.register(computer.id, "app.cliniciq.dev")
    await verify_custom(services, domain.id)
    heard: list[str] = []
    store.after_commit(heard.extend)
    await api("PUT", "/api/v1/tenant/branding", json={"branding": MARKS})
    ours, theirs, name = slug_key("cmpours"), slug_key("sbxtheirs"), name_key("app.cliniciq.dev")
    assert set(heard) == {ours, name}
    records = await store.records.fetch([ours, theirs, name])
    branding = records[ours].branding  # type: ignore[union-attr]
    assert branding == records[name].resource.branding  # type: ignore[union-attr]
    assert records[theirs].branding == {}  # type: ignore[union-attr]
    page = Pages("https://docs.miosa.ai/errors").render(
        PORT_CLOSED, form=Form.HTML, request_id="req_1", host="cmpours.miosa.app", port=80, branding=branding
    )
    for mark in (name for name in MARKS if name != "support_email"):
        assert MARKS[mark].encode() in page.body, mark


async def test_support_email_is_a_link(api: ApiClient, acme: Account, services: Services, store: Store) -> None:
    """Where there is no support page, the pages link to the address; a logo at an address is never loaded."""
    await services.resources.create(Kind.SANDBOX, acme.tenant.id, slug="sbxours")
    marks = {"support_email": "help@cliniciq.dev", "logo_url": "https://cdn.cliniciq.dev/logo.png"}
    assert (await api("PUT", "/api/v1/tenant/branding", json={"branding": marks})).status == 200
    record = (await store.records.fetch([slug_key("sbxours")]))[slug_key("sbxours")]
    page = Pages("https://docs.miosa.ai/errors").render(
        PORT_CLOSED,
        form=Form.HTML,
        request_id="req_1",
        host="x",
        port=80,
        branding=record.branding,  # type: ignore[union-attr]
    )
    assert b'href="mailto:help@cliniciq.dev"' in page.body
    assert b"cdn.cliniciq.dev" not in page.body


REQUESTS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("PATCH", "", {"name": "Mine"}),
    ("GET", "/plan", None),
    ("GET", "/branding", None),
    ("PUT", "/branding", {"branding": {}}),
    ("DELETE", "/branding", None),
]


@pytest.mark.parametrize(("method", "rest", "body"), REQUESTS)
async def test_isolation(
    api: ApiClient, acme: Account, globex: Account, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    """No key: 401. A narrower key: 403. Another tenant's key is about that tenant."""
    path = f"/api/v1/tenant{rest}"
    await api("PUT", "/api/v1/tenant/branding", json={"branding": MARKS})
    for key, status in [(None, 401), (acme.workspace_key, 403), (acme.project_key, 403), (globex.key, 200)]:
        answer = await api(method, path, key=key, json=body)
        assert answer.status == status
        assert acme.tenant.id.encode() not in answer.body
        assert b"ClinicIQ" not in answer.body
    assert (await api("GET", "/api/v1/tenant")).json["data"]["name"] == "Acme"
    assert (await api("GET", "/api/v1/tenant/branding")).json["data"] == MARKS


async def test_same_idempotency_key(api: ApiClient) -> None:
    """A change that is sent again is answered again."""
    headers = {"Idempotency-Key": new_id()}
    answers = [await api("PATCH", "/api/v1/tenant", json={"name": "New"}, headers=headers) for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert answers[1].headers["Idempotent-Replayed"] == "true"


async def test_official_client(client: miosa.Miosa, acme: Account) -> None:
    """`client.tenant` works unmodified."""

    def use() -> None:
        assert client.tenant.current()["tenant_id"] == acme.tenant.id
        assert client.tenant.branding.set({"product_name": "ClinicIQ"})["product_name"] == "ClinicIQ"
        assert client.tenant.branding.get()["product_name"] == "ClinicIQ"
        client.tenant.branding.delete()
        assert client.tenant.branding.get()["product_name"] is None

    await asyncio.to_thread(use)


async def test_official_client_async(async_client: miosa.AsyncMiosa, acme: Account) -> None:
    """And so does its async twin."""
    tenant = async_client.tenant
    assert (await tenant.current())["plan"] == "free"
    assert (await tenant.branding.set({"primary_color": "#e11d48"}))["primary_color"] == "#e11d48"
    assert (await tenant.branding.get())["primary_color"] == "#e11d48"
    await tenant.branding.delete()
