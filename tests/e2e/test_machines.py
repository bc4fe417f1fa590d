"""Machines from the client to the visitor: what the API has answered is what the proxy does from then on."""

import uuid
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

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
    with Router(tmp_path_factory.mktemp("machines")) as started:
        yield started


@pytest_asyncio.fixture
async def client(router: Router) -> AsyncIterator[miosa.AsyncMiosa]:
    """A new tenant's client."""
    key = router.key(router.tenant(f"Acme {uuid.uuid4()}"))
    async with miosa.AsyncMiosa(api_key=key, base_url=f"http://127.0.0.1:{router.api_port}/api/v1") as opened:
        yield opened


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend(_say_host) as started:
        yield started


async def _say_host(visit: Visit) -> None:
    await visit.answer(visit.header(b"host") or b"")


async def visit(router: Router, url: str) -> tuple[int, str]:
    """What a visitor of that URL gets from the proxy: the status, and the Host that the program saw or the code."""
    host = urlsplit(url).netloc
    async with Http1(router.proxy_port, host) as http:
        answer = await http.request("GET", "/")
        seen = (await answer.read_all()).decode()
        return answer.status, answer.header("x-miosa-error") or seen


async def test_a_sandboxs_life(router: Router, client: miosa.AsyncMiosa, backend: Backend) -> None:
    """Created, started, exposed, previewed, closed, deleted: each is true for visitors when its answer arrives."""
    sandbox = await client.sandboxes.create(name="box")
    router.boot(sandbox.id, {5173: backend.port, 8000: backend.port})
    assert (await sandbox.refresh()).state == "running"
    host = f"5173-{sandbox.slug}.sandbox.{PLATFORM_DOMAIN}"
    assert await visit(router, f"https://{host}") == (404, "host_not_found")
    url = await sandbox.expose(5173)
    assert url == f"https://{host}"
    assert await visit(router, url) == (200, host)
    preview = await sandbox.previews.create(port=5173, host_mode="localhost")
    assert await visit(router, url) == (200, f"localhost:{backend.port}")
    await sandbox.previews.delete(preview["id"])
    assert await visit(router, url) == (404, "host_not_found")
    await sandbox.destroy()
    assert await visit(router, url) == (410, "resource_deleted")


async def test_a_computer_that_moves(router: Router, client: miosa.AsyncMiosa, backend: Backend) -> None:
    """Its new workspace's domain serves it when the move is answered, and the old one's no longer."""
    workspaces = [await client.workspaces.create(name) for name in ("One", "Two")]
    domains = [f"{name}-{uuid.uuid4().hex[:8]}.example" for name in ("one", "two")]
    async with open_services(load(environ=router.environment)) as services:
        for workspace, domain in zip(workspaces, domains, strict=True):
            await services.preview_domains.set(Scope.WORKSPACE, workspace.id, domain)
            await verify_preview(services, Scope.WORKSPACE, workspace.id)
    computer = await client.computers.create("desk", workspace_id=workspaces[0].id)
    router.boot(computer.id, {3000: backend.port})
    port = await computer.ports.create(3000)
    hosts = [f"3000-{computer.slug}.sandbox.{domain}" for domain in domains]
    assert port["url"] == f"https://{hosts[0]}"
    assert await visit(router, f"https://{hosts[0]}") == (200, hosts[0])
    assert await visit(router, f"https://{hosts[1]}") == (404, "host_not_found")
    await computer.move(workspace_id=workspaces[1].id)
    assert await visit(router, f"https://{hosts[0]}") == (404, "host_not_found")
    assert await visit(router, f"https://{hosts[1]}") == (200, hosts[1])
    assert await visit(router, port["fallback_url"]) == (200, urlsplit(port["fallback_url"]).netloc)
    await computer.ports.delete(3000)
    assert await visit(router, f"https://{hosts[1]}") == (404, "host_not_found")
