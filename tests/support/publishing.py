"""Sandboxes whose program is a backend on loopback, to publish from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from router.node.services import Services
from router.routes.records import Kind, State
from router.tenancy.endpoints import EndpointChange
from router.tenancy.ownership import Ownership
from router.tenancy.resources import Resource
from tests.support.accounts import Account
from tests.support.backends import Backend, Handler, Visit


async def sandbox_of(services: Services, account: Account, **options: Any) -> Resource:
    """A sandbox in the account's own project, on port 3000; it does not listen yet."""
    into = Ownership(project_id=account.project.id)
    options = {"name": "Smile Dental", "default_port": 3000} | options
    return await services.resources.create(Kind.SANDBOX, account.tenant.id, ownership=into, **options)


async def listen(
    services: Services, resource_id: str, port: int, *, generation: str = "boot-1", public: int = 3000, **options: Any
) -> None:
    """Say what the platform says when a program listens."""
    change = EndpointChange(
        resource_id=resource_id,
        address="127.0.0.1",
        generation=generation,
        ports={public: port},
        **{"state": State.RUNNING} | options,
    )
    await services.resources.endpoints.put(change)


@asynccontextmanager
async def program(services: Services, resource_id: str, handler: Handler | None = None) -> AsyncIterator[Backend]:
    """A program in that sandbox, which answers everything with 200 unless `handler` does otherwise."""

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(handler or hello) as backend:
        await listen(services, resource_id, backend.port)
        yield backend
