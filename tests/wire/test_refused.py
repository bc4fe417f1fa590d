"""What operators read about messages that the proxy refused: the byte, the rule, who sent it, and no secret."""

from collections.abc import Sequence
from typing import Any

import pytest

from router.operator.refused import shown
from tests.support.edge import FRONT, OUTSIDE, RunningEdge, until
from tests.support.wire import Backend, End
from tests.wire.test_http2_hostile import block, frame, raw

pytestmark = pytest.mark.asyncio

HOST = b"shop.miosa.app"
GET = b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def refused(edge: RunningEdge) -> Sequence[dict[str, Any]]:
    return [shown(one, edge.limits) for one in edge.proxy._worker.refused.all()]


def only(edge: RunningEdge) -> dict[str, Any]:
    (one,) = refused(edge)
    return one


async def respond(edge: RunningEdge, backend: Backend, said: bytes) -> End:
    """A backend answers so; its visitor."""
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    await end.read_head()
    await end.send(said)
    return client


async def test_a_request_that_comes_at_once(edge: RunningEdge) -> None:
    """Which byte, which rule; the host that its lines name; values of secret headers are not shown."""
    head = b"GET /?token=hidden HTTP/1.1\r\nHost: " + HOST + b"\r\nAuthorization: Bearer hidden\r\nX"
    client = await edge.client()
    await client.send(head + b" Y: 1\r\n\r\n")
    assert (await client.read_response()).status == 400
    one = only(edge)
    assert (one["side"], one["part"], one["host"], one["count"]) == ("client", "head", HOST.decode(), 1)
    assert (one["offset"], one["byte"], one["source"]) == (len(head), " ", "RFC 9110 §5.1")
    assert one["before"].endswith(r"\r\nAuthorization:**************\r\nX")
    assert (one["after"], one["size"]) == (r"Y: 1\r\n\r\n", len(head) + 9)
    assert "hidden" not in str(one)
    assert one["request_id"].startswith("req_")


@pytest.mark.parametrize("cut", [1, 20, -3])
async def test_a_request_that_comes_in_pieces(edge: RunningEdge, cut: int) -> None:
    """The place counts from the request's first byte, not the piece's, and not the connection's."""
    client = await edge.client()
    raw = b"GET / HTTP/1.1\r\nHost: a.example\r\nX: a\x00b\r\n\r\n"
    await client.send(b"\r\n" + raw[:cut])
    await client.send(raw[cut:])
    assert (await client.read_response()).status == 400
    one = only(edge)
    assert (one["offset"], one["byte"], one["source"]) == (raw.index(b"\x00"), r"\x00", "RFC 9110 §5.5")


async def test_another_protocol(edge: RunningEdge) -> None:
    client = await edge.client()
    await client.send(b"\x16\x03\x01\x02\x00")
    await client.read_response()
    one = only(edge)
    assert (one["offset"], one["byte"], one["after"], one["host"]) == (0, r"\x16", r"\x03\x01\x02\x00", None)


async def test_who_sent_it_is_what_a_trusted_proxy_says(edge: RunningEdge) -> None:
    """Its network only. From anybody else the same line says nothing."""
    for source in (FRONT, OUTSIDE):
        client = await edge.client(source)
        await client.send(b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nX Y: 1\r\n\r\n")
        await client.read_response()
    assert {one["client_network"] for one in refused(edge)} == {"203.0.113.0/24", "127.0.0.0/24"}


async def test_a_response(edge: RunningEdge) -> None:
    """With the backend's address and the request's id, as its log line has."""
    backend = edge.backend("shop")
    client = await respond(
        edge, backend, HEAD + b"Set-Cookie: hidden\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
    )
    assert (await client.read_response()).status == 502
    one = only(edge)
    assert (one["side"], one["host"], one["backend"]) == ("backend", HOST.decode(), f"127.0.0.1:{backend.port}")
    assert (one["offset"], one["source"]) == (56, "RFC 9112 §6.3")
    assert one["before"].endswith(r"Content-Length: 1\r\n")
    assert "hidden" not in str(one)
    assert one["request_id"] in {line.get("request_id") for line in edge.logs}


async def test_a_body_of_a_response(edge: RunningEdge) -> None:
    """Of content nothing is shown but the byte."""
    client = await respond(edge, edge.backend("shop"), CHUNKED + b"5\r\nhello\r\nxyz")
    await client.read_until_gone()
    one = only(edge)
    assert (one["side"], one["part"], one["byte"], one["source"]) == ("backend", "body", "x", "RFC 9112 §7.1")
    assert (one["before"], one["after"]) == ("", "")


async def test_a_body_of_a_request(edge: RunningEdge) -> None:
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"POST / HTTP/1.1\r\nHost: " + HOST + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    end = await backend.accept()
    await end.read_head()
    await client.send(b"3\r\nabc!!")
    await client.read_until_gone()
    one = only(edge)
    assert (one["side"], one["part"], one["offset"], one["byte"]) == ("client", "body", 6, "!")


async def test_a_head_of_http2(edge: RunningEdge) -> None:
    """As text, with the place of the field."""
    client = await raw(edge, FRONT)
    await client.send(frame(1, 5, 1, block((b"cookie", b"hidden"), (b"X-Upper", b"y"))))
    await until(lambda: bool(refused(edge)), "it was refused")
    one = only(edge)
    head = b":method: POST\r\n:scheme: http\r\n:authority: shop.miosa.app\r\n:path: /\r\ncookie: hidden\r\n"
    assert (one["why"], one["source"], one["offset"]) == ("HTTP/2: field name", "RFC 9113 §8.2.1", len(head))
    assert (one["byte"], one["after"]) == ("X", r"-Upper: y\r\n")
    assert "hidden" not in str(one)


async def test_what_keeps_to_the_rules_is_not_there(edge: RunningEdge) -> None:
    """Not what is refused for other reasons either."""
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n")
    assert (await client.read_response()).status == 404
    assert refused(edge) == []
