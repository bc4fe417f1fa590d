"""Methods of the official client on what is ours, each against the API as it is served."""

import asyncio
from collections.abc import AsyncIterator

import miosa
import pytest
import pytest_asyncio
from miosa import errors as client_errors

from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.routes.records import Kind, Scope
from router.settings import Settings, load
from router.tenancy.resource_service import Resource
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.backends import Backend, Visit
from tests.support.holdings import Holder, Holdings, fill, mark_login
from tests.support.routes import Routes

pytestmark = pytest.mark.asyncio


@pytest.fixture
def settings() -> Settings:
    return load(
        environ={
            "MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8",
            "MIOSA_ROUTER_SECRETS_KEY": "5" * 64,
        }
    )


@pytest_asyncio.fixture
async def held(services: Services, acme: Account) -> AsyncIterator[Holdings]:
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    await mark_login(services, acme.tenant.id, "acme")
    async with Backend(hello) as program:
        yield await fill(services, Holder("acme", acme.tenant, acme.workspace, acme.project), program.port)


async def refused(call: object, *arguments: object) -> client_errors.MiosaError:
    with pytest.raises(client_errors.MiosaError) as caught:
        await asyncio.to_thread(call, *arguments)  # type: ignore[arg-type]
    return caught.value


async def test_stop_and_put_on_air_again(client: miosa.Miosa, held: Holdings, services: Services) -> None:
    """Its hosts answer `stopped` until a version is promoted; stopping again changes nothing."""
    deployment_id = held.ids["deployment"]
    for _ in range(2):
        stopped = await asyncio.to_thread(client.deployments.stop, deployment_id)
        assert stopped.state == "stopped"
    versions = client.deployments.versions(deployment_id)
    await asyncio.to_thread(versions.promote, held.ids["version"])
    assert (await services.deployments.get(deployment_id)).state == "running"


async def test_nothing_to_stop_or_to_build_again(client: miosa.Miosa, acme: Account, services: Services) -> None:
    """409 where nothing has been published."""
    fresh = await services.deployments.create(acme.tenant.id, "Fresh")
    for call in (client.deployments.stop, client.deployments.redeploy):
        assert (await refused(call, fresh.id)).status_code == 409


async def test_redeploy(client: miosa.Miosa, held: Holdings, services: Services) -> None:
    """A version more, made as the last one, on air; 409 once its sandbox is gone."""
    deployment_id = held.ids["deployment"]
    before = await services.deployments.get(deployment_id)
    shown = await asyncio.to_thread(client.deployments.redeploy, deployment_id)
    assert shown.state == "running"
    newest, last, *_ = (await services.releases.versions(deployment_id)).items
    assert (await services.deployments.get(deployment_id)).active_version_id == newest.id != before.active_version_id
    same = ("kind", "environment", "source_sandbox_id", "output_path", "entrypoint", "port", "health_check_path")
    assert [getattr(newest, name) for name in same] == [getattr(last, name) for name in same]
    await services.resources.delete(held.ids["sandbox"])
    error = await refused(client.deployments.redeploy, deployment_id)
    assert (error.status_code, "has been deleted" in str(error)) == (409, True)


async def test_move_a_deployment(
    client: miosa.Miosa, held: Holdings, acme: Account, globex: Account, services: Services
) -> None:
    """By either name of the workspace; its links follow. Another tenant's is not there."""
    await services.preview_domains.set(Scope.PROJECT, acme.project.id, "site.example")
    deployment_id = held.ids["deployment"]

    def move(**fields: str) -> miosa.types.Deployment:
        return client.deployments.move(deployment_id, **fields)

    moved = await asyncio.to_thread(lambda: move(target_workspace_id=acme.default.id))
    assert (moved.workspace_id, moved.project_id) == (acme.default.id, acme.default_project.id)
    back = await asyncio.to_thread(lambda: move(workspace_id=acme.workspace.id, project_id=acme.project.id))
    assert (back.workspace_id, back.project_id) == (acme.workspace.id, acme.project.id)
    assert (moved.public_url, back.public_url) == ("https://acme-shop.miosa.app", "https://acme-shop.site.example")
    for fields, status in (
        ({"target_workspace_id": globex.workspace.id}, 404),
        ({}, 422),
        ({"target_workspace_id": acme.default.id, "workspace_id": acme.workspace.id}, 422),
        ({"target_workspace": acme.default.id}, 422),
    ):
        assert (await refused(lambda fields=fields: move(**fields))).status_code == status


async def test_a_key_made_anew(client: miosa.Miosa, api: ApiClient, acme: Account, services: Services) -> None:
    """Same id and scope, another plain text; the old one opens nothing from then on. A revoked one stays revoked."""
    key, old = await services.keys.create(acme.tenant.id, scope=KeyScope.PROJECT, scope_id=acme.project.id)
    rotated = await asyncio.to_thread(client.api_keys.rotate, key.id)
    assert (rotated["id"], rotated["scope"]) == (key.id, f"project:{acme.project.id}")
    assert rotated["key"].startswith(rotated["prefix"])
    assert (await api("GET", "/api/v1/projects", key=old)).status == 401
    assert (await api("GET", "/api/v1/projects", key=rotated["key"])).status == 200
    renamed = await asyncio.to_thread(lambda: client.api_keys.update(key.id, name="ci"))
    assert renamed["name"] == "ci"
    assert (await api("GET", "/api/v1/projects", key=rotated["key"])).status == 200
    await services.keys.revoke(key.id)
    assert (await refused(client.api_keys.rotate, key.id)).status_code == 409


async def test_whoami(client: miosa.Miosa, api: ApiClient, acme: Account, globex: Account, services: Services) -> None:
    """For a key of any reach; never the key itself."""
    _, platform = await services.keys.create(acme.tenant.id, scope=KeyScope.PLATFORM)
    for key, scope, workspace, project in (
        (platform, "platform", None, None),
        (acme.key, "tenant", None, None),
        (acme.workspace_key, f"workspace:{acme.workspace.id}", acme.workspace, None),
        (acme.project_key, f"project:{acme.project.id}", acme.workspace, acme.project),
    ):
        answer = await api("GET", "/api/v1/whoami", key=key)
        shown = answer.json["data"]
        assert (shown["scopes"], shown["organization"]["slug"]) == ([scope], acme.tenant.slug)
        assert (shown["workspace"] and shown["workspace"]["id"]) == (workspace and workspace.id)
        assert (shown["project"] and shown["project"]["id"]) == (project and project.id)
        assert key.encode() not in answer.body
    assert (await asyncio.to_thread(client.account.whoami))["tenant_id"] == acme.tenant.id
    there = await asyncio.to_thread(lambda: client.account.whoami(tenant=acme.tenant.slug))
    assert there["organization"]["id"] == acme.tenant.id
    error = await refused(lambda: client.account.whoami(tenant=globex.tenant.slug))
    assert error.status_code == 403


async def test_summary(client: miosa.Miosa, held: Holdings, acme: Account) -> None:
    """What lies in the project, counted."""
    shown = await asyncio.to_thread(client.projects.summary, acme.project.id)
    assert (shown["id"], shown["name"]) == (acme.project.id, acme.project.name)
    counts = {name: shown[name] for name in ("sandboxes", "computers", "deployments", "custom_domains")}
    assert counts == {
        "sandboxes": {"total": 2, "running": 1},
        "computers": {"total": 1, "running": 0},
        "deployments": {"total": 1, "running": 1},
        "custom_domains": 3,
    }


@pytest.mark.parametrize("kind", [Kind.SANDBOX, Kind.COMPUTER])
async def test_urls_of_ports(api: ApiClient, acme: Account, services: Services, routes: Routes, kind: Kind) -> None:
    """Of ports that are reached, as the proxy has it; 404 for all others."""

    async def made() -> Resource:
        resource = await services.resources.create(kind, acme.tenant.id, slug=f"a-{kind}", default_port=3000)
        await services.previews.put(resource.id, 5173)
        return resource

    resource = await made()
    path = f"/api/v1/{kind.plural}/{resource.id}"
    for port in (3000, 5173):
        shown = (await api("GET", f"{path}/ports/{port}/url")).json
        assert shown["url"] == shown["data"]["url"] == f"https://{port}-a-{kind}.sandbox.miosa.app"
        assert shown["data"]["port"] == port
    for port in ("8000", "0", "x", "05173", "65536", "22"):
        assert (await api("GET", f"{path}/ports/{port}/url")).status == 404
    await services.tenants.update(acme.tenant.id, auto_expose=True)
    assert (await api("GET", f"{path}/ports/8000/url")).status == 200
    if kind is Kind.COMPUTER:
        listed = (await api("GET", f"{path}/urls?page_size=1&page=2")).json
        assert [item["port"] for item in listed["data"]] == [5173]
        assert listed["page"]["total"] == 2


async def test_replay_a_delivery(client: miosa.Miosa, held: Holdings, services: Services) -> None:
    """The event once more, as a delivery of its own; what is still under way is not doubled."""
    webhook_id = held.ids["webhook"]
    again = await asyncio.to_thread(client.event_subscriptions.replay_delivery, webhook_id, held.ids["delivery"])
    assert (again["state"], again["attempts"]) == ("pending", 0)
    newest, old = (await services.webhooks.deliveries(webhook_id)).items
    assert (newest.id, newest.event_id) == (again["id"], old.event_id)
    error = await refused(client.event_subscriptions.replay_delivery, webhook_id, again["id"])
    assert error.status_code == 409
