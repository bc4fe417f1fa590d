"""Pipelines of CI systems at private previews: two nodes on PostgreSQL, and a provider over real HTTP."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.http1 import Answer, Http1
from tests.support.identity_provider import OTHER_RSA_KEY, IdentityProvider
from tests.support.postgres import Postgres
from tests.support.router import PLATFORM_DOMAIN, Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.realtime]

IN_FORCE_WITHIN = 3.0  # seconds: 2 are promised; the figure is printed
AUDIENCE = "https://previews.example.com"
HTTPS = "X-Forwarded-Proto: https"
# A provider is never asked at an address at which programs of customers listen.
ADDRESSES = {"backend_networks": "127.0.0.1/32", "webhooks__private_networks": "127.0.0.2/32"}

# Seconds, by the settings' names: on a busy machine a round trip to the store takes longer than in production.
DEADLINES = {
    "cache__fetch_time": 9,
    "database__connect_time": 9,
    "database__statement_time": 9,
    "database__lock_time": 9,
}


@dataclass
class Fleet:
    """Both nodes, and a tenant with a key."""

    first: Router
    second: Router
    tenant_id: str
    key: str

    def api(self, method: str, path: str, body: object = None) -> Any:
        """The data of a customer's call to the first node, which must succeed."""
        return self.first.call(self.key, method, path, body)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("ci")
    url = asyncio.run(postgres.create())
    folders = [folder / name for name in ("first", "second")]
    for one in folders:
        one.mkdir()
    first = Router(folders[0], database_url=url, **ADDRESSES, **DEADLINES)
    second = Router(folders[1], database_url=url, workers=2, internal_token=first.token, **ADDRESSES, **DEADLINES)
    with first, second:
        tenant = first.tenant("Acme")
        yield Fleet(first, second, tenant, first.key(tenant))
    asyncio.run(postgres.drop(url))


class Scene:
    """A private preview, a provider that its tenant trusts, and what the program saw."""

    def __init__(self, fleet: Fleet, provider: IdentityProvider, slug: str) -> None:
        self.fleet = fleet
        self.provider = provider
        self.host = f"{slug}.{PLATFORM_DOMAIN}"
        self.seen: list[Visit] = []
        self.rule: dict[str, Any] = {}

    async def call(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.fleet.api, method, path, body)

    def token(self, *, key: Any = None, **changes: Any) -> str:
        claims = {"sub": "repo:acme/shop", "repository": "acme/shop", "aud": AUDIENCE, "exp": time.time() + 300}
        given = {} if key is None else {"key": key}
        return self.provider.token({**claims, **changes}, **given)

    async def program(self, visit: Visit) -> None:
        self.seen.append(visit)
        if visit.header(b"upgrade") is None:
            await visit.answer(b"program")
            return
        await visit.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nopen")
        await visit.reader.read()

    async def ask(self, node: Router, token: str) -> Answer:
        async with Http1(node.proxy_port, self.host) as visitor:
            answer = await visitor.request("GET", "/", HTTPS, f"Authorization: Bearer {token}")
            await answer.read_all()
            return answer

    async def hears(self, node: Router, token: str) -> tuple[int, str | None]:
        """Status and code. With these `DEADLINES` a store that is said to be away is a fault."""
        answer = await self.ask(node, token)
        code = answer.header("x-miosa-error")
        warnings = [line for line in node.output.splitlines() if '"level": "info"' not in line][-20:]
        assert code != "resolver_unavailable", "\n".join(warnings)
        return answer.status, code

    async def eventually(self, node: Router, token: str, status: int) -> None:
        """Until the node has heard of a change."""
        async with asyncio.timeout(30):
            while (await self.hears(node, token))[0] != status:
                await asyncio.sleep(0.02)

    async def tunnel(self, stack: AsyncExitStack, node: Router, token: str) -> Http1:
        visitor = await stack.enter_async_context(Http1(node.proxy_port, self.host))
        lines = ("Connection: Upgrade", "Upgrade: websocket", f"Authorization: Bearer {token}")
        answer = await visitor.request("GET", "/socket", HTTPS, *lines)
        assert answer.status == 101, answer.lines
        assert await visitor.reader.readexactly(4) == b"open"
        return visitor


@pytest_asyncio.fixture
async def scene(fleet: Fleet) -> AsyncIterator[Scene]:
    slug = f"ci-{uuid.uuid4().hex[:12]}"
    async with IdentityProvider("127.0.0.2") as provider:
        made = Scene(fleet, provider, slug)
        async with Backend(made.program) as backend:
            resource = await asyncio.to_thread(fleet.first.register, fleet.tenant_id, slug, backend.port)
            await made.call("POST", f"/sandboxes/{resource}/previews", {"port": 3000, "visibility": "private"})
            made.rule = await made.call(
                "POST",
                "/tenant/trusted-issuers",
                {"name": slug, "issuer": provider.issuer, "audience": AUDIENCE, "claims": {"repository": "acme/*"}},
            )
            for node in (fleet.first, fleet.second):
                await made.eventually(node, made.token(), 200)
            yield made
            await made.call("PATCH", f"/tenant/trusted-issuers/{made.rule['id']}", {"enabled": False})


async def test_a_pipeline_comes_in(scene: Scene) -> None:
    """By its token, through one process and through workers; the program does not see the token. The API says when the rule
    was used last."""
    for node in (scene.fleet.first, scene.fleet.second):
        before = len(scene.seen)
        assert await scene.hears(node, scene.token()) == (200, None)
        assert [visit.header(b"authorization") for visit in scene.seen[before:]] == [None]
    async with asyncio.timeout(60):
        while (await scene.call("GET", f"/tenant/trusted-issuers/{scene.rule['id']}"))["last_used_at"] is None:
            await asyncio.sleep(0.5)


async def test_tokens_that_open_nothing(scene: Scene) -> None:
    """Of another repository, forged, expired; one for another audience is the program's own, and opens nothing here."""
    for node in (scene.fleet.first, scene.fleet.second):
        before = len(scene.seen)
        assert await scene.hears(node, scene.token(repository="evil/shop")) == (403, "token_wrong")
        assert await scene.hears(node, scene.token(key=OTHER_RSA_KEY)) == (403, "token_wrong")
        assert await scene.hears(node, scene.token(exp=time.time() - 120)) == (403, "token_expired")
        assert await scene.hears(node, scene.token(aud="https://elsewhere.example")) == (401, "token_missing")
        assert scene.seen[before:] == []


async def test_a_provider_that_can_not_be_asked(scene: Scene) -> None:
    """Nobody knows then whether a token is right: 503 and when to come again, never a refusal; and right again when it is back."""
    async with IdentityProvider("127.0.0.2") as other:
        other.status = b"500 Internal Server Error"
        rule = {"name": "down", "issuer": other.issuer, "audience": AUDIENCE, "claims": {"repository": "acme/*"}}
        made = await scene.call("POST", "/tenant/trusted-issuers", rule)
        known, scene.provider = scene.provider, other
        token = scene.token()
        for node in (scene.fleet.first, scene.fleet.second):
            await scene.eventually(node, token, 503)
            answer = await scene.ask(node, token)
            assert answer.header("x-miosa-error") == "identity_provider_unavailable"
            assert answer.header("retry-after") == "10"
        other.status = b"200 OK"
        for node in (scene.fleet.first, scene.fleet.second):
            await scene.eventually(node, token, 200)
        scene.provider = known
        await scene.call("DELETE", f"/tenant/trusted-issuers/{made['id']}")


@pytest.mark.parametrize("change", ["deleted", "disabled", "narrowed"])
async def test_a_changed_rule_ends_what_is_open(scene: Scene, change: str) -> None:
    """On both nodes within two seconds; a new name ends nothing."""
    path, token = f"/tenant/trusted-issuers/{scene.rule['id']}", scene.token()
    nodes = (scene.fleet.first, scene.fleet.second)
    async with AsyncExitStack() as stack:
        tunnels = [await scene.tunnel(stack, node, token) for node in nodes]
        await scene.call("PATCH", path, {"name": "another name"})
        for node in nodes:
            assert await scene.hears(node, token) == (200, None)
        body = {"disabled": {"enabled": False}, "narrowed": {"claims": {"repository": "acme/other"}}}.get(change)
        await scene.call("DELETE" if body is None else "PATCH", path, body)
        answered = time.perf_counter()
        cut = []
        for tunnel in tunnels:
            async with asyncio.timeout(30):
                await tunnel.reader.read()  # to its end
            cut.append(time.perf_counter() - answered)
        assert max(cut) < IN_FORCE_WITHIN
        for node in nodes:
            refused = (403, "token_wrong") if change == "narrowed" else (401, "token_missing")
            assert await scene.hears(node, token) == refused
    print(f"{change}: cut after {', '.join(f'{late * 1000:.0f} ms' for late in cut)}")
    if change == "deleted":  # the fixture switches it off
        scene.rule = await scene.call(
            "POST",
            "/tenant/trusted-issuers",
            {
                "name": "after",
                "issuer": scene.provider.issuer,
                "audience": AUDIENCE,
                "claims": {"repository": "acme/*"},
            },
        )


async def test_a_token_that_expires_ends_what_is_open(scene: Scene) -> None:
    """A tunnel ends with its token, which the clocks' leeway makes good for a minute longer."""
    expires = time.time() - 57
    async with AsyncExitStack() as stack:
        tunnel = await scene.tunnel(stack, scene.fleet.second, scene.token(exp=expires))
        async with asyncio.timeout(30):
            await tunnel.reader.read()  # to its end
        late = time.time() - (expires + 60)
    print(f"expired: cut after {late * 1000:.0f} ms")
    assert 0.0 <= late < IN_FORCE_WITHIN
