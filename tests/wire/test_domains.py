"""Domains from the call of the API to the byte at the proxy: a whole node, with a name server behind its checks."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from router.domains.lookup import RecordType
from router.node.app import App
from router.node.services import open_services
from router.settings import load
from tests.support.backends import Backend, Visit
from tests.support.database import migrated_file
from tests.support.nameserver import NameServer

pytestmark = pytest.mark.asyncio

FQDN = "app.yourcompany.com"
INTERNAL = "the-platform"
SOON = 1.0  # seconds within which what is open to a removed domain ends


async def program(visit: Visit) -> None:
    """Echoes in a protocol of its own, sends an endless stream, or answers with the Host it was asked for."""
    if visit.header(b"upgrade"):
        await visit.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := await visit.reader.read(1024):
            await visit.send(data)
        raise ConnectionError("the client has gone")
    if visit.target == b"/stream":
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await visit.reader.read(1)
        raise ConnectionError("the client has gone")
    await visit.answer(visit.header(b"host") or b"")


class Node:
    """A node with one tenant, and a deployment of it that runs on port 3000."""

    def __init__(self, app: App, session: aiohttp.ClientSession, dns: NameServer, tenant_id: str, key: str) -> None:
        self.dns = dns
        self.tenant_id = tenant_id
        self._session = session
        self._key = key
        self.proxy = app.addresses["proxy"]
        self.admin = app.addresses.get("admin", ("", 0))
        self._api = f"http://127.0.0.1:{app.addresses['api'][1]}"

    async def call(self, method: str, path: str, body: object = None, *, token: str = "") -> tuple[int, Any]:
        """Status and JSON of one call of the API."""
        headers = {"Authorization": f"Bearer {token or self._key}"}
        async with self._session.request(method, self._api + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def run(self, slug: str, port: int, tenant_id: str = "", **fields: object) -> str:
        """A running resource; its id."""
        resource_id = str(uuid.uuid4())
        body = {"slug": slug, "tenant_id": tenant_id or self.tenant_id, "default_port": 3000, **fields}
        status, answer = await self.call("PUT", f"/internal/v1/resources/{resource_id}", body, token=INTERNAL)
        assert status == 201, answer
        endpoint = {"address": "127.0.0.1", "generation": "1", "ports": {"3000": port, "5173": port}}
        status, answer = await self.call("PUT", f"/internal/v1/endpoints/{resource_id}", endpoint, token=INTERNAL)
        assert status == 200, answer
        return resource_id

    async def visit(self, host: str, path: str = "/", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        """What a visitor of that host gets."""
        url = f"http://{self.proxy[0]}:{self.proxy[1]}{path}"
        sent = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self._session.get(url, headers=sent, allow_redirects=False) as answer:
            return answer.status, answer.headers, await answer.read()

    async def status(self, host: str) -> int:
        return (await self.visit(host))[0]

    async def open(self, *lines: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which a request was sent."""
        reader, writer = await asyncio.open_connection(*self.proxy)
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return reader, writer


@asynccontextmanager
async def running_node(folder: Path, **settings: str) -> AsyncIterator[Node]:
    """A node on a file in that folder, with a name server behind its checks. `settings` are MIOSA_ROUTER_* variables by their key in
    lower case."""
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(NameServer())
        migrated_file(folder / "router.db")
        values = {
            "proxy_bind": "127.0.0.1:0",
            "api_bind": "127.0.0.1:0",
            "database_url": f"sqlite:///{folder / 'router.db'}",
            "backend_networks": "127.0.0.0/8",
            "special_domains": "internal,onion",
            "checks__ask_every": "0",
            "internal_token": INTERNAL,
            "dns_servers": dns.server,
            "access_log": "",
            **settings,
        }
        loaded = load(environ={f"MIOSA_ROUTER_{key.upper()}": value for key, value in values.items()})
        async with open_services(loaded) as services:
            tenant = await services.tenants.create("Acme")
            _, key = await services.keys.create(tenant.id)
        app = App(loaded)
        await app.start()
        stack.push_async_callback(app.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Node(app, session, dns, tenant.id, key)


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path, roles="proxy,api") as started:
        yield started


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend(program) as started:
        yield started


@pytest_asyncio.fixture
async def domains(node: Node, backend: Backend) -> str:
    """The path of the domains of a running deployment."""
    return f"/api/v1/deployments/{await node.run('shop', backend.port, kind='deployment')}/domains"


async def add(node: Node, domains: str, fqdn: str, **fields: object) -> str:
    """Register a domain, point it, verify it; its id."""
    status, answer = await node.call("POST", domains, {"domain": fqdn, **fields})
    assert status == 201, answer
    node.dns.put(fqdn, RecordType.CNAME, "verify.miosa.ai")
    status, verified = await node.call("POST", f"{domains}/{answer['data']['id']}/verify")
    assert (status, verified["data"]["status"]) == (200, "verified")
    return str(answer["data"]["id"])


async def test_a_domain_routes_from_its_verification_on(node: Node, domains: str) -> None:
    """Not while it is registered only; and with the very next request after verify has answered."""
    _, answer = await node.call("POST", domains, {"domain": FQDN})
    verify = f"{domains}/{answer['data']['id']}/verify"
    assert await node.status(FQDN) == 404
    status, answer = await node.call("POST", verify)
    assert (status, answer["error"]["message"]) == (422, "CNAME not found")
    assert await node.status(FQDN) == 404
    node.dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    assert (await node.call("POST", verify))[0] == 200
    got, _, body = await node.visit(FQDN)
    assert (got, body) == (200, FQDN.encode())


async def test_a_removed_domain_ends_what_is_open(node: Node, domains: str, backend: Backend) -> None:
    """New requests are not routed, and tunnels and streams that were open to it end, at the backend too."""
    domain_id = await add(node, domains, FQDN)
    tunnel, into_tunnel = await node.open(f"GET / HTTP/1.1\r\nHost: {FQDN}", "Connection: upgrade", "Upgrade: echo")
    stream, into_stream = await node.open(f"GET /stream HTTP/1.1\r\nHost: {FQDN}")
    others, into_others = await node.open(
        "GET / HTTP/1.1\r\nHost: shop.miosa.app", "Connection: upgrade", "Upgrade: echo"
    )
    for reader, writer in ((tunnel, into_tunnel), (others, into_others)):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
    await stream.readuntil(b"first\r\n")

    status, answer = await node.call("DELETE", f"{domains}/{domain_id}")
    assert (status, answer["data"]["status"]) == (200, "removed")
    assert await node.status(FQDN) == 404
    async with asyncio.timeout(SOON):
        assert await tunnel.read() == b""
        assert not (await stream.read()).endswith(b"0\r\n\r\n")
    into_others.write(b"still here")
    assert await others.readexactly(10) == b"still here"
    for writer in (into_tunnel, into_stream, into_others):
        writer.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    ("policy", "left", "kept"),
    [
        ("www_to_apex", "www.yourcompany.com", "yourcompany.com"),
        ("apex_to_www", "yourcompany.com", "www.yourcompany.com"),
    ],
)
async def test_redirects(node: Node, domains: str, policy: str, left: str, kept: str, status: int) -> None:
    """The policy sends visitors on with path and query, by the status that was chosen, until it is taken back."""
    domain_id = await add(node, domains, left, redirect_policy=policy, redirect_status=status)
    await add(node, domains, kept, redirect_policy=policy)
    got, headers, _ = await node.visit(left, "/a/b?c=%20d", X_Forwarded_Proto="https")
    assert (got, headers["Location"]) == (status, f"https://{kept}/a/b?c=%20d")
    assert await node.status(kept) == 200
    await node.call("PATCH", f"{domains}/{domain_id}", {"redirect_policy": "none"})
    assert await node.status(left) == 200
    await node.call("PATCH", f"{domains}/{domain_id}", {"redirect_policy": policy})
    assert (await node.visit(left))[0] == status


async def test_a_preview_domain_routes_from_its_verification_on(node: Node, backend: Backend) -> None:
    """All its hosts, for its own tenant's resources alone; the platform's hosts answer whatever happens."""
    await node.run("shop", backend.port, kind="sandbox", exposed_ports=[5173])
    path, zone = "/api/v1/tenant/preview-domain", "preview.yourcompany.com"
    hosts = (f"shop.{zone}", f"5173-shop.sandbox.{zone}", f"shop.sandbox.{zone}")
    await node.call("PUT", path, {"preview_domain": zone})
    for name in ("*", "*.sandbox"):
        assert [await node.status(host) for host in hosts] == [404, 404, 404]
        node.dns.put(f"{name}.{zone}", RecordType.CNAME, "proxy.miosa.ai")
    assert (await node.call("GET", f"{path}/verify"))[1]["status"] == "verified"
    assert [await node.status(host) for host in hosts] == [200, 200, 200]
    assert await node.status(f"3001-shop.sandbox.{zone}") == 404
    assert await node.status(f"other.{zone}") == 404
    assert await node.status("5173-shop.sandbox.miosa.app") == 200
    await node.call("DELETE", path)
    assert [await node.status(host) for host in hosts] == [404, 404, 404]
    assert await node.status("5173-shop.sandbox.miosa.app") == 200


async def test_servers_that_fail_are_not_a_missing_record(node: Node, domains: str) -> None:
    """SERVFAIL is told as what it is, and nothing changes but when it was looked at."""
    _, answer = await node.call("POST", domains, {"domain": FQDN})
    node.dns.fail(FQDN)
    status, refused = await node.call("POST", f"{domains}/{answer['data']['id']}/verify")
    assert (status, refused["error"]["code"]) == (422, "dns_unknown")
    before, after = answer["data"], (await node.call("GET", f"{domains}/{answer['data']['id']}"))[1]["data"]
    assert {name for name in before if after[name] != before[name]} <= {"dns_status", "checked_at", "next_check_at"}
