"""A walk through every operation of the API, in the name of somebody who has one of everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from router.api.operations import Auth, Operation
from router.api.principal import Access
from router.domains.lookup import RecordType
from router.node.services import Services
from router.tenancy.projects import ProjectFilter
from router.tenancy.resources import ResourceFilter
from tests.support.api import Answered, ApiClient
from tests.support.backends import Backend, Visit
from tests.support.calls import Request
from tests.support.holdings import Holder, Holdings, fill, mark_project, mark_tenant, mark_workspace
from tests.support.memory_dns import MemoryLookup

INTERNAL_TOKEN = "the-platform"
MARK = "zsite"


def leading_here() -> MemoryLookup:
    """Every name leads to us, so that what is verified is right."""
    everywhere = MemoryLookup()
    everywhere.put("*.example", RecordType.CNAME, "proxy.miosa.ai")
    for name in ("desk", "www", "shop"):  # a wildcard would need a proof of each
        everywhere.put(f"{name}.{MARK}.test", RecordType.CNAME, "verify.miosa.ai")
    return everywhere


@asynccontextmanager
async def one_of_everything(services: Services) -> AsyncIterator[Holdings]:
    """Somebody's holdings, whose sandbox's program answers meanwhile."""

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as program:
        tenant = await mark_tenant(services, "zcompany")
        workspace = await mark_workspace(services, tenant, "zclinic")
        project = await mark_project(services, workspace, MARK)
        yield await fill(services, Holder(MARK, tenant, workspace, project), program.port)


class Asking:
    """Asks rows of the table in the name of whoever may; `principal` is what the tenant's key stands for."""

    def __init__(self, api: ApiClient, key: str, principal: str, platform_key: str) -> None:
        self._api = api
        self._key = key
        self._platform_key = platform_key
        self.principal = principal

    def key(self, row: Operation) -> str:
        if row.auth is Auth.INTERNAL:
            return INTERNAL_TOKEN
        return self._platform_key if row.access is Access.PLATFORM else self._key

    async def __call__(self, row: Operation, request: Request, **options: Any) -> Answered:
        sent = {"key": self.key(row), **request.options, **options}
        return await self._api(request.method, request.path, **sent)

    async def announce(self, row: Operation, request: Request, length: int) -> str:
        """The status line of the answer to a head that announces a body of that length, which never comes."""
        head = [
            f"{request.method} {request.path} HTTP/1.1",
            "Host: api.miosa.test",
            f"Authorization: Bearer {self.key(row)}",
            "Content-Type: application/json",
            f"Content-Length: {length}",
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", self._api.port)
        try:
            writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
            async with asyncio.timeout(10):
                return (await reader.readline()).decode()
        finally:
            writer.transport.abort()


def in_order(table: list[Operation]) -> list[Operation]:
    """So that each row still finds what it needs: deletions at the end, from the inside out."""
    holders = {f"/api/v1/{kind}/{{id}}": 1 for kind in ("computers", "deployments")}
    around = holders | {"/internal/v1/resources/{id}": 2, "/api/v1/projects/{id}": 3, "/api/v1/workspaces/{id}": 4}
    around["/internal/v1/tenants/{id}"] = 5

    def place(row: Operation) -> tuple[bool, int, int]:
        gone = row.method == "DELETE"
        return gone, around.get(row.path, 0) if gone else 0, -row.path.count("/") if gone else 0

    return sorted(table, key=place)


async def empty(services: Services, held: Holdings) -> None:
    """Delete what is in the project, and what was made in the workspace meanwhile."""
    workspace = held.holder.workspace
    for resource in (await services.resources.list(ResourceFilter(workspace_id=workspace.id))).items:
        await services.resources.delete(resource.id)
    for project in (
        await services.projects.list(ProjectFilter(tenant_id=workspace.tenant_id, workspace_id=workspace.id))
    ).items:
        if project.id != held.ids["project"] and not project.is_default:
            await services.projects.delete(project.id)


def is_for_a_browser(row: Operation) -> bool:
    """Whether it needs a code that only a sign-in gives: `tests/e2e/test_console_login.py` has it succeed."""
    return row.mutates and row.auth is Auth.NONE
