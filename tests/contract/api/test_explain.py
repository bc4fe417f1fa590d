"""Why a host leads where it leads: for its owner, and for nobody else."""

import json

import pytest

from router.node.services import Services
from router.routes.records import Kind, Scope
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.checks import verify_custom

pytestmark = pytest.mark.asyncio

EXPLAIN = "/api/v1/explain"
NOT_YOURS = "No host of that name is yours."


async def shop(services: Services, account: Account, slug: str) -> Resource:
    """A deployment in the account's project."""
    return await services.resources.create(
        Kind.DEPLOYMENT, account.tenant.id, slug=slug, name=slug, ownership=Ownership(project_id=account.project.id)
    )


async def ask(api: ApiClient, host: str, key: str | None = None) -> Answered:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return await api("GET", EXPLAIN, params={"host": host}, headers=headers)


def refused(answer: Answered) -> bool:
    """In the words that say nothing of the host."""
    return answer.status == 404 and answer.json["error"]["message"] == NOT_YOURS


async def test_hosts_of_resources(api: ApiClient, services: Services, acme: Account, globex: Account) -> None:
    """Under the platform's domain: each key sees what it reaches, and all that it doesn't reach is the same to it."""
    mine, theirs = await shop(services, acme, "shop"), await shop(services, globex, "globex-shop")
    elsewhere = await services.resources.create(
        Kind.SANDBOX, acme.tenant.id, slug="box", name="box", ownership=Ownership(project_id=acme.default_project.id)
    )
    for key in (acme.key, acme.workspace_key, acme.project_key):
        found = (await ask(api, "Shop.miosa.app", key)).json["data"]
        assert (found["host"], found["level"], found["resource"]["id"]) == ("shop.miosa.app", "platform", mine.id)
        assert found["steps"][-1]["key"] == "slug:shop"
        assert found["message"].endswith(".")
    assert (await ask(api, "box.miosa.app")).json["data"]["resource"]["id"] == elsewhere.id
    assert refused(await ask(api, "box.miosa.app", acme.project_key))
    for host in ("globex-shop.miosa.app", "nobody.miosa.app", "www.example.com", "miosa.app", "com", "192.0.2.1"):
        assert refused(await ask(api, host)), host
    assert (await ask(api, "globex-shop.miosa.app", globex.key)).json["data"]["resource"]["id"] == theirs.id


async def test_domains(api: ApiClient, services: Services, acme: Account, globex: Account) -> None:
    """A custom domain before and after it is verified; nothing of it to others, verified or not."""
    resource = await shop(services, acme, "shop")
    domain = await services.custom_domains.register(resource.id, "www.yourcompany.com")
    found = (await ask(api, "www.yourcompany.com")).json["data"]
    assert (found["reason"], found["resource"], found["error"]) == ("not_verified", None, "host_not_found")
    assert [step["key"] for step in found["steps"]] == ["name:www.yourcompany.com"]
    assert refused(await ask(api, "www.yourcompany.com", globex.key))
    await verify_custom(services, domain.id)
    found = (await ask(api, "www.yourcompany.com", acme.project_key)).json["data"]
    assert (found["level"], found["resource"]["slug"]) == ("exact", "shop")
    assert refused(await ask(api, "www.yourcompany.com", globex.key))
    assert refused(await ask(api, "other.yourcompany.com"))


async def test_hosts_of_a_preview_domain(api: ApiClient, services: Services, acme: Account, globex: Account) -> None:
    """Also those that lead nowhere; whether somebody else's resource has the slug is not told."""
    await shop(services, globex, "globex-shop")
    await services.preview_domains.set(Scope.WORKSPACE, acme.workspace.id, "preview.yourcompany.com")
    answers = []
    for slug in ("globex-shop", "nobody"):
        answer = await ask(api, f"{slug}.preview.yourcompany.com", acme.workspace_key)
        assert answer.status == 200
        assert answer.json["data"]["reason"] == "not_verified"
        answers.append(json.dumps(answer.json["data"]).replace(slug, "SLUG"))
    assert answers[0] == answers[1]
    assert refused(await ask(api, "nobody.preview.yourcompany.com", acme.project_key))
    assert refused(await ask(api, "nobody.preview.yourcompany.com", globex.key))


async def test_what_is_no_host(api: ApiClient) -> None:
    """It is said at the field."""
    for host in ("a..b", "*.example.com", "a b", "x" * 300):
        answer = await ask(api, host)
        assert (answer.status, list(answer.json["error"]["fields"])) == (422, ["host"]), host
    assert (await api("GET", EXPLAIN)).json["error"]["fields"] == {"host": ["can't be blank"]}
