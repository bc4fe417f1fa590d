"""What happened, as the API lists it."""

from typing import Any

import pytest

from router.base.clock import ManualClock
from router.domains.custom import CustomDomain
from router.node.services import Services
from router.routes.records import Kind
from router.store import Store
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_custom
from tests.support.database import prune

pytestmark = pytest.mark.asyncio

EVENTS = "/api/v1/events"


async def shop(services: Services, account: Account, slug: str) -> Resource:
    """A deployment in the account's project."""
    return await services.resources.create(
        Kind.DEPLOYMENT, account.tenant.id, slug=slug, name=slug, ownership=Ownership(project_id=account.project.id)
    )


async def domain(services: Services, resource: Resource, fqdn: str) -> CustomDomain:
    return await services.custom_domains.register(resource.id, fqdn)


def told(answer: Any) -> list[tuple[str, str | None]]:
    """Type and domain of each event of a list."""
    return [(event["type"], event["data"].get("fqdn")) for event in answer.json["data"]]


async def test_one_event(api: ApiClient, services: Services, acme: Account) -> None:
    """In the list and by its id, with all that it is about."""
    resource = await shop(services, acme, "shop")
    registered = await domain(services, resource, "shop.example.com")
    (shown,) = (await api("GET", EVENTS, params={"type": "domain.registered"})).json["data"]
    assert shown == {
        "id": shown["id"],
        "type": "domain.registered",
        "tenant_id": acme.tenant.id,
        "workspace_id": acme.workspace.id,
        "project_id": acme.project.id,
        "resource_id": resource.id,
        "domain_id": registered.id,
        "data": {"domain_id": registered.id, "fqdn": "shop.example.com", "reason": None},
        "created_at": "2026-01-01T00:00:00Z",
    }
    assert (await api("GET", f"{EVENTS}/{shown['id']}")).json == {"data": shown}


async def test_filters(api: ApiClient, services: Services, acme: Account, clock: ManualClock) -> None:
    """By type, by kind, by resource, by domain; the newest first."""
    first, second = await shop(services, acme, "first"), await shop(services, acme, "second")
    of_first = await domain(services, first, "first.example.com")
    clock.advance(1)
    await domain(services, second, "second.example.com")
    clock.advance(1)
    await verify_custom(services, of_first.id)
    listed = {
        "domain.*": [
            ("domain.verified", "first.example.com"),
            ("domain.registered", "second.example.com"),
            ("domain.registered", "first.example.com"),
        ],
        "domain.registered": [("domain.registered", "second.example.com"), ("domain.registered", "first.example.com")],
        "domain.gone": [],
        "main.*": [],
    }
    for kind, expected in listed.items():
        assert told(await api("GET", EVENTS, params={"type": kind})) == expected, kind
    of_domain = await api("GET", EVENTS, params={"domain_id": of_first.id})
    assert [kind for kind, _ in told(of_domain)] == ["domain.verified", "domain.registered"]
    of_resource = await api("GET", EVENTS, params={"resource_id": second.id, "type": "domain.*"})
    assert told(of_resource) == [("domain.registered", "second.example.com")]


@pytest.mark.parametrize("kind", ["domain", "*", "domain.", "domain.verified.", "Domain.*", "a_b.%", "domain.ver*"])
async def test_types_that_are_none(api: ApiClient, kind: str) -> None:
    """A type is a noun and what happened to it."""
    answer = await api("GET", EVENTS, params={"type": kind})
    assert (answer.status, list(answer.fields)) == (422, ["type"])


async def test_pages(api: ApiClient, services: Services, acme: Account, clock: ManualClock) -> None:
    """A cursor goes on where the last answer ended, whatever happened meanwhile, and within one instant too."""
    resource = await shop(services, acme, "shop")
    for number in range(5):
        await domain(services, resource, f"n{number}.example.com")
        clock.advance(number % 2)
    found: list[tuple[str, str | None]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await api("GET", EVENTS, params={"type": "domain.*", "limit": "2", **cursor})
        assert answer.json["page"]["total"] == 5 + (len(found) > 0)
        found += told(answer)
        if len(found) == 2:
            await domain(services, resource, "late.example.com")
        after = answer.json["page"]["next_cursor"]
        if after is None:
            break
        cursor = {"cursor": after}
    assert sorted(str(fqdn) for _, fqdn in found) == [f"n{number}.example.com" for number in range(5)]


async def test_reach(api: ApiClient, services: Services, acme: Account, globex: Account) -> None:
    """A narrower key sees its part alone; another tenant nothing."""
    resource = await shop(services, acme, "shop")
    await domain(services, resource, "shop.example.com")
    elsewhere = await services.resources.create(Kind.COMPUTER, acme.tenant.id, slug="desk", name="desk")
    ids = {}
    for key in (acme.key, acme.workspace_key, acme.project_key):
        events = (await api("GET", EVENTS, key=key)).json["data"]
        ids[key] = {event["resource_id"] for event in events}
    assert ids == {
        acme.key: {resource.id, elsewhere.id},
        acme.workspace_key: {resource.id},
        acme.project_key: {resource.id},
    }
    (outside,) = (await api("GET", EVENTS, params={"resource_id": elsewhere.id})).json["data"]
    for key, status in ((acme.project_key, 403), (acme.workspace_key, 403), (globex.key, 404), (acme.key, 200)):
        assert (await api("GET", f"{EVENTS}/{outside['id']}", key=key)).status == status
    assert (await api("GET", EVENTS, key=globex.key)).json["data"] == []


async def test_old_ones_go(api: ApiClient, services: Services, acme: Account, clock: ManualClock, store: Store) -> None:
    """What is older than the setting says is deleted, what is younger stays."""
    resource = await shop(services, acme, "shop")
    await domain(services, resource, "old.example.com")
    clock.advance(29 * 86400)
    await domain(services, resource, "new.example.com")
    await prune(store, clock)
    assert len(told(await api("GET", EVENTS, params={"type": "domain.*"}))) == 2
    clock.advance(2 * 86400)
    await prune(store, clock)
    assert told(await api("GET", EVENTS)) == [("domain.registered", "new.example.com")]


async def test_who_may_open_a_preview(api: ApiClient, services: Services, acme: Account, clock: ManualClock) -> None:
    """Links and tokens made and revoked, and each change of a visibility, in their order; never a secret. What changes
    nothing is no event."""
    shop = await services.resources.create(Kind.SANDBOX, acme.tenant.id, slug="shop", default_port=3000)
    base = f"/api/v1/sandboxes/{shop.id}"

    async def call(method: str, path: str, **body: Any) -> Any:
        clock.advance(1)
        answer = await api(method, path, **({"json": body} if method in ("POST", "PATCH") else {}))
        assert answer.status < 300, answer.json
        return answer.json.get("data")

    port = (await call("POST", f"{base}/previews", port=5173, visibility="private"))["id"]
    await call("POST", f"{base}/previews", port=5173, visibility="private", name="Shop")
    link = await call("POST", f"{base}/previews/{port}/share", once=True)
    token = await call("POST", f"{base}/previews/{port}/tokens", name="ci")
    await call("DELETE", f"{base}/previews/{port}/tokens/{token['id']}")
    await call("DELETE", f"{base}/previews/{port}/tokens/{token['id']}")
    share = await call("POST", f"{base}/shares", expires_in=60)
    await call("DELETE", f"{base}/shares/{share['share_id']}")
    await call("DELETE", f"{base}/previews/{port}/share")
    await call("POST", f"{base}/previews", port=5173, visibility="tenant")
    await call("PATCH", base, visibility="key")
    await call("PATCH", "/api/v1/tenant", default_visibility="private")
    found = (await api("GET", EVENTS)).json["data"]
    told = [event for event in reversed(found) if event["type"].partition(".")[2].startswith(("share", "tok", "vis"))]
    assert [(event["type"], event["data"].get("port")) for event in told] == [
        ("preview.visibility_changed", 5173),
        ("preview.share_created", 5173),
        ("preview.token_created", 5173),
        ("preview.token_revoked", 5173),
        ("preview.share_created", None),
        ("preview.share_revoked", None),
        ("preview.share_revoked", 5173),
        ("preview.visibility_changed", 5173),
        ("sandbox.visibility_changed", None),
        ("tenant.visibility_changed", None),
    ]
    assert told[1]["data"] == {
        "preview_id": port,
        "port": 5173,
        "share_id": told[6]["data"]["share_id"],
        "name": None,
        "once": True,
        "expires_at": "2026-01-01T01:00:03Z",
    }
    assert (told[1]["resource_id"], told[1]["workspace_id"]) == (shop.id, shop.workspace_id)
    assert (told[2]["data"]["token_id"], told[2]["data"]["name"]) == (token["id"], "ci")
    assert [(event["data"]["was"], event["data"]["visibility"]) for event in (told[0], *told[7:])] == [
        (None, "private"),
        ("private", "tenant"),
        (None, "key"),
        ("public", "private"),
    ]
    for secret in (link["preview_token"], token["token"], share["share_token_prefix"]):
        assert secret[:8] not in str(found)
    of_previews = (await api("GET", EVENTS, params={"type": "preview.*"})).json["data"]
    assert len(of_previews) == 8


async def test_a_webhook_of_previews(api: ApiClient, services: Services, acme: Account, clock: ManualClock) -> None:
    """It is told of them in their order, and of nothing else."""
    shop = await services.resources.create(Kind.SANDBOX, acme.tenant.id, slug="shop", default_port=3000)
    hook = await api("POST", "/api/v1/webhooks", json={"url": "https://a.example/", "event_types": ["preview.*"]})
    assert hook.status == 201, hook.json
    base = f"/api/v1/sandboxes/{shop.id}"
    await api("POST", f"{base}/previews", json={"port": 5173, "visibility": "private"})
    clock.advance(1)
    share = (await api("POST", f"{base}/shares", json={})).json["data"]
    clock.advance(1)
    await api("DELETE", f"{base}/shares/{share['share_id']}")
    filed = (await api("GET", f"/api/v1/webhooks/{hook.json['data']['id']}/deliveries")).json["data"]
    assert [delivery["event_type"] for delivery in reversed(filed)] == [
        "preview.visibility_changed",
        "preview.share_created",
        "preview.share_revoked",
    ]
