"""A whole node in this process: what the platform says over /internal/v1 is what the proxy does next."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from router.base.ids import new_id
from router.node.app import App
from router.node.services import open_services
from router.node.sockets import ListenError
from tests.support.backends import Backend, Visit
from tests.support.node import Node, node_settings, running

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running(node_settings(tmp_path), drain=True) as started:
        yield started


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as running:
        yield running


@pytest_asyncio.fixture
async def tenant(node: Node, tmp_path: Path) -> str:
    async with open_services(node_settings(tmp_path)) as services:
        return (await services.tenants.create("Acme")).id


async def test_the_proxy_sees_a_change_when_it_is_answered(node: Node, tenant: str, backend: Backend) -> None:
    """Each step of a sandbox's life is what the very next request meets, remembered routes or not."""
    resource, host = new_id(), "sbx01j9x.sandbox.miosa.app"
    path, endpoint = f"/resources/{resource}", f"/endpoints/{resource}"
    listening = {"address": "127.0.0.1", "generation": "1", "ports": {"3000": backend.port}}

    assert (await node.visit(host))[0] == 404
    await node.platform("PUT", path, {"kind": "sandbox", "slug": "sbx01j9x", "tenant_id": tenant, "default_port": 3000})
    assert (await node.visit(host))[0] == 503
    await node.platform("PUT", endpoint, {**listening, "state": "running"})
    assert await node.visit(host) == (200, b"hello")
    assert (await node.visit(f"5173-{host}"))[0] == 404
    await node.platform("PATCH", path, {"suspended": True})
    assert (await node.visit(host))[0] == 451
    await node.platform("PATCH", path, {"suspended": False, "state": "stopped"})
    assert (await node.visit(host))[0] == 503
    await node.platform("PUT", endpoint, {**listening, "generation": "2", "state": "running"})
    assert (await node.visit(host))[0] == 200
    await node.platform("DELETE", path)
    assert (await node.visit(host))[0] == 410


async def test_activity_reaches_the_platform_at_once(node: Node, tenant: str, backend: Backend) -> None:
    """A resource that served a request is listed as active without waiting for the next copy."""
    resource = new_id()
    body = {"kind": "sandbox", "slug": "busy", "tenant_id": tenant, "default_port": backend.port}
    await node.platform("PUT", f"/resources/{resource}", body)
    await node.platform("PUT", f"/endpoints/{resource}", {"address": "127.0.0.1", "generation": "1"})
    assert (await node.platform("GET", "/activity"))["data"] == []
    await node.visit("busy.miosa.app")
    seen = (await node.platform("GET", "/activity"))["data"]
    assert [item["resource_id"] for item in seen] == [resource]


@pytest.mark.parametrize("listener", ["proxy", "api", "admin"])
async def test_our_own_listeners_are_no_endpoints(node: Node, tenant: str, listener: str) -> None:
    """A sandbox that claims to listen where we do is refused: its requests would come back to us for ever."""
    resource = new_id()
    body = {"kind": "sandbox", "slug": "mirror", "tenant_id": tenant, "default_port": 80}
    await node.platform("PUT", f"/resources/{resource}", body)
    port = node.app.addresses[listener][1]
    with pytest.raises(AssertionError, match="own listeners"):
        await node.platform(
            "PUT", f"/endpoints/{resource}", {"address": "127.0.0.1", "generation": "1", "ports": {"80": port}}
        )


async def test_explain_and_ask_know_the_same_store(node: Node, tenant: str) -> None:
    """The admin listener explains what the platform registered, and the gate judges by it."""
    body = {"kind": "sandbox", "slug": "known", "tenant_id": tenant, "default_port": 80}
    await node.platform("PUT", f"/resources/{new_id()}", body)
    status, explained = await node.admin("/explain?host=known.miosa.app")
    assert (status, explained["decision"]["reason"], explained["gate"]["status"]) == (200, "starting", 200)


async def test_document_lists_every_internal_endpoint(node: Node) -> None:
    """What the API listener serves it documents."""
    async with aiohttp.ClientSession() as session, session.get(node.url("api") + "/openapi.json") as answer:
        paths = json.loads(await answer.read())["paths"]
    internal = {path: set(methods) for path, methods in paths.items() if path.startswith("/internal/")}
    assert internal == {
        "/internal/v1/resources/{id}": {"put", "get", "patch", "delete"},
        "/internal/v1/endpoints/{resource_id}": {"put", "get", "delete"},
        "/internal/v1/endpoints/batch": {"post"},
        "/internal/v1/activity": {"get"},
        "/internal/v1/deployments/{id}/env": {"get"},
        "/internal/v1/blocks": {"get", "post"},
        "/internal/v1/blocks/{id}": {"get", "delete"},
        "/internal/v1/tenants/{id}": {"delete"},
    }


async def test_failed_start_leaves_nothing(tmp_path: Path) -> None:
    """When one listener can't be opened the others are closed again, and no task is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = f"127.0.0.1:{taken.getsockname()[1]}"
        app = App(node_settings(tmp_path, proxy_bind=bind, admin_bind=admin))
        with pytest.raises(ListenError, match=f"the admin listener cannot use {admin}: Address already in use"):
            await app.start()
    host, _, port = bind.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closed_node_leaves_nothing(tmp_path: Path) -> None:
    """After start, drain and close no task is left and the ports are free."""
    app = App(node_settings(tmp_path))
    await app.start()
    addresses = list(app.addresses.values())
    await app.drain()
    await app.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for host, port in addresses:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)


async def test_unspecified_address_stands_for_every_own_one(tmp_path: Path) -> None:
    """Bound to 0.0.0.0, the node refuses endpoints at each of the machine's addresses."""
    async with running(node_settings(tmp_path, api_bind="0.0.0.0:0")) as node:
        port = node.app.addresses["api"][1]
        async with open_services(node_settings(tmp_path)) as services:
            tenant = (await services.tenants.create("Acme")).id
        resource = new_id()
        body = {"kind": "sandbox", "slug": "mirror", "tenant_id": tenant, "default_port": port}
        await node.platform("PUT", f"/resources/{resource}", body)
        with pytest.raises(AssertionError, match="own listeners"):
            await node.platform("PUT", f"/endpoints/{resource}", {"address": "127.0.0.1", "generation": "1"})
