"""Tenants, workspaces and projects from the client to the visitor: what is answered is true for visitors from then on."""

import uuid
from collections.abc import AsyncIterator, Iterator

import miosa
import pytest
import pytest_asyncio

from router.node.services import open_services
from router.routes.records import Scope
from router.settings import load
from tests.support.backends import Backend, Visit
from tests.support.checks import verify_preview
from tests.support.http1 import Http1
from tests.support.router import PLATFORM_DOMAIN, Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with Router(tmp_path_factory.mktemp("tenancy")) as started:
        yield started


@pytest_asyncio.fixture
async def client(router: Router) -> AsyncIterator[miosa.AsyncMiosa]:
    """A new tenant's client."""
    key = router.key(router.tenant(f"Acme {uuid.uuid4()}"))
    async with miosa.AsyncMiosa(api_key=key, base_url=f"http://127.0.0.1:{router.api_port}/api/v1") as opened:
        yield opened


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend(_say_hello) as started:
        yield started


async def _say_hello(visit: Visit) -> None:
    await visit.answer(b"hello")


async def visit(router: Router, host: str) -> tuple[int, str]:
    """What a browser gets: the status, and the page."""
    async with Http1(router.proxy_port, host) as http:
        answer = await http.request("GET", "/", "Sec-Fetch-Mode: navigate")
        return answer.status, (await answer.read_all()).decode()


async def test_a_project_that_moves(router: Router, client: miosa.AsyncMiosa, backend: Backend) -> None:
    """Everything in it answers under the new workspace's domain when the move is answered, and no longer the old."""
    workspaces = [await client.workspaces.create(name) for name in ("One", "Two")]
    domains = [f"{name}-{uuid.uuid4().hex[:8]}.example" for name in ("one", "two")]
    async with open_services(load(environ=router.environment)) as services:
        for workspace, domain in zip(workspaces, domains, strict=True):
            await services.preview_domains.set(Scope.WORKSPACE, workspace.id, domain)
            await verify_preview(services, Scope.WORKSPACE, workspace.id)
    project = await client.projects.create("Site", workspace_id=workspaces[0].id)
    sandbox = await client.sandboxes.create(project_id=project["id"])
    router.boot(sandbox.id, {3000: backend.port})
    await (await sandbox.refresh()).expose(3000)
    hosts = [f"3000-{sandbox.slug}.sandbox.{domain}" for domain in domains]
    assert [(await visit(router, host))[0] for host in hosts] == [200, 404]
    await client.projects.move(project["id"], workspaces[1].id)
    assert [(await visit(router, host))[0] for host in hosts] == [404, 200]
    assert (await visit(router, f"3000-{sandbox.slug}.sandbox.{PLATFORM_DOMAIN}"))[0] == 200
    assert (await client.sandboxes.get(sandbox.id)).workspace_id == workspaces[1].id


async def test_a_tenants_marks(router: Router, client: miosa.AsyncMiosa) -> None:
    """The page for a port that is closed carries the tenant's name from the moment that it is set."""
    sandbox = await client.sandboxes.create()
    router.boot(sandbox.id, {3000: 9})  # nothing listens there
    await (await sandbox.refresh()).expose(3000)
    host = f"3000-{sandbox.slug}.sandbox.{PLATFORM_DOMAIN}"
    status, page = await visit(router, host)
    assert (status, "ClinicIQ" in page) == (502, False)
    await client.tenant.branding.set({"product_name": "ClinicIQ", "primary_color": "#e11d48"})
    status, page = await visit(router, host)
    assert (status, "ClinicIQ" in page, "#e11d48" in page) == (502, True, True)
    await client.tenant.branding.delete()
    assert "ClinicIQ" not in (await visit(router, host))[1]
    assert "ClinicIQ" not in (await visit(router, f"nothing.{PLATFORM_DOMAIN}"))[1]


async def test_use_is_counted(router: Router, client: miosa.AsyncMiosa, backend: Backend) -> None:
    """What the platform says of a computer's state shows in its workspace's counts and use."""
    workspace = await client.workspaces.create("Counted")
    computer = await client.computers.create("desk", workspace_id=workspace.id, size="medium")
    router.boot(computer.id, {3000: backend.port})
    stats = await client._transport.request("GET", f"/workspaces/{workspace.id}/stats")
    assert (stats["computers"]["total"], stats["computers"]["by_status"]["running"]) == (1, 1)
    assert stats["resources"]["total_vcpus"] == 2
    usage = await client._transport.request("GET", f"/workspaces/{workspace.id}/usage", params={"window": "7d"})
    assert len(usage["series"]) == 168
    assert usage["total_compute_hours"] > 0
