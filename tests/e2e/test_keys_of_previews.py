"""Keys of private previews in a whole node: in one process, in several, and in workers that read the store themselves."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus

import aiohttp
import jwt
import pytest
import pytest_asyncio

from router.base.ids import is_id
from router.node.services import Services
from router.routes.policies import SecretKind, Visibility
from router.tenancy.keys import Key
from router.tenancy.signing_keys import FOR_COOKIES, FOR_IDENTITY
from tests.support.backends import Backend, Visit
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

SECRET = "a secret of more than thirty-two bytes"
SHAPES = {
    "one process": {},
    "workers": {"workers": 2},
    "workers with a store": {"workers": 2, "plain_http": "redirect"},
}


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with Router(tmp_path_factory.mktemp("node"), jwt__secret=SECRET, **request.param) as router:
        workers = request.param.get("workers")
        until(lambda: workers is None or b'"serving": 2' in router.get_admin("/readyz")[2], "all workers serve")
        yield router
    assert router.process.status == 0


class Preview:
    """A private port, and those who come to it."""

    def __init__(self, node: Router, slug: str, backend: Backend, session: aiohttp.ClientSession) -> None:
        self.host = f"{slug}.{PLATFORM_DOMAIN}"
        self._url = f"http://{node.proxy}/"
        self._session = session
        tenant = node.tenant(slug)
        self.resource_id = node.register(tenant, slug, backend.port)

        async def close(services: Services) -> str:
            preview, _ = await services.previews.put(self.resource_id, 3000, visibility=Visibility.PRIVATE)
            return preview.id

        self.id = node._with_services(close)
        self.key, self.plain_key = node._with_services(lambda services: services.keys.create(tenant))
        self.admin_key = node.key(tenant)
        self.tenant_id = tenant

    async def send(self, method: str = "GET", query: str = "", **headers: str) -> aiohttp.ClientResponse:
        """One request on a connection of its own, so that any worker may get it; its body is read."""
        sent = {"Host": self.host, "X-Forwarded-Proto": "https", "Connection": "close", **headers}
        url = self._url + query
        async with self._session.request(method, url, headers=sent, allow_redirects=False) as response:
            await response.read()
            return response

    async def visits(self, count: int = 20, **headers: str) -> set[int]:
        """The statuses of so many visits."""
        return {(await self.send(**headers)).status for _ in range(count)}

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.plain_key}"}


async def _hello(visit: Visit) -> None:
    await visit.answer(b"hello")


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar()
    ) as made:
        yield made


async def test_a_key_opens_until_it_is_revoked(node: Router, session: aiohttp.ClientSession) -> None:
    """On every worker; no request that begins when the API has answered comes in by it, and its use was noted."""
    async with Backend(_hello) as backend:
        preview = Preview(node, "opened", backend, session)
        assert await preview.visits(4) == {401}
        assert await preview.visits(**preview.bearer) == {200}

        async def used() -> Key:
            return await asyncio.to_thread(node._with_services, lambda services: services.keys.get(preview.key.id))

        async with asyncio.timeout(60):
            while (await used()).last_used_at is None:
                await asyncio.sleep(0.5)
        url = f"http://127.0.0.1:{node.api_port}/api/v1/api-keys/{preview.key.id}"
        async with session.delete(url, headers={"Authorization": f"Bearer {preview.admin_key}"}) as response:
            assert response.status < 300, await response.text()
        assert await preview.visits(**preview.bearer) == {403}
        assert (await preview.send(**preview.bearer)).headers["X-Miosa-Error"] == "token_revoked"


async def test_a_json_web_token_opens(node: Router, session: aiohttp.ClientSession) -> None:
    """One that the API accepts, of the preview's tenant; another tenant's does not, nor one that somebody else has signed."""
    async with Backend(_hello) as backend:
        preview = Preview(node, "token", backend, session)
        claims = {"exp": time.time() + 600, "tenant": preview.tenant_id, "scope": "tenant"}
        other = {**claims, "tenant": node.tenant("another")}
        statuses = [
            (await preview.send(Authorization=f"Bearer {jwt.encode(said, key, 'HS256')}")).status
            for said, key in ((claims, SECRET), (other, SECRET), (claims, SECRET[::-1]))
        ]
        assert statuses[0] == 200
        assert set(statuses[1:]) <= {401, 403}


async def test_what_a_revoked_key_has_opened_ends(node: Router, session: aiohttp.ClientSession) -> None:
    """A response that goes on for ever is cut, though the key was revoked by a command of another process."""

    async def endless(visit: Visit) -> None:
        visit.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            visit.writer.write(b"1\r\nx\r\n")
            await visit.writer.drain()
            await asyncio.sleep(0.05)

    async with Backend(endless) as backend:
        preview = Preview(node, "endless", backend, session)
        headers = {"Host": preview.host, "X-Forwarded-Proto": "https", **preview.bearer}
        async with session.get(f"http://{node.proxy}/", headers=headers) as response:
            assert response.status == HTTPStatus.OK
            assert await response.content.read(1) == b"x"
            node._with_services(lambda services: services.keys.revoke(preview.key.id))
            with pytest.raises(aiohttp.ClientPayloadError):
                await asyncio.wait_for(response.content.read(), 30)


async def test_a_link_that_works_once_lets_one_in(node: Router, session: aiohttp.ClientSession) -> None:
    """Of ten visitors at the same time, whichever workers they come to; and a leaked signing key lets out who came in."""
    async with Backend(_hello) as backend:
        preview = Preview(node, "once", backend, session)
        made, plain = node._with_services(
            lambda services: services.preview_secrets.create(preview.resource_id, preview.id, SecretKind.ONCE, ttl=600)
        )
        assert is_id(made.id)
        query = f"?miosa_token={plain}"
        async with asyncio.timeout(20):
            while (page := await preview.send(query=query, **{"Sec-Fetch-Mode": "navigate"})).status != 200:
                assert page.status == 403  # a change that another process committed is on its way
                await asyncio.sleep(0.05)
        own = {"Origin": f"https://{preview.host}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        answers = await asyncio.gather(*(preview.send("POST", query, **own) for _ in range(10)))
        assert sorted(answer.status for answer in answers) == [303] + [403] * 9
        (first,) = (answer for answer in answers if answer.status == 303)
        cookie = re.match(r"__Host-miosa-preview=[^;]+", first.headers["Set-Cookie"])
        assert cookie is not None
        came_in = {"Cookie": cookie[0]}
        assert await preview.visits(**came_in) == {200}
        node._with_services(lambda services: services.signing_keys.replace(FOR_COOKIES))
        await _until_all(preview, 403, came_in)


async def test_every_worker_tells_the_program(node: Router, session: aiohttp.ClientSession) -> None:
    """Who its visitor is, from the first request after its owner has said so; and by a new key once one has leaked."""
    told = list[bytes]()

    async def note(visit: Visit) -> None:
        told.append(visit.header(b"x-miosa-identity") or b"")
        await _hello(visit)

    async with Backend(note) as backend:
        preview = Preview(node, "told", backend, session)

        async def kids() -> set[str]:
            told.clear()
            assert await preview.visits(**preview.bearer) == {200}
            return {jwt.get_unverified_header(token)["kid"] if token else "" for token in told}

        async with asyncio.timeout(30):
            while await preview.visits(**preview.bearer) != {200}:
                await asyncio.sleep(0.05)
            assert await kids() == {""}
            node._with_services(lambda services: services.previews.put(preview.resource_id, 3000, identity=True))
            (first,) = node._with_services(lambda services: services.signing_keys.public())
            while await kids() != {first.id}:
                await asyncio.sleep(0.05)
            second = node._with_services(lambda services: services.signing_keys.replace(FOR_IDENTITY))
            while await kids() != {second.id}:
                await asyncio.sleep(0.05)


async def _until_all(preview: Preview, status: int, headers: dict[str, str]) -> None:
    """Wait until every worker answers so."""
    async with asyncio.timeout(30):
        while await preview.visits(**headers) != {status}:
            await asyncio.sleep(0.1)
