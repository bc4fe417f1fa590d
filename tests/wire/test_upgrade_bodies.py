"""Offers to upgrade that have a body, as `docker exec` and `docker attach` make them."""

import pytest

from tests.support.edge import RunningEdge
from tests.support.wire import End

pytestmark = pytest.mark.asyncio

START = b"POST /exec/1/start HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
SIZED = b"Content-Type: application/json\r\nContent-Length: 10\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
JSON = b'{"Tty":1}\n'
UPGRADED = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\n"
    b"Upgrade: tcp\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODIES = [(SIZED, JSON), (CHUNKED, b"a\r\n" + JSON + b"\r\n0\r\n\r\n")]


async def raw_both_ways(client: End, end: End) -> None:
    """What either side sends now arrives as it is."""
    await client.send(b"ls\r\n\r\n\0\xff")
    assert await end.read_exactly(8) == b"ls\r\n\r\n\0\xff"
    await end.send(b"HTTP/1.1 is only bytes\r\n\r\n")
    assert await client.read_exactly(26) == b"HTTP/1.1 is only bytes\r\n\r\n"
    client.close()
    end.close()


@pytest.mark.parametrize(("framing", "body"), BODIES, ids=["sized", "chunked"])
@pytest.mark.parametrize("behind", [b"", b"early"])
async def test_a_body_and_then_raw_bytes(edge: RunningEdge, framing: bytes, body: bytes, behind: bytes) -> None:
    """The program gets the offer with its body, and what comes behind that once it has switched."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(START + framing + b"\r\n" + body + behind)
    end, request = await backend.answer(UPGRADED + b"$ ")
    assert (request.get(b"connection"), request.get(b"upgrade"), request.body) == (b"Upgrade", b"tcp", JSON)
    answer = await client.read_head()
    assert (answer.status, answer.first, answer.get(b"upgrade")) == (101, b"HTTP/1.1 101 UPGRADED", b"tcp")
    assert await client.read_exactly(2) == b"$ "
    assert await end.read_exactly(len(behind)) == behind
    await raw_both_ways(client, end)


@pytest.mark.parametrize(("framing", "body"), BODIES, ids=["sized", "chunked"])
async def test_with_expect(edge: RunningEdge, framing: bytes, body: bytes) -> None:
    """The client sends its body when the program asks for it."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(START + framing + b"Expect: 100-continue\r\n\r\n")
    end = await backend.accept()
    await end.read_head()
    await end.send(CONTINUE)
    assert await client.read_exactly(len(CONTINUE)) == CONTINUE
    await client.send(body)
    assert await end.read_exactly(len(body)) == body
    await end.send(UPGRADED)
    assert (await client.read_head()).status == 101
    await raw_both_ways(client, end)


@pytest.mark.parametrize(("framing", "body"), BODIES, ids=["sized", "chunked"])
async def test_a_101_before_the_bodys_end(edge: RunningEdge, framing: bytes, body: bytes) -> None:
    """The body goes on to its end in HTTP; only then is the connection the other protocol's (RFC 9110 §7.8)."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(START + framing + b"Expect: 100-continue\r\n\r\n" + body[:5])
    end = await backend.accept()
    await end.read_head()
    await end.send(UPGRADED + b"$ ")
    await edge.turns()
    await client.send(body[5:] + b"early")
    seen = b""
    while not seen.endswith(b"early"):
        seen += await end.read_some()
    content = seen.removesuffix(b"early")
    if framing == SIZED:
        assert content == JSON
    else:
        assert content.endswith(b"0\r\n\r\n")
        assert b"early" not in content
    assert (await client.read_head()).status == 101
    assert await client.read_exactly(2) == b"$ "
    await raw_both_ways(client, end)


async def test_turned_down_with_a_body(edge: RunningEdge) -> None:
    """The answer is an answer. The program may not have read the body, so its connection serves nobody else."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(START + SIZED + b"\r\n" + JSON)
    end, _ = await backend.answer(b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno")
    assert (await client.read_response()).body == b"no"
    await end.read_until_gone()
    assert edge.kept() == 0
