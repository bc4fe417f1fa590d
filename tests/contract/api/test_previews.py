"""Exposed ports: `expose`, a sandbox's previews, a computer's ports; and where their URLs lead."""

from typing import Any

import pytest

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.node.services import Services
from router.routes.error_notes import ErrorNote
from router.routes.host_notes import HostNote
from router.routes.records import Kind, Scope
from router.settings import Settings, load
from router.tenancy.endpoints import EndpointChange
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_custom, verify_preview
from tests.support.ids import SOME_ID
from tests.support.routes import Routes

pytestmark = pytest.mark.asyncio

AGENT = 49983


@pytest.fixture
def settings() -> Settings:
    return load(
        environ={
            "MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "MIOSA_ROUTER_BACKEND_NETWORKS": "10.0.0.0/8",
            "MIOSA_ROUTER_RESERVED_PORTS": str(AGENT),
            "MIOSA_ROUTER_PUBLIC_SCHEME": "http",
            "MIOSA_ROUTER_PUBLIC_PORT": "8080",
        }
    )


async def running(services: Services, account: Account, kind: Kind = Kind.SANDBOX, **options: Any) -> Resource:
    """A machine in the account's project, which runs."""
    into = Ownership(project_id=account.project.id)
    options = {"slug": "sbx01j9x"} | options
    made = await services.resources.create(kind, account.tenant.id, ownership=into, **options)
    await services.resources.endpoints.put(EndpointChange(resource_id=made.id, address="10.0.0.7", generation="1"))
    return await services.resources.get(made.id)


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_page_expose(api: ApiClient, acme: Account, services: Services, routes: Routes, kind: Kind) -> None:
    """After the tenant's preview domain is set the answer has its URL; the platform's answers until DNS follows."""
    made = await running(services, acme, kind)
    await services.preview_domains.set(Scope.TENANT, acme.tenant.id, "preview.yourcompany.com")
    assert await routes.leads_to("5173-sbx01j9x.sandbox.miosa.app") == "host_not_found"
    path = f"/api/v1/{'computers' if kind is Kind.COMPUTER else 'sandboxes'}/{made.id}/expose"
    answer = await api("POST", path, json={"port": 5173})
    assert answer.status == 200
    assert "data" not in answer.json, "the page shows it without an envelope"
    shown = {name: value for name, value in answer.json.items() if name != "preview"}
    assert shown == {
        "url": "http://5173-sbx01j9x.sandbox.preview.yourcompany.com:8080",
        "fallback_url": "http://5173-sbx01j9x.sandbox.miosa.app:8080",
        "preview_domain": "preview.yourcompany.com",
        "url_class": "custom",
        "stable_for_embedding": False,
        "recommended_next_action": "verify_preview_domain",
        "port": 5173,
    }
    assert await routes.leads_to(answer.json["fallback_url"]) == (made.id, 5173)
    assert await routes.leads_to(answer.json["url"]) == "host_not_found"
    await verify_preview(services, Scope.TENANT, acme.tenant.id)
    again = (await api("POST", path, json={"port": 5173})).json
    assert (again["stable_for_embedding"], again["recommended_next_action"]) == (True, "none")
    assert again["preview"]["id"] == answer.json["preview"]["id"], "exposing twice changes nothing"
    assert await routes.leads_to(again["url"]) == (made.id, 5173)
    assert (await services.resources.get(made.id)).exposed_ports == {5173}


async def test_expose_the_default_port(api: ApiClient, acme: Account, services: Services) -> None:
    """Without a port it is the default one; where there is none either, the request can't be meant."""
    made = await running(services, acme, default_port=3000)
    assert (await api("POST", f"/api/v1/sandboxes/{made.id}/expose")).json["port"] == 3000
    bare = await running(services, acme, slug="bare")
    answer = await api("POST", f"/api/v1/sandboxes/{bare.id}/expose", json={})
    assert (answer.status, answer.code, answer.fields) == (409, "conflict", {"port": ["can't be blank"]})


async def test_the_port_that_was_exposed_first(
    api: ApiClient, acme: Account, services: Services, routes: Routes, clock: ManualClock
) -> None:
    """It stands for the default port where there is none: in hosts without a port, behind domains, where no port is
    named. When it closes, the next one does; a default port that is set goes before.
    """
    made = await running(services, acme, Kind.COMPUTER)
    path = f"/api/v1/computers/{made.id}"
    domain = await services.custom_domains.register(made.id, "desk.example.com")
    await verify_custom(services, domain.id)
    hosts = ("sbx01j9x.sandbox.miosa.app", "sbx01j9x.miosa.app", "desk.example.com")

    async def lead_to() -> set[Any]:
        return {await routes.leads_to(host) for host in hosts}

    assert await lead_to() == {"host_not_found"}
    for port in (8000, 3000):
        await api("POST", f"{path}/expose", json={"port": port})
        clock.advance(1)
        assert await lead_to() == {(made.id, 8000)}
    assert (await api("POST", f"{path}/expose", json={})).json["port"] == 8000
    await api("DELETE", f"{path}/ports/8000")
    assert await lead_to() == {(made.id, 3000)}
    assert (await api("PATCH", path, json={"default_port": 9000})).json["default_port"] == 9000
    assert await lead_to() == {(made.id, 9000)}
    await api("PATCH", path, json={"default_port": None})
    await api("DELETE", f"{path}/ports/3000")
    assert await lead_to() == {"host_not_found"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"port": 0}, "must be greater than or equal to 1"),
        ({"port": 65536}, "must be less than or equal to 65535"),
        ({"port": "5173"}, "is invalid"),
        ({"port": True}, "is invalid"),
        ({"port": AGENT}, "is reserved by the platform"),
    ],
)
@pytest.mark.parametrize("where", ["expose", "previews"])
async def test_ports_that_are_refused(
    api: ApiClient, acme: Account, services: Services, where: str, body: dict[str, Any], words: str
) -> None:
    """Only real ports, and never the platform's own."""
    made = await running(services, acme)
    answer = await api("POST", f"/api/v1/sandboxes/{made.id}/{where}", json=body)
    assert (answer.status, answer.fields) == (422, {"port": [words]})
    assert (await services.resources.get(made.id)).exposed_ports == frozenset()


async def test_a_preview(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """It exposes its port, shows where that is, and closes it when it goes."""
    made = await running(services, acme, external_user_id="u1")
    path = f"/api/v1/sandboxes/{made.id}/previews"
    body = {"port": 5173, "name": "App", "visibility": "private", "host_mode": "localhost", "metadata": {"a": 1}}
    answer = await api("POST", path, json=body)
    assert answer.status == 201
    preview = answer.json["data"]
    assert preview | body == preview
    assert (preview["sandbox_id"], preview["tenant_id"], preview["state"]) == (made.id, acme.tenant.id, "active")
    assert (preview["external_user_id"], preview["external_workspace_id"]) == ("u1", "acme_clinic")
    assert preview["url"] == preview["fallback_url"] == "http://5173-sbx01j9x.sandbox.miosa.app:8080"
    assert (await api("GET", f"{path}/{preview['id']}")).json == answer.json
    route = await routes.of(preview["url"])
    assert route.resource is not None
    assert route.resource.host_modes == {5173: "localhost"}
    gone = await api("DELETE", f"{path}/{preview['id']}")
    assert (gone.status, gone.json["data"]) == (200, preview | {"state": "deleted"})
    assert await routes.leads_to(preview["url"]) == "host_not_found"
    assert (await api("GET", f"{path}/{preview['id']}")).status == 404
    assert (await api("DELETE", f"{path}/{preview['id']}")).status == 404


async def test_a_port_has_one_preview(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """Creating it again changes what is said anew and keeps the rest; the proxy obeys at once."""
    made = await running(services, acme)
    path = f"/api/v1/sandboxes/{made.id}/previews"
    first = await api("POST", path, json={"port": 5173})
    assert (first.json["data"]["visibility"], first.json["data"]["host_mode"]) == ("public", "auto")
    await api("POST", path, json={"port": 5173, "visibility": "tenant", "name": "App"})
    for mode, seen in (
        ("Dev.Example.com", {5173: "Dev.Example.com"}),
        ("localhost", {5173: "localhost"}),
        ("preserve", {5173: "preserve"}),
        ("auto", {}),
    ):
        again = await api("POST", path, json={"port": 5173, "host_mode": mode, "visibility": None})
        assert again.status == 200
        assert again.json["data"] == first.json["data"] | {"host_mode": mode, "visibility": "tenant", "name": "App"}
        route = await routes.of(first.json["data"]["url"])
        assert route.resource is not None
        assert route.resource.host_modes == seen
    assert (await api("POST", path, json={"port": 5173, "name": None})).json["data"]["name"] is None


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_what_helps_a_program(api: ApiClient, acme: Account, services: Services, kind: Kind) -> None:
    """One that refuses the public name: as long as it runs. A machine that was started again has told nothing yet."""
    made = await running(services, acme, kind)
    path = f"/api/v1/sandboxes/{made.id}/previews" if kind is Kind.SANDBOX else f"/api/v1/computers/{made.id}/ports"
    for port in (5173, 8000):
        assert (await api("POST", path, json={"port": port})).json["data"]["hints"] == []
    seen = HostNote(made.id, made.slug, 5173, "1", "django")
    services.host_hints.notes.add(seen)
    assert [one["hints"] for one in (await api("GET", path)).json["data"]] == [[seen.hint], []]
    await services.resources.endpoints.put(EndpointChange(resource_id=made.id, address="10.0.0.7", generation="2"))
    assert [one["hints"] for one in (await api("GET", path)).json["data"]] == [[], []]


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_what_visitors_got_instead(api: ApiClient, acme: Account, services: Services, kind: Kind) -> None:
    """Of each port: why its program's responses or its visitors' requests were refused, how often and when."""
    made = await running(services, acme, kind)
    path = f"/api/v1/sandboxes/{made.id}/previews" if kind is Kind.SANDBOX else f"/api/v1/computers/{made.id}/ports"
    for port in (5173, 8000):
        assert (await api("POST", path, json={"port": port})).json["data"]["errors"] == []
    services.error_notes.add(ErrorNote(made.id, 5173, "headers_too_large", None, "Cookie is too large.", 0.0, 60.5, 3))
    services.error_notes.add(ErrorNote(made.id, 5173, "bad_backend_response", "speaks_tls", "It speaks TLS.", 9.0, 9.0))
    first, second = (await api("GET", path)).json["data"]
    assert second["errors"] == []
    assert [(one["code"], one["reason"], one["count"]) for one in first["errors"]] == [
        ("bad_backend_response", "speaks_tls", 1),
        ("headers_too_large", None, 3),
    ]
    assert first["errors"][1] == {
        "code": "headers_too_large",
        "reason": None,
        "message": "Cookie is too large.",
        "count": 3,
        "first_at": "1970-01-01T00:00:00Z",
        "last_at": "1970-01-01T00:01:00Z",
    }


async def test_list_by_port(api: ApiClient, acme: Account, services: Services) -> None:
    """In pages; exposed ports are in it too."""
    made = await running(services, acme)
    for port in (9000, 80, 5173):
        await api("POST", f"/api/v1/sandboxes/{made.id}/expose", json={"port": port})
    path = f"/api/v1/sandboxes/{made.id}/previews"
    answer = await api("GET", path)
    assert [item["port"] for item in answer.json["data"]] == [80, 5173, 9000]
    assert answer.json["page"] == {"page": 1, "page_size": 20, "total": 3}
    assert [item["port"] for item in (await api("GET", f"{path}?page=2&page_size=2")).json["data"]] == [9000]
    assert (await api("GET", f"/api/v1/sandboxes/{made.id}")).json["data"]["exposed_ports"] == [80, 5173, 9000]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "port"),
        ({"port": 80, "visibility": "secret"}, "visibility"),
        ({"port": 80, "host_mode": "not a host"}, "host_mode"),
        ({"port": 80, "host_mode": "10.0.0.1"}, "host_mode"),
        ({"port": 80, "host_mode": "ab--c.example.com"}, "host_mode"),
        ({"port": 80, "host_mode": "app.example.com:80"}, "host_mode"),
        ({"port": 80, "host_mode": ""}, "host_mode"),
        ({"port": 80, "scheme": "HTTPS"}, "scheme"),
        ({"port": 80, "scheme": ""}, "scheme"),
        ({"port": 80, "protocol": "h2"}, "protocol"),
        ({"port": 80, "name": "n" * 121}, "name"),
        ({"port": 80, "metadata": "x"}, "metadata"),
    ],
)
async def test_wrong_fields(
    api: ApiClient, acme: Account, services: Services, body: dict[str, Any], field: str
) -> None:
    """Each is named, and nothing is exposed."""
    made = await running(services, acme)
    answer = await api("POST", f"/api/v1/sandboxes/{made.id}/previews", json=body)
    assert (answer.status, set(answer.fields)) == (422, {field})
    assert (await services.resources.get(made.id)).exposed_ports == frozenset()


async def test_previews_of_another_sandbox(api: ApiClient, acme: Account, services: Services) -> None:
    """A preview is found under its own sandbox only."""
    one, other = await running(services, acme), await running(services, acme, slug="other")
    preview = (await api("POST", f"/api/v1/sandboxes/{one.id}/previews", json={"port": 80})).json["data"]
    for method in ("GET", "DELETE"):
        answer = await api(method, f"/api/v1/sandboxes/{other.id}/previews/{preview['id']}")
        assert (answer.status, answer.code) == (404, "preview_not_found")
    assert (await services.resources.get(one.id)).exposed_ports == {80}


async def test_no_more_ports_than_may_be(api: ApiClient, acme: Account, services: Services) -> None:
    """256 ports may be exposed; one that is exposed already still answers."""
    made = await running(services, acme, exposed_ports=frozenset(range(1000, 1256)))
    path = f"/api/v1/sandboxes/{made.id}/expose"
    answer = await api("POST", path, json={"port": 80})
    assert (answer.status, set(answer.fields)) == (422, {"port"})
    assert (await api("POST", path, json={"port": 1000})).status == 200


async def test_auto_expose(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """With it every port is routable, and a preview that goes closes none; without it only the default port is."""
    made = await running(services, acme, default_port=3000)
    assert await routes.leads_to("sbx01j9x.miosa.app") == (made.id, 3000)
    assert await routes.leads_to("8000-sbx01j9x.sandbox.miosa.app") == "host_not_found"
    await services.tenants.update(acme.tenant.id, auto_expose=True)
    assert await routes.leads_to("8000-sbx01j9x.sandbox.miosa.app") == (made.id, 8000)
    path = f"/api/v1/sandboxes/{made.id}/previews"
    preview = (await api("POST", path, json={"port": 8000})).json["data"]
    assert (await api("DELETE", f"{path}/{preview['id']}")).status == 200
    assert await routes.leads_to("8000-sbx01j9x.sandbox.miosa.app") == (made.id, 8000)


async def test_deleting_the_sandbox_ends_its_previews(api: ApiClient, acme: Account, services: Services) -> None:
    """They are not there any more, like everything below it."""
    made = await running(services, acme)
    path = f"/api/v1/sandboxes/{made.id}/previews"
    preview = (await api("POST", path, json={"port": 80})).json["data"]
    await api("DELETE", f"/api/v1/sandboxes/{made.id}")
    for where in (path, f"{path}/{preview['id']}"):
        assert (await api("GET", where)).status == 404


CHANGES = {
    "visibility": ("key", "public"),
    "host_mode": ("localhost", "auto"),
    "scheme": ("https", "http"),
    "protocol": ("h2c", "http1"),
    "name": ("Shop", None),
    "metadata": ({"a": 1}, {}),
    "expires_at": ("2027-01-01T00:00:00Z", None),
    "hide": (True, False),
    "networks": (["203.0.113.0/24"], []),
    "cors": ("allowlist", "passthrough"),
    "cors_origins": (["https://a.example"], []),
}


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_changes(api: ApiClient, acme: Account, services: Services, kind: Kind) -> None:
    """Of a preview and of a computer's port: each field by itself, what is not sent stays, and null is what a new one has."""
    made = await running(services, acme, kind)
    of_computer = kind is Kind.COMPUTER
    path = f"/api/v1/computers/{made.id}/ports" if of_computer else f"/api/v1/sandboxes/{made.id}/previews"
    fresh = (await api("POST", path, json={"port": 8080})).json["data"]
    path += f"/{8080 if of_computer else fresh['id']}"
    expected = dict(fresh)
    for values in zip(*CHANGES.values(), strict=True):
        for field, value in zip(CHANGES, values, strict=True):
            first = value == CHANGES[field][0]
            answer = await api("PATCH", path, json={field: value if first else None})
            assert answer.status == 200, answer.json
            expected[field] = value
            assert answer.json["data"] == expected, field
    assert expected == fresh
    assert (await api("PATCH", path, json={})).json["data"] == fresh


async def test_a_preview_that_says_nothing_itself_again(api: ApiClient, acme: Account, services: Services) -> None:
    """With null its visibility is its sandbox's."""
    made = await running(services, acme)
    path = f"/api/v1/sandboxes/{made.id}/previews"
    preview = (await api("POST", path, json={"port": 8080, "visibility": "key"})).json["data"]
    await api("PATCH", f"/api/v1/sandboxes/{made.id}", json={"visibility": "tenant"})
    changed = await api("PATCH", f"{path}/{preview['id']}", json={"visibility": None})
    assert changed.json["data"]["visibility"] == "tenant"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"visibility": "all"}, ["visibility"]),
        ({"port": 80}, ["port"]),
        ({"ttl_seconds": 60}, ["ttl_seconds"]),
        ({"id": SOME_ID}, ["id"]),
        ({"expires_at": "2020-01-01T00:00:00Z"}, ["expires_at"]),
        ({"networks": ["nowhere"]}, ["networks"]),
        ({"cors_origins": ["a"]}, ["cors_origins"]),
        ({"host_mode": "-"}, ["host_mode"]),
        ({"hide": "yes"}, ["hide"]),
    ],
)
async def test_changes_that_are_refused(
    api: ApiClient, acme: Account, services: Services, body: dict[str, Any], fields: list[str]
) -> None:
    """As when a preview is made; and nothing of them is done."""
    made = await running(services, acme)
    path = f"/api/v1/sandboxes/{made.id}/previews"
    preview = (await api("POST", path, json={"port": 8080})).json["data"]
    answer = await api("PATCH", f"{path}/{preview['id']}", json={"name": "Shop", **body})
    assert (answer.status, [one.partition(".")[0] for one in answer.fields]) == (422, fields)
    assert (await api("GET", f"{path}/{preview['id']}")).json["data"] == preview
    other = await running(services, acme, slug="other")
    for where in (f"{path}/{SOME_ID}", f"/api/v1/sandboxes/{other.id}/previews/{preview['id']}"):
        assert (await api("PATCH", where, json={"name": "Shop"})).status == 404


async def test_a_computers_ports(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """The same as previews, found by number."""
    made = await running(services, acme, Kind.COMPUTER)
    path = f"/api/v1/computers/{made.id}/ports"
    answer = await api("POST", path, json={"port": 8080, "visibility": "tenant"})
    assert answer.status == 201
    port = answer.json["data"]
    assert (port["computer_id"], port["port"], port["visibility"]) == (made.id, 8080, "tenant")
    assert await routes.leads_to(port["url"]) == (made.id, 8080)
    assert (await api("POST", path, json={"port": 8080})).status == 200
    changed = await api("PATCH", f"{path}/8080", json={"host_mode": "localhost", "scheme": "https", "protocol": "h2c"})
    assert changed.json["data"] == port | {"host_mode": "localhost", "scheme": "https", "protocol": "h2c"}
    assert (await api("GET", path)).json["data"] == [changed.json["data"]]
    closed = await api("DELETE", f"{path}/8080")
    assert (closed.status, closed.json) == (200, {"data": {"port": 8080, "deleted": True}})
    assert await routes.leads_to(port["url"]) == "host_not_found"


async def test_closing_what_the_platform_exposed(
    api: ApiClient, acme: Account, services: Services, routes: Routes
) -> None:
    """A computer's port can be closed without ever having had a preview."""
    made = await running(services, acme, Kind.COMPUTER, exposed_ports=frozenset({8080}))
    assert (await api("GET", f"/api/v1/computers/{made.id}/ports")).json["data"] == []
    assert await routes.leads_to("8080-sbx01j9x.sandbox.miosa.app") == (made.id, 8080)
    assert (await api("DELETE", f"/api/v1/computers/{made.id}/ports/8080")).status == 200
    assert await routes.leads_to("8080-sbx01j9x.sandbox.miosa.app") == "host_not_found"


@pytest.mark.parametrize("port", ["80", "0", "65536", "x", "080", "8.0", "%0a80", "-1", SOME_ID])
async def test_ports_that_are_not_exposed(api: ApiClient, acme: Account, services: Services, port: str) -> None:
    """404, whatever else the path says there."""
    made = await running(services, acme, Kind.COMPUTER)
    for method in ("PATCH", "DELETE"):
        answer = await api(method, f"/api/v1/computers/{made.id}/ports/{port}", json={})
        assert (answer.status, answer.code) == (404, "port_not_found")


async def test_same_idempotency_key_creates_once(api: ApiClient, acme: Account, services: Services) -> None:
    """The retry gets 201 again, though the preview exists by then."""
    made = await running(services, acme)
    path, headers = f"/api/v1/sandboxes/{made.id}/previews", {"Idempotency-Key": new_id()}
    first, again = [await api("POST", path, json={"port": 80}, headers=headers) for _ in range(2)]
    assert (again.status, again.body, again.headers["Idempotent-Replayed"]) == (201, first.body, "true")
