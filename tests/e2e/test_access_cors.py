"""Scripts of other sites at a private preview: what a real browser lets them read, through real Caddy."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Edge
from tests.e2e.test_access import Program, private
from tests.support.browser import Tab, find_browser
from tests.support.http1 import Http1

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

FETCHED = """fetch(%s, {headers: %s}).then(
    async answer => `${answer.status} ${(await answer.text()).match(/token_[a-z]+|<h1>program/)}`,
    error => error.name)"""


@pytest.fixture(scope="module")
def key(edge: Edge) -> str:
    return edge.router.key(edge.tenant_id)


async def change(program: Program, **fields: object) -> None:
    await asyncio.to_thread(program.api, "POST", "/previews", {"port": 3000, **fields})


async def test_an_allow_list_in_a_browser(edge: Edge, key: str, tmp_path: Path) -> None:
    """A page of a listed site reads the program with a token, and why it is refused without one. A page of another site is told
    why too, and never gets as far as sending a token: its preflight is refused."""
    async with (
        private(edge, key) as program,
        private(edge, key) as friend,
        private(edge, key) as stranger,
        Tab(find_browser(), tmp_path / "tab", f"MAP * 127.0.0.1:{edge.caddy.port}") as tab,
    ):
        for one in (friend, stranger):
            await change(one, visibility="public")
        await change(program, cors="allowlist", cors_origins=[f"https://{friend.host}"])
        tokens = f"/previews/{program.preview}/tokens"
        token = (await asyncio.to_thread(program.api, "POST", tokens, {"name": "page"}))["token"]
        right, wrong = ({"X-Miosa-Preview-Token": one} for one in (token, "mpt_" + "a" * 43))

        async def read(path: str, headers: dict[str, str]) -> str:
            url = json.dumps(f"https://{program.host}{path}")
            found: str = await tab.evaluate(FETCHED % (url, json.dumps(headers)))
            return found

        await asyncio.to_thread(edge.caddy.wait_until_valid, program.host)
        await tab.open(f"https://{friend.host}/")
        assert await read("/friend", right) == "200 <h1>program"
        assert await read("/friend", {}) == "401 token_missing"
        assert await read("/friend", wrong) == "403 token_wrong"
        await tab.open(f"https://{stranger.host}/")
        assert await read("/stranger", right) == "TypeError"
        assert await read("/stranger", {}) == "401 token_missing"
        assert [request.path for request in program.seen] == ["/friend"]


async def test_an_allow_list_by_hand(edge: Edge, key: str) -> None:
    """What is sent: a listed origin by name, with the request's headers allowed; another one gets a refusal that it can read."""
    async with private(edge, key) as program:
        await change(program, cors="allowlist", cors_origins=["https://app.example"])
        asked = ("Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-miosa-preview-token")
        async with Http1(edge.caddy.port, program.host, edge.caddy.trust("http/1.1")) as client:
            for origin, status in (("https://app.example", 204), ("https://evil.example", 403)):
                answer = await client.request("OPTIONS", "/", f"Origin: {origin}", *asked)
                await answer.read_all()
                assert (answer.status, answer.header("access-control-allow-origin")) == (status, origin)
                allowed = answer.header("access-control-allow-headers")
                assert (allowed == "x-miosa-preview-token") is (status == 204)
                refused = await client.request("GET", "/", f"Origin: {origin}")
                await refused.read_all()
                assert (refused.status, refused.header("x-miosa-error")) == (401, "token_missing")
                assert refused.header("access-control-allow-origin") == origin
        assert not program.seen
