"""The program of a preview learns who its visitor is, and verifies it as docs/identity.md says: through real Caddy."""

import asyncio
import re
import ssl
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.e2e.conftest import Edge
from tests.e2e.test_access import private
from tests.support.http1 import Http1
from tests.support.router import PLATFORM_DOMAIN

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

PAGE = Path(__file__).parents[2] / "docs" / "identity.md"


def snippet(host: str, tenant_id: str, keys: str) -> Any:
    """`visitor` of the page's program, with the names of this one in the place of the page's."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code.count("\n") <= 15
    for old, new in (
        ("3000-my-app.sandbox.miosa.app", host),
        ("https://miosa.app/tenants/ID", f"https://{PLATFORM_DOMAIN}/tenants/{tenant_id}"),
        ("https://api.miosa.ai/.well-known/jwks.json", keys),
    ):
        assert code.count(old) == 1
        code = code.replace(old, new)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - it is our own page's
    return names["visitor"]


@pytest.fixture(scope="module")
def key(edge: Edge) -> str:
    return edge.router.key(edge.tenant_id)


async def get(edge: Edge, host: str, context: ssl.SSLContext, *lines: str) -> int:
    async with Http1(edge.caddy.port, host, context) as client:
        answer = await client.request("GET", "/", *lines)
        await answer.read_all()
        return answer.status


async def test_the_program_verifies_its_visitor(edge: Edge, key: str) -> None:
    """By the page's own lines and the keys that the API publishes; a token that a visitor makes up, or brings from another
    host's program, is neither passed on nor believed."""
    context = edge.caddy.trust("http/1.1")
    url = f"http://127.0.0.1:{edge.router.api_port}/.well-known/jwks.json"
    async with private(edge, key) as first, private(edge, key) as second:
        verify = [snippet(program.host, edge.tenant_id, url) for program in (first, second)]
        tokens = []
        for program in (first, second):
            line = f"Authorization: Bearer {key}"
            assert await get(edge, program.host, context, line, "X-Miosa-Identity: a.b.c") == 200
            assert "X-Miosa-Identity" not in program.seen[-1].headers
            body = {"port": 3000, "identity": True}
            shown = await asyncio.to_thread(program.api, "POST", "/previews", body)
            assert (shown["identity"], shown["visibility"]) == (True, "private")
            forged = ("X-Miosa-Identity: a.b.c", "x_miosa_identity: a.b.c")
            assert await get(edge, program.host, context, line, *forged) == 200
            tokens += program.seen[-1].headers.get_all("X-Miosa-Identity")
            assert "a.b.c" not in str(program.seen[-1].headers)
        assert len(tokens) == 2
        claims = await asyncio.to_thread(verify[0], tokens[0])
        assert (claims["aud"], claims["how"], claims["resource"], claims["port"]) == (
            first.host,
            "api_key",
            first.resource,
            3000,
        )
        assert claims["sub"].startswith("api_key:")
        assert (await asyncio.to_thread(verify[1], tokens[1]))["sub"] == claims["sub"], (
            "the same person at another host"
        )
        for wrong in (tokens[1], tokens[0][:-4] + "AAAA", "a.b.c", ""):
            with pytest.raises(jwt.PyJWTError):
                await asyncio.to_thread(verify[0], wrong)


async def test_a_public_preview(edge: Edge, key: str) -> None:
    """Says that nobody was asked who they are."""
    url = f"http://127.0.0.1:{edge.router.api_port}/.well-known/jwks.json"
    async with private(edge, key) as program:
        body = {"port": 3000, "visibility": "public", "identity": True}
        await asyncio.to_thread(program.api, "POST", "/previews", body)
        assert await get(edge, program.host, edge.caddy.trust("http/1.1")) == 200
        (token,) = program.seen[-1].headers.get_all("X-Miosa-Identity")
        claims = await asyncio.to_thread(snippet(program.host, edge.tenant_id, url), token)
        assert (claims["how"], claims.get("sub")) == ("public", None)
