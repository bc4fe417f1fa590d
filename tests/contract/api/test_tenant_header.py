"""X-MIOSA-Tenant, which the official client's `with_tenant` sends: honoured or refused, never ignored."""

import asyncio

import miosa
import pytest
from miosa import errors as client_errors

from router.api.operations import Auth, Operation
from router.base.ids import new_id
from router.base.key_scopes import KeyScope
from router.node.services import Services
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import ApiClient

pytestmark = pytest.mark.asyncio

MALFORMED = ["", " ", "a b", "a,b", "-a", "a.b", "../x", "ü", "a" * 81, "\xff", "null;"]


async def platform_key(services: Services, account: Account) -> str:
    _, plain = await services.keys.create(account.tenant.id, scope=KeyScope.PLATFORM)
    return plain


async def test_a_key_of_the_platform_becomes_one_of_the_tenant(
    api: ApiClient, services: Services, acme: Account, globex: Account
) -> None:
    """By id, in either case, or by slug: it sees and makes what is that tenant's, and nothing of anybody else."""
    key = await platform_key(services, acme)
    for named in (globex.tenant.id, globex.tenant.id.upper(), globex.tenant.slug):
        headers = {"X-MIOSA-Tenant": named}
        listed = await api("GET", "/api/v1/projects", key=key, headers=headers)
        assert {item["tenant_id"] for item in listed.json["data"]} == {globex.tenant.id}
        made = await api("POST", "/api/v1/sandboxes", key=key, headers=headers, json={})
        assert (made.status, made.json["data"]["tenant_id"]) == (201, globex.tenant.id)
        foreign = await api("GET", f"/api/v1/projects/{acme.project.id}", key=key, headers=headers)
        assert foreign.status == 404
        refused = await api(
            "POST", "/api/v1/api-keys", key=key, headers=headers, json={"name": "x", "scope": "platform"}
        )
        assert refused.status == 403
    own = await api("GET", "/api/v1/projects", key=key)
    assert {item["tenant_id"] for item in own.json["data"]} == {acme.tenant.id}


async def test_an_answer_is_kept_for_one_tenant(
    api: ApiClient, services: Services, acme: Account, globex: Account
) -> None:
    """The same Idempotency-Key of the same key in another tenant's name is another request."""
    key = await platform_key(services, acme)
    made = [
        await api(
            "POST",
            "/api/v1/sandboxes",
            key=key,
            headers={"Idempotency-Key": "once", "X-MIOSA-Tenant": account.tenant.slug},
            json={},
        )
        for account in (acme, globex)
    ]
    assert [answer.json["data"]["tenant_id"] for answer in made] == [acme.tenant.id, globex.tenant.id]


async def test_an_unknown_tenant(api: ApiClient, services: Services, acme: Account) -> None:
    """404 in words for a key of the platform; a tenant's own can't tell it from one that exists."""
    key = await platform_key(services, acme)
    for named in (new_id(), "nobody"):
        unknown = await api("GET", "/api/v1/projects", key=key, headers={"X-MIOSA-Tenant": named})
        assert (unknown.status, unknown.code) == (404, "tenant_not_found")
        assert (await api("GET", "/api/v1/projects", headers={"X-MIOSA-Tenant": named})).status == 403


async def test_any_other_key_names_its_own(api: ApiClient, acme: Account, globex: Account) -> None:
    """Whatever its reach: its own tenant changes nothing, another's is 403."""
    for key in (acme.key, acme.workspace_key, acme.project_key):
        for named in (acme.tenant.id, acme.tenant.slug):
            assert (await api("GET", "/api/v1/projects", key=key, headers={"X-MIOSA-Tenant": named})).status == 200
        for named in (globex.tenant.id, globex.tenant.slug):
            refused = await api("GET", "/api/v1/projects", key=key, headers={"X-MIOSA-Tenant": named})
            assert (refused.status, refused.code) == (403, "forbidden")
            assert "X-MIOSA-Tenant" in refused.json["error"]["message"]


async def test_on_every_route(api: ApiClient, table: list[Operation], acme: Account, globex: Account) -> None:
    """403 for another's tenant, before anything is looked for; the platform's own endpoints take no such header, and what
    anybody may read is nobody's."""
    for row in table:
        if row.auth is Auth.NONE:
            continue
        path = row.path.replace(":text}", "}")
        for place in row.places:
            path = path.replace(f"{{{place}}}", new_id())
        internal = row.auth is Auth.INTERNAL
        answer = await api(
            row.method,
            path,
            key=INTERNAL_TOKEN if internal else acme.key,
            headers={"X-MIOSA-Tenant": globex.tenant.slug},
        )
        assert (answer.status, answer.code) == ((400, "invalid_tenant") if internal else (403, "forbidden")), row


async def test_malformed(api: ApiClient, acme: Account) -> None:
    """Refused in words; sent twice too."""
    head = f"GET /api/v1/projects HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {acme.key}\r\n"
    own = f"X-MIOSA-Tenant: {acme.tenant.id}\r\n"
    for given in (own + own, *(f"X-MIOSA-Tenant: {text}\r\n" for text in MALFORMED)):
        answer = await api.raw((head + given + "\r\n").encode("latin-1"))
        assert b"400 Bad Request" in answer, given
        assert b'"invalid_tenant"' in answer, given


async def test_the_official_client(client: miosa.Miosa, services: Services, acme: Account, globex: Account) -> None:
    """`with_tenant` as it comes."""
    with client.with_tenant(acme.tenant.slug) as own:
        found = await asyncio.to_thread(own.projects.list)
    assert {project["tenant_id"] for project in found} == {acme.tenant.id}  # type: ignore[index]
    with client.with_tenant(globex.tenant.slug) as other, pytest.raises(client_errors.MiosaError) as refused:
        await asyncio.to_thread(other.projects.list)
    assert refused.value.status_code == 403
