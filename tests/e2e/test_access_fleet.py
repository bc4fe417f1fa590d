"""Two nodes on PostgreSQL and Redis: what is revoked through one is cut and refused on the other, with Redis and without it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from router.access.login import binding_of
from router.node.services import open_services
from router.settings import load
from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.postgres import Postgres
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.realtime]

IN_FORCE_WITHIN = 3.0  # seconds: 2 are promised; the figure is printed. By a lost bus alone it would be more than 3
HTTPS = "X-Forwarded-Proto: https"  # as Caddy says it


@dataclass
class Fleet:
    """Both nodes, a tenant with a key, and whether Redis is there."""

    first: Router
    second: Router
    tenant_id: str
    key: str
    bus: str = "redis"

    def api(self, method: str, path: str, body: object = None) -> Any:
        """The data of a customer's call to the first node, which must succeed."""
        return self.first.call(self.key, method, path, body)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[tuple[Fleet, Server]]:
    folder = tmp_path_factory.mktemp("access")
    url = asyncio.run(postgres.create())
    folders = [folder / name for name in ("first", "second")]
    for one in folders:
        one.mkdir()
    with Server(folder) as redis:
        common = {"database_url": url, "redis_url": f"{redis.url}/0", "secrets_key": "ab12" * 16}
        first = Router(folders[0], **common)
        second = Router(folders[1], **common, workers=2, internal_token=first.token)
        with first, second:
            tenant = first.tenant("Acme")
            yield Fleet(first, second, tenant, first.key(tenant)), redis
    asyncio.run(postgres.drop(url))


@pytest.fixture(scope="module", params=["redis", "redis hangs", "redis stopped"])
def fleet(request: pytest.FixtureRequest, nodes: tuple[Fleet, Server]) -> Fleet:
    """The pair; with Redis first, and then without."""
    found, redis = nodes
    found.bus = request.param
    if found.bus == "redis hangs":
        redis.freeze()
    elif found.bus == "redis stopped":
        redis.thaw()
        redis.stop()
    return found


async def upgraded(visit: Visit) -> None:
    """A tunnel that stays as it is, or an answer."""
    if visit.header(b"upgrade") is None:
        await visit.answer(b"program")
        return
    await visit.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nopen")
    await visit.reader.read()


class Opened:
    """A private preview, and what opens it: lines of a request."""

    def __init__(self, fleet: Fleet, host: str, preview: str) -> None:
        self.fleet = fleet
        self.host = host
        self.preview = preview
        self.lines: tuple[str, ...] = ()

    async def call(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.fleet.api, method, path, body)

    async def ask(self, *lines: str, path: str = "/") -> tuple[int, str | None, str | None]:
        """Status, code, and the cookie, of one request to the second node."""
        async with Http1(self.fleet.second.proxy_port, self.host) as visitor:
            answer = await visitor.request("GET", path, HTTPS, *lines)
            await answer.read_all()
            return answer.status, answer.header("x-miosa-error"), answer.header("set-cookie")

    @asynccontextmanager
    async def tunnel(self) -> AsyncIterator[Http1]:
        """An open one through the second node, by what opens the preview."""
        lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-Fetch-Site: same-origin", *self.lines)
        async with Http1(self.fleet.second.proxy_port, self.host) as visitor:
            answer = await visitor.request("GET", "/socket", HTTPS, *lines)
            assert answer.status == 101, answer.lines
            assert await visitor.reader.readexactly(4) == b"open"
            yield visitor


@asynccontextmanager
async def opened(fleet: Fleet, slug: str, **fields: object) -> AsyncIterator[tuple[Opened, str]]:
    """The preview and the path of its resource."""
    async with Backend(upgraded) as backend:
        resource = await asyncio.to_thread(fleet.first.register, fleet.tenant_id, slug, backend.port)
        path = f"/sandboxes/{resource}/previews"
        made = await asyncio.to_thread(fleet.api, "POST", path, {"port": 3000, "visibility": "private", **fields})
        yield Opened(fleet, f"3000-{slug}.sandbox.{PLATFORM_DOMAIN}", made["id"]), path


async def shared(preview: Opened, path: str) -> tuple[str, str, object]:
    """Comes in by the cookie of a share link; what revokes that."""
    link = (await preview.call("POST", f"{path}/{preview.preview}/share", {}))["share_url"]
    await eventually_opens(preview, f"/?{link.partition('?')[2]}", 303)
    _, _, cookie = await preview.ask(path=f"/?{link.partition('?')[2]}")
    assert cookie is not None
    preview.lines = (f"Cookie: {cookie.partition(';')[0]}",)
    return "DELETE", f"{path}/{preview.preview}/share", None


async def by_token(preview: Opened, path: str) -> tuple[str, str, object]:
    made = await preview.call("POST", f"{path}/{preview.preview}/tokens", {"name": "ci"})
    preview.lines = (f"X-Miosa-Preview-Token: {made['token']}",)
    return "DELETE", f"{path}/{preview.preview}/tokens/{made['id']}", None


async def by_key(preview: Opened, _: str) -> tuple[str, str, object]:
    made = await preview.call("POST", "/api-keys", {"name": "visitor"})
    preview.lines = (f"Authorization: Bearer {made['key']}",)
    return "DELETE", f"/api-keys/{made['id']}", None


async def by_login(preview: Opened, _: str) -> tuple[str, str, object]:
    """Signed in: what the login host does after the provider has said who it is, and the hand-over on the second node."""
    fleet = preview.fleet
    login = {"issuer": "https://login.example.com", "client_id": "previews", "client_secret": "s3cr3t", "anyone": True}
    await preview.call("PUT", "/tenant/login", login)
    secret = "b" * 43
    async with open_services(load(environ=fleet.first.environment)) as services:
        started = await services.sessions.start(
            await services.logins.get(fleet.tenant_id), subject="ada", email=None, groups=()
        )
        assert started is not None
        session, _ = started
        code = await services.hand_overs.make(session, host=preview.host, binding=binding_of(secret.encode()))
    arrive = f"/.well-known/miosa/arrive?code={code}&next=/"
    status, _, cookie = await preview.ask(f"Cookie: __Host-miosa-login={secret}", path=arrive)
    assert (status, cookie is None) == (303, False)
    assert (await preview.ask(f"Cookie: __Host-miosa-login={secret}", path=arrive))[1] == "login_failed"
    preview.lines = (f"Cookie: {(cookie or '').partition(';')[0]}",)
    return "DELETE", f"/tenant/sessions/{session.id}", None


FORM = ("Origin: https://HOST", "Content-Type: application/x-www-form-urlencoded")
PASSWORD = "correct horse"
VISITORS = (f"198.51.100.{number}" for number in range(1, 255))  # each with tries of their own


async def typed(node: Router, host: str, word: str, client: str) -> tuple[int, str | None, str | None]:
    """Status, code and cookie of the form with this password, sent to that node from an address."""
    body = f"password={word.replace(' ', '+')}&next=/".encode()
    lines = [line.replace("HOST", host) for line in FORM]
    async with Http1(node.proxy_port, host) as visitor:
        path = "/.well-known/miosa/password"
        answer = await visitor.request("POST", path, HTTPS, f"X-Forwarded-For: {client}", *lines, body=body)
        await answer.read_all()
        return answer.status, answer.header("x-miosa-error"), answer.header("set-cookie")


async def by_password(preview: Opened, path: str) -> tuple[str, str, object]:
    """Comes in by a password; another one takes its place."""
    path = f"{path}/{preview.preview}/password"
    await preview.call("PUT", path, {"password": PASSWORD})
    found: list[tuple[int, str | None, str | None]] = []
    async with asyncio.timeout(30):
        while not found or found[-1][1] == "token_missing":  # the second node has not heard of it yet
            found.append(await typed(preview.fleet.second, preview.host, PASSWORD, next(VISITORS)))
    status, _, cookie = found[-1]
    assert (status, cookie is None) == (303, False)
    preview.lines = (f"Cookie: {(cookie or '').partition(';')[0]}",)
    return "PUT", path, {"password": PASSWORD + "2"}


async def as_stranger(preview: Opened, path: str) -> tuple[str, str, object]:
    """While it is public; it is made private."""
    await preview.call("POST", path, {"port": 3000, "visibility": "public"})
    return "POST", path, {"port": 3000, "visibility": "private"}


async def eventually_opens(preview: Opened, path: str = "/", status: int = 200) -> None:
    """Until the second node has heard of it."""
    statuses: list[int] = []
    async with asyncio.timeout(30):
        while not statuses or statuses[-1] != status:
            statuses.append((await preview.ask(*preview.lines, path=path))[0])


@pytest.mark.parametrize(
    ("way", "code"),
    [
        (shared, "token_revoked"),
        (by_token, "token_revoked"),
        (by_key, "token_revoked"),
        (by_login, "token_revoked"),
        (by_password, "token_revoked"),
        (as_stranger, "token_missing"),
    ],
)
async def test_what_is_taken_back_through_one_node_ends_on_the_other(fleet: Fleet, way: Any, code: str) -> None:
    """Tunnels that are open there are cut, and requests refused; a program with a token of its own still gets in."""
    slug = f"{way.__name__}-{len(fleet.bus)}".replace("_", "-")
    async with opened(fleet, slug) as (preview, path):
        await by_token(preview, path)
        (other,) = preview.lines
        preview.lines = ()
        revocation = await way(preview, path)
        await eventually_opens(preview)
        async with preview.tunnel() as tunnel:
            await preview.call(*revocation)
            answered = time.perf_counter()
            refused: list[float] = []

            async def until_refused() -> None:
                while (await preview.ask(*preview.lines))[1] != code:
                    await asyncio.sleep(0.005)
                refused.append(time.perf_counter() - answered)

            async with asyncio.timeout(30):
                asking = asyncio.create_task(until_refused())
                await tunnel.reader.read()  # to its end
                cut = time.perf_counter() - answered
                await asking
        assert (await preview.ask(other))[0] == 200
    print(
        f"{way.__name__}, {fleet.bus}: tunnel cut after {cut * 1000:.0f} ms, refused after {refused[0] * 1000:.0f} ms"
    )
    assert max(cut, *refused) < IN_FORCE_WITHIN


async def test_an_expired_preview_ends_on_each_node(fleet: Fleet) -> None:
    """A tunnel that is open when the preview expires is cut then, and requests get 410; also where that was to be later."""
    far = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with opened(fleet, f"expiring-{len(fleet.bus)}", expires_at=far) as (preview, path):
        await by_token(preview, path)
        await eventually_opens(preview)
        async with preview.tunnel() as tunnel:
            end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)
            await preview.call("POST", path, {"port": 3000, "expires_at": end.isoformat()})
            async with asyncio.timeout(60):
                await tunnel.reader.read()  # to its end; a WebSocket is told that it is closed
            late = time.time() - end.timestamp()
        assert (await preview.ask(*preview.lines))[:2] == (410, "preview_expired")
    print(f"expiry, {fleet.bus}: tunnel cut {late * 1000:.0f} ms after it")
    assert 0.0 <= late < IN_FORCE_WITHIN


async def test_tries_of_a_password_are_counted_on_both_nodes(fleet: Fleet) -> None:
    """Together where they share a Redis; by each alone where they don't, and never not at all."""
    async with opened(fleet, f"guessed-{len(fleet.bus)}") as (preview, path):
        await by_password(preview, path)
        nodes, client = (fleet.first, fleet.second), f"203.0.113.{len(fleet.bus)}"
        codes: dict[str | None, int] = {}
        for number in range(16):
            _, code, _ = await typed(nodes[number % 2], preview.host, "wrong horse", client)
            codes[code] = codes.get(code, 0) + 1
        together = fleet.bus == "redis"
        assert codes == {"password_wrong": 5 if together else 10, "too_many_tries": 11 if together else 6}
        assert (await preview.ask(*preview.lines))[0] == 200
        assert (await typed(fleet.second, preview.host, PASSWORD, next(VISITORS)))[0] == 303


@pytest.mark.parametrize("fleet", ["redis"], indirect=True, scope="module")
async def test_guesses_from_many_addresses_are_counted_together(fleet: Fleet) -> None:
    """A preview's hundred of an hour hold over all processes of both nodes, however many addresses the guesses come from, and
    also where several come at once; then the right word is not looked at either."""
    async with opened(fleet, "guessed-by-many") as (preview, path):
        await by_password(preview, path)  # the first of the hundred
        nodes = (fleet.first, fleet.second, fleet.second)  # the second has two workers
        at_once = asyncio.Semaphore(4)  # more would wait for each other's hashes until the node says 503

        async def guess(number: int) -> str | None:
            async with at_once:
                return (await typed(nodes[number % 3], preview.host, "wrong horse", f"192.0.2.{number + 1}"))[1]

        codes = Counter(await asyncio.gather(*(guess(number) for number in range(150))))
        assert codes == {"password_wrong": 99, "too_many_tries": 51}
        for node, client in ((fleet.first, "192.0.2.200"), (fleet.second, "192.0.2.201")):
            assert (await typed(node, preview.host, PASSWORD, client))[1] == "too_many_tries"
        assert (await preview.ask(*preview.lines))[0] == 200
