"""Who may open a preview, as the API and the official client say it: visibility, expiry, share links, named tokens."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import miosa
import pytest
import pytest_asyncio

from router.base import preview_secrets
from router.base.clock import ManualClock, iso
from router.node.services import Services
from router.routes.policies import AccessPolicy, Cors, SecretKind, Visibility
from router.routes.records import Kind, ResourceRecord
from router.store import Store
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.database import on_both

pytestmark = [pytest.mark.asyncio, on_both]

PORT = 5173
Policy = Callable[[int], Awaitable[AccessPolicy | None]]


async def made(services: Services, account: Account, kind: Kind = Kind.SANDBOX, slug: str = "shop") -> Resource:
    into = Ownership(project_id=account.project.id)
    return await services.resources.create(kind, account.tenant.id, ownership=into, slug=slug, default_port=3000)


@pytest_asyncio.fixture
async def sandbox(services: Services, acme: Account) -> Resource:
    return await made(services, acme)


@pytest_asyncio.fixture
async def computer(services: Services, acme: Account) -> Resource:
    return await made(services, acme, Kind.COMPUTER, "desk")


def policies(store: Store, resource: Resource) -> Policy:
    async def of_port(port: int) -> AccessPolicy | None:
        key = f"slug:{resource.slug}"
        record = (await store.records.fetch([key]))[key]
        assert isinstance(record, ResourceRecord)
        return record.policy(port)

    return of_port


def opened_by(policy: AccessPolicy | None) -> set[tuple[str, bool]]:
    """The digests of a policy's secrets, and whether each is revoked."""
    return {(secret.digest, secret.revoked) for secret in policy.secrets} if policy is not None else set()


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_all_that_is_said_of_a_preview_holds_at_once(
    api: ApiClient, acme: Account, services: Services, store: Store, clock: ManualClock, kind: Kind
) -> None:
    """With one request a port is exposed and closed to strangers; the record has each of the settings when it is answered."""
    resource = await made(services, acme, kind)
    path = f"/api/v1/{kind.plural}/{resource.id}/{'previews' if kind is Kind.SANDBOX else 'ports'}"
    body = {
        "port": PORT,
        "visibility": "private",
        "ttl_seconds": 3600,
        "hide": True,
        "identity": True,
        "networks": ["203.0.113.7", "2001:db8::/32"],
        "cors": "allowlist",
        "cors_origins": ["https://app.example.com", "http://localhost:3000"],
    }
    answer = await api("POST", path, json=body)
    shown = answer.json["data"]
    expires_at = clock.now() + timedelta(hours=1)
    assert answer.status == 201, answer.body
    assert (shown["visibility"], shown["hide"], shown["state"]) == ("private", True, "active")
    assert shown["identity"] is True
    assert shown["networks"] == ["203.0.113.7/32", "2001:db8::/32"]
    assert (shown["cors"], shown["cors_origins"]) == ("allowlist", body["cors_origins"])
    assert shown["expires_at"] == iso(expires_at)
    assert await policies(store, resource)(PORT) == AccessPolicy(
        Visibility.PRIVATE,
        tenant=acme.tenant.slug,
        networks=("203.0.113.7/32", "2001:db8::/32"),
        until=expires_at.timestamp(),
        hide=True,
        cors=Cors.ALLOWLIST,
        origins=("https://app.example.com", "http://localhost:3000"),
        identity=True,
    )


async def test_what_null_means(api: ApiClient, sandbox: Resource) -> None:
    """It clears the expiry; nothing else, so that nobody opens a preview by sending all fields that they know."""
    path = f"/api/v1/sandboxes/{sandbox.id}/previews"
    said = {"port": PORT, "visibility": "private", "hide": True, "networks": ["203.0.113.0/24"], "ttl_seconds": 60}
    said["identity"] = True
    first = (await api("POST", path, json=said)).json["data"]
    nothing = dict.fromkeys(("visibility", "hide", "identity", "networks", "cors", "cors_origins"))
    again = (await api("POST", path, json={"port": PORT, **nothing})).json["data"]
    assert {**again, "updated_at": ""} == {**first, "updated_at": ""}
    forever = (await api("POST", path, json={"port": PORT, "expires_at": None})).json["data"]
    assert (forever["expires_at"], forever["visibility"]) == (None, "private")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"visibility": "secret"}, "visibility"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z", "ttl_seconds": 60}, "ttl_seconds"),
        ({"ttl_seconds": 29}, "ttl_seconds"),
        ({"networks": ["203.0.113.7/24"]}, "networks"),
        ({"networks": ["everywhere"]}, "networks"),
        ({"networks": ["10.0.0.0/8"] * 65}, "networks"),
        ({"cors": "all"}, "cors"),
        ({"cors_origins": ["https://app.example.com/"]}, "cors_origins.0"),
        ({"cors_origins": ["*"]}, "cors_origins.0"),
        ({"cors_origins": ["https://app.example.com"] * 33}, "cors_origins"),
    ],
)
async def test_what_a_preview_can_t_have(api: ApiClient, sandbox: Resource, body: dict[str, Any], field: str) -> None:
    """Each is refused with the field's name, and the port stays closed."""
    path = f"/api/v1/sandboxes/{sandbox.id}/previews"
    answer = await api("POST", path, json={"port": PORT, **body})
    assert (answer.status, list(answer.fields)) == (422, [field]), answer.body
    assert (await api("GET", path)).json["data"] == []


async def test_an_origin_that_is_none_says_what_one_is(api: ApiClient, sandbox: Resource) -> None:
    """A bare domain, which people write first, is answered with how it is written."""
    body = {"port": PORT, "cors_origins": ["https://app.example.com", "app.example"]}
    answer = await api("POST", f"/api/v1/sandboxes/{sandbox.id}/previews", json=body)
    expected = "'app.example' is no origin: write scheme and host without a path, as in https://app.example.com"
    assert (answer.status, answer.fields) == (422, {"cors_origins.1": [expected]})


async def test_an_expired_preview_says_so(api: ApiClient, sandbox: Resource, clock: ManualClock) -> None:
    """Until it is given more time; deleting it works as ever."""
    path = f"/api/v1/sandboxes/{sandbox.id}/previews"
    preview = (await api("POST", path, json={"port": PORT, "ttl_seconds": 60})).json["data"]
    clock.advance(60)
    assert (await api("GET", f"{path}/{preview['id']}")).json["data"]["state"] == "expired"
    assert (await api("POST", path, json={"port": PORT, "ttl_seconds": 60})).json["data"]["state"] == "active"
    clock.advance(60)
    assert (await api("DELETE", f"{path}/{preview['id']}")).json["data"]["state"] == "deleted"


async def test_whose_visibility_a_preview_shows(api: ApiClient, sandbox: Resource) -> None:
    """Its own, else the sandbox's, else the organization's."""
    path = f"/api/v1/sandboxes/{sandbox.id}"
    preview = (await api("POST", f"{path}/previews", json={"port": PORT})).json["data"]

    async def shown() -> str:
        return str((await api("GET", f"{path}/previews/{preview['id']}")).json["data"]["visibility"])

    assert await shown() == "public"
    assert (await api("PATCH", "/api/v1/tenant", json={"default_visibility": "tenant"})).status == 200
    assert (await api("GET", "/api/v1/tenant")).json["data"]["default_visibility"] == "tenant"
    assert await shown() == "tenant"
    assert (await api("PATCH", path, json={"visibility": "private"})).json["data"]["visibility"] == "private"
    assert await shown() == "private"
    await api("POST", f"{path}/previews", json={"port": PORT, "visibility": "public"})
    assert await shown() == "public"
    assert (await api("PATCH", path, json={"visibility": None})).json["data"]["visibility"] is None
    assert (await api("PATCH", "/api/v1/tenant", json={"default_visibility": None})).status == 422


@pytest.mark.parametrize("noun", ["sandboxes", "computers", "deployments"])
async def test_private_from_the_first_moment(api: ApiClient, store: Store, noun: str) -> None:
    """What is created private is so in its first record, in all of its ports; what says nothing follows the organization."""
    answer = await api("POST", f"/api/v1/{noun}", json={"name": "Box", "slug": "box", "visibility": "private"})
    assert (answer.status, answer.json["data"]["visibility"]) == (201, "private")
    record = (await store.records.fetch(["slug:box"]))["slug:box"]
    assert isinstance(record, ResourceRecord)
    for port in (80, 3000, 65535):
        policy = record.policy(port)
        assert policy is not None
        assert policy.visibility == "private"
    await api("PATCH", "/api/v1/tenant", json={"default_visibility": "key"})
    await api("POST", f"/api/v1/{noun}", json={"name": "Other", "slug": "other"})
    other = (await store.records.fetch(["slug:other"]))["slug:other"]
    assert isinstance(other, ResourceRecord)
    policy = other.policy(3000)
    assert policy is not None
    assert policy.visibility == "key"


PAGES = {
    Kind.SANDBOX: "/api/v1/sandboxes/{id}/previews/{preview}",
    Kind.COMPUTER: "/api/v1/computers/{id}/ports/{port}",
}


async def private(api: ApiClient, resource: Resource) -> str:
    """The path of its private preview on PORT."""
    path = f"/api/v1/{resource.kind.plural}/{resource.id}/{'previews' if resource.kind is Kind.SANDBOX else 'ports'}"
    preview = (await api("POST", path, json={"port": PORT, "visibility": "private"})).json["data"]
    return PAGES[resource.kind].format(id=resource.id, preview=preview["id"], port=PORT)


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
@pytest.mark.parametrize("once", [False, True])
async def test_share_links(
    api: ApiClient, acme: Account, services: Services, store: Store, clock: ManualClock, kind: Kind, once: bool
) -> None:
    """The token is shown once, in the URL too, and its hash is in the record; a replay has neither. Ending them voids all."""
    resource = await made(services, acme, kind)
    path, policy = await private(api, resource), policies(store, resource)
    headers = {"Idempotency-Key": "share-1"}
    body = {"ttl_seconds": 600, "once": once}
    shared = (await api("POST", f"{path}/share", json=body, headers=headers)).json["data"]
    plain = shared["preview_token"]
    assert preview_secrets.kind_of(plain) == ("once" if once else "link")
    host = f"{PORT}-{resource.slug}.sandbox.miosa.app"
    assert shared["share_url"] == f"https://{host}/?miosa_token={plain}"
    assert shared["preview"]["share_token_prefix"] == plain[:10]
    assert shared["preview"]["share_token_expires_at"] == iso(clock.now() + timedelta(minutes=10))
    replayed = await api("POST", f"{path}/share", json=body, headers=headers)
    assert (replayed.json["data"]["preview_token"], replayed.json["data"]["share_url"]) == (None, None)
    assert plain not in replayed.body.decode()
    digest = preview_secrets.digest(plain)
    assert opened_by(await policy(PORT)) == {(digest, False)}
    assert opened_by(await policy(3000)) == set()
    second = (await api("POST", f"{path}/share")).json["data"]["preview_token"]
    ended = await api("DELETE", f"{path}/share")
    assert (ended.status, ended.json["data"]["share_token_prefix"]) == (200, None)
    voided = await policy(PORT)
    assert opened_by(voided) == {(digest, True), (preview_secrets.digest(second), True)}
    assert voided is not None
    assert voided.generation == 1


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_named_tokens(
    api: ApiClient, acme: Account, services: Services, store: Store, clock: ManualClock, kind: Kind
) -> None:
    """Several, each with its name and its end, listed without the tokens; one is revoked, and ending links spares them."""
    resource = await made(services, acme, kind)
    path, policy = await private(api, resource), policies(store, resource)
    ends = {"for ever": {}, "for a while": {"ttl_seconds": 60}, "till then": {"expires_at": "2999-01-01T00:00:00Z"}}
    tokens = {}
    for name, body in ends.items():
        tokens[name] = (await api("POST", f"{path}/tokens", json={"name": name, **body})).json["data"]
        clock.advance(1)
    assert {preview_secrets.kind_of(one["token"]) for one in tokens.values()} == {"program"}
    expiries = [None, iso(clock.now() + timedelta(seconds=58)), "2999-01-01T00:00:00Z"]
    assert [one["expires_at"] for one in tokens.values()] == expiries
    listed = await api("GET", f"{path}/tokens")
    assert listed.json["data"] == [{k: v for k, v in one.items() if k != "token"} for one in tokens.values()]
    assert not any(one["token"] in listed.body.decode() for one in tokens.values())
    await services.preview_secrets.note_uses({tokens["for ever"]["id"]: clock.now()})
    assert (await api("GET", f"{path}/tokens")).json["data"][0]["last_used_at"] == iso(clock.now())
    revoked = await api("DELETE", f"{path}/tokens/{tokens['till then']['id']}")
    assert revoked.json["data"]["revoked_at"] == iso(clock.now())
    await api("DELETE", f"{path}/share")
    assert opened_by(await policy(PORT)) == {
        (preview_secrets.digest(one["token"]), name == "till then") for name, one in tokens.items()
    }


async def test_a_token_without_a_name(api: ApiClient, sandbox: Resource) -> None:
    """It could not be told from the others: refused."""
    path = await private(api, sandbox)
    assert list((await api("POST", f"{path}/tokens", json={})).fields) == ["name"]


async def test_links_of_a_whole_sandbox(api: ApiClient, sandbox: Resource, store: Store, clock: ManualClock) -> None:
    """They open every port, also those without a preview; each is revoked by itself, and what has ended is not listed."""
    await private(api, sandbox)
    await api("PATCH", f"/api/v1/sandboxes/{sandbox.id}", json={"visibility": "private"})
    path, policy = f"/api/v1/sandboxes/{sandbox.id}", policies(store, sandbox)
    share = (await api("POST", f"{path}/shares", json={"expires_in": 60})).json["data"]
    clock.advance(1)
    token = (await api("POST", f"{path}/preview-token", json={})).json["data"]
    plain = share["share_url"].rpartition("=")[2]
    assert share["share_url"] == f"https://shop.miosa.app/?miosa_token={plain}"
    assert token["url"] == f"https://shop.miosa.app/?miosa_token={token['token']}"
    digests = {(preview_secrets.digest(plain), False), (preview_secrets.digest(token["token"]), False)}
    assert opened_by(await policy(PORT)) == opened_by(await policy(3000)) == digests
    listed = (await api("GET", f"{path}/shares")).json["data"]
    assert [one["share_url"] for one in listed] == [None, None]
    assert listed[0] == {**share, "share_url": None}
    clock.advance(60)
    assert [one["share_id"] for one in (await api("GET", f"{path}/shares")).json["data"]] == [listed[1]["share_id"]]
    assert (await api("DELETE", f"{path}/shares/{listed[1]['share_id']}")).status == 200
    assert (await api("GET", f"{path}/shares")).json["data"] == []
    assert (preview_secrets.digest(token["token"]), True) in opened_by(await policy(3000))


@pytest.mark.parametrize("noun", ["shares", "preview-token"])
@pytest.mark.parametrize(
    ("body", "field"),
    [({"scope": "write"}, "scope"), ({"expires_in": 29}, "expires_in"), ({"expires_in": 30 * 86400 + 1}, "expires_in")],
)
async def test_what_a_link_can_t_be(
    api: ApiClient, sandbox: Resource, noun: str, body: dict[str, Any], field: str
) -> None:
    """It opens a preview and nothing else, for 30 seconds to 30 days."""
    answer = await api("POST", f"/api/v1/sandboxes/{sandbox.id}/{noun}", json=body)
    assert (answer.status, list(answer.fields)) == (422, [field])


async def test_too_many_tokens(api: ApiClient, sandbox: Resource) -> None:
    """The 51st that works is refused in words that say what to do."""
    path = await private(api, sandbox)
    for number in range(50):
        await api("POST", f"{path}/tokens", json={"name": f"CI {number}"})
    answer = await api("POST", f"{path}/tokens", json={"name": "CI"})
    assert (answer.status, answer.code) == (409, "conflict")
    assert "50 tokens and links" in answer.json["error"]["message"]


async def test_a_share_link_leads_where_it_answers(api: ApiClient, services: Services, sandbox: Resource) -> None:
    """Not to a preview domain that is configured and not verified."""
    path = await private(api, sandbox)
    await api("PUT", "/api/v1/tenant/preview-domain", json={"preview_domain": "preview.example.com"})
    shared = (await api("POST", f"{path}/share")).json["data"]
    assert shared["preview"]["preview_domain"] == "preview.example.com"
    assert shared["share_url"].startswith(f"https://{PORT}-shop.sandbox.miosa.app/?miosa_token=mpl_")


async def test_another_kind_s_token_is_not_found(api: ApiClient, services: Services, sandbox: Resource) -> None:
    """A link is no named token, and a preview's is not the sandbox's."""
    path = await private(api, sandbox)
    await api("POST", f"{path}/share")
    (link,) = (await services.preview_secrets.newest_links(sandbox.id)).values()
    for wrong in (f"{path}/tokens/{link.id}", f"/api/v1/sandboxes/{sandbox.id}/shares/{link.id}"):
        answer = await api("DELETE", wrong)
        assert (answer.status, answer.code) == (404, "token_not_found" if "tokens" in wrong else "share_not_found")
    assert link.kind is SecretKind.LINK


def check_preview(shown: Mapping[str, Any]) -> None:
    """That the client's own type reads it."""
    preview = miosa.types.SandboxPreviewData.model_validate(shown)
    assert (preview.port, preview.visibility, preview.state) == (PORT, "private", "active")


def check_share(shared: Mapping[str, Any]) -> str:
    """That the client's own type reads it; the token."""
    result = miosa.types.PreviewShareResult.model_validate(shared)
    assert result.share_url.endswith(result.preview_token)
    assert result.preview_token.startswith(result.preview.share_token_prefix or "-")
    assert result.preview.share_token_expires_at is not None
    return result.preview_token


async def test_official_client(client: miosa.Miosa, sandbox: Resource, computer: Resource, store: Store) -> None:
    """Its calls on previews, shares and tokens do what their names say."""
    expires_at = datetime.now(UTC) + timedelta(days=30)

    def share() -> set[str]:
        made = client.sandboxes.get(sandbox.id)
        preview = made.previews.create(port=PORT, visibility="private", expires_at=iso(expires_at))
        check_preview(preview)
        token = check_share(made.previews.share(preview["id"], ttl_seconds=60))
        link = made.share.create(expires_in=3600)
        assert link.keys() >= {"share_id", "share_url", "expires_at", "scope"}
        assert [one["share_id"] for one in made.share.list()] == [link["share_id"]]
        minted = made.preview_token()
        assert minted.keys() >= {"token", "url", "expires_at", "scope"}
        return {token, link["share_url"].rpartition("=")[2], minted["token"]}

    def revoke() -> None:
        made = client.sandboxes.get(sandbox.id)
        (preview,) = made.previews.list()
        made.previews.revoke_share(preview["id"])
        for link in made.share.list():
            made.share.revoke(link["share_id"])
        assert made.share.list() == []

    def ports() -> None:
        ports = client.computers.get(computer.id).ports
        port = ports.create(PORT, visibility="private", ttl_seconds=60)
        assert (port["visibility"], port["state"]) == ("private", "active")
        assert ports.update(PORT, hide=True, networks=["203.0.113.0/24"])["networks"] == ["203.0.113.0/24"]
        assert ports.get(PORT)["hide"] is True  # type: ignore[index]
        assert ports.update(PORT, identity=True)["identity"] is True

    policy = policies(store, sandbox)
    digests = {preview_secrets.digest(plain) for plain in await asyncio.to_thread(share)}
    assert opened_by(await policy(PORT)) == {(digest, False) for digest in digests}
    await asyncio.to_thread(revoke)
    assert opened_by(await policy(PORT)) == {(digest, True) for digest in digests}
    await asyncio.to_thread(ports)


async def test_official_client_async(
    async_client: miosa.AsyncMiosa, sandbox: Resource, computer: Resource, store: Store
) -> None:
    """And so does its async twin."""
    made = await async_client.sandboxes.get(sandbox.id)
    preview = await made.previews.create(port=PORT, visibility="private")
    check_preview(preview)
    link = await made.share.create()
    minted = await made.preview_token(expires_in=60)
    plains = [
        check_share(await made.previews.share(preview["id"])),
        link["share_url"].rpartition("=")[2],
        minted["token"],
    ]
    digests = {preview_secrets.digest(plain) for plain in plains}
    policy = policies(store, sandbox)
    assert opened_by(await policy(PORT)) == {(digest, False) for digest in digests}
    await made.previews.revoke_share(preview["id"])
    for one in await made.share.list():
        await made.share.revoke(one["share_id"])
    assert opened_by(await policy(PORT)) == {(digest, True) for digest in digests}
    ports = (await async_client.computers.get(computer.id)).ports
    assert (await ports.create(PORT, visibility="key"))["visibility"] == "key"
    assert (await ports.update(PORT, visibility="private"))["visibility"] == "private"
