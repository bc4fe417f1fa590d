"""A captured request that is sent once more: an exchange like any other, for which what holds now holds."""

import asyncio
from base64 import b64decode, b64encode
from typing import Any

import pytest

from router.proxy import replay as replaying
from router.records.record import REPLAY
from tests.support.access import plain, policies, secret
from tests.support.edge import RunningEdge
from tests.support.wire import Backend
from tests.wire.conftest import BuildEdge
from tests.wire.test_captures import until

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok"
DEVELOPER = "198.51.100.7"


def order(**changes: Any) -> dict[str, Any]:
    """As `records.replays.order_of` makes one."""
    values = {
        "original": "first",
        "request_id": "replay-1",
        "resource": "id-of-shop",
        "host": "shop.miosa.app",
        "client": DEVELOPER,
        "scheme": "https",
        "method": "POST",
        "target": "/in?a=1",
        "headers": [["Content-Type", "text/plain"], ["X-B", "c"]],
        "body": b64encode(b"hello").decode(),
    }
    return values | changes


async def answered(edge: RunningEdge, backend: Backend, response: bytes = OK, **changes: Any) -> tuple[Any, Any]:
    """What became of it, and what the program got."""
    task = asyncio.create_task(edge.proxy.replay(order(**changes)), name="test: replay")
    end, request = await backend.request()
    await end.send(response)
    told = await task
    end.close()
    return told, request


async def test_a_replay(edge: RunningEdge) -> None:
    """The program gets the request with the mark, from the one who sends it again; the record says what it was."""
    told, request = await answered(edge, edge.backend("shop"))
    assert (request.first, request.body) == (b"POST /in?a=1 HTTP/1.1", b"hello")
    assert request.get(b"host") == b"shop.miosa.app"
    assert (request.get(b"content-type"), request.get(b"x-b")) == (b"text/plain", b"c")
    assert request.get(b"x-miosa-replay") == b"first"
    assert request.get(b"x-request-id") == b"replay-1"
    assert (request.get(b"x-forwarded-for"), request.get(b"x-forwarded-proto")) == (DEVELOPER.encode(), b"https")
    response = told.pop("response")
    assert told == {"refused": "", "in_time": True, "status": 200, "ending": "--", "error": ""}
    assert (response["status"], b64decode(response["body"]), response["body_whole"]) == (200, b"ok", True)
    assert ["X-A", "b", False] in response["headers"]
    (exchange,) = await edge.ended(1)
    assert (exchange.marks, exchange.ending, exchange.request_id, exchange.client) == (
        REPLAY,
        "--",
        "replay-1",
        DEVELOPER,
    )


@pytest.mark.parametrize(
    ("raw", "body", "whole"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", True),
        (b"Content-Length: 20000\r\n\r\n" + b"x" * 20000, b"x" * 10240, False),
        (b"Content-Length: 0\r\n\r\n", b"", True),
    ],
    ids=["chunked", "long", "empty"],
)
async def test_responses(edge: RunningEdge, raw: bytes, body: bytes, whole: bool) -> None:
    """The beginning of any is told."""
    told, _ = await answered(edge, edge.backend("shop"), b"HTTP/1.1 200 OK\r\n" + raw)
    assert (b64decode(told["response"]["body"]), told["response"]["body_whole"]) == (body, whole)
    assert told["ending"] == "--"


async def test_an_interim_response_is_passed_over(edge: RunningEdge) -> None:
    """What comes behind it counts."""
    told, _ = await answered(edge, edge.backend("shop"), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert (told["status"], told["response"]["status"]) == (200, 200)


async def test_nobody_else_can_send_the_mark(edge: RunningEdge) -> None:
    """Neither a visitor, nor what was captured of one."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Miosa-Replay: forged\r\n\r\n")
    end, request = await backend.answer(OK)
    assert request.get(b"x-miosa-replay") is None
    client.close()
    end.close()
    await edge.settled()
    _, request = await answered(edge, backend, headers=[["x-miosa-replay", "forged"], ["X-Miosa-Identity", "forged"]])
    assert request.get(b"x-miosa-replay") == b"first"
    assert request.get(b"x-miosa-identity") is None


async def test_todays_policies_hold(edge: RunningEdge) -> None:
    """A preview that is private by now is so for a replay, too; a token that is given lets it in, and stays outside."""
    backend = edge.backend("shop", policies=policies(secret("ci")))
    told = await edge.proxy.replay(order())
    assert (told["status"], told["error"], told["ending"]) == (401, "token_missing", "EA")
    headers = [["X-Miosa-Preview-Token", plain("ci")]]
    told, request = await answered(edge, backend, headers=headers)
    assert told["status"] == 200
    assert request.get(b"x-miosa-preview-token") is None
    assert request.get(b"x-miosa-replay") == b"first"


async def test_networks_are_those_of_who_sends_it_again(edge: RunningEdge) -> None:
    """Not those of the visitor who sent it first."""
    edge.backend("shop", policies=policies(visibility="public", networks=("192.0.2.0/24",)))
    told = await edge.proxy.replay(order())
    assert told["status"] == 403


async def test_a_blocked_resource(edge: RunningEdge) -> None:
    """Nothing reaches it, and nothing of it is told."""
    backend = edge.backend("shop", suspended=True)
    told = await edge.proxy.replay(order())
    assert (told["status"], told["error"]) == (451, "blocked")
    assert not backend.has_visitor()


async def test_limits_hold(build_edge: BuildEdge) -> None:
    """A tenant with as many exchanges as it may have is told so."""
    edge = await build_edge(exchanges_per_resource=1, queue_per_resource=0, queue_time=0)
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
    end, _ = await backend.request()
    told = await edge.proxy.replay(order())
    assert (told["status"], told["error"]) == (429, "too_many_requests")
    await end.send(OK)
    await client.read_response()


@pytest.mark.parametrize("changes", [{"resource": "id-of-desk"}, {"host": "nothing.miosa.app"}], ids=["moved", "gone"])
async def test_a_host_that_leads_elsewhere(edge: RunningEdge, changes: dict[str, Any]) -> None:
    """Nothing is sent."""
    backend = edge.backend("shop")
    told = await edge.proxy.replay(order(**changes))
    assert told == {"refused": "elsewhere"}
    assert not backend.has_visitor()
    assert edge.finished == []


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "/a b"},
        {"method": "GE T"},
        {"headers": [["A", "b\r\n\r\nGET / HTTP/1.1"]]},
        {"headers": [["Transfer-Encoding", "chunked"]]},
        {"headers": [["Connection", "upgrade"], ["Upgrade", "websocket"]], "body": "", "method": "GET"},
    ],
    ids=["target", "method", "two requests", "framing", "upgrade"],
)
async def test_what_is_no_request(edge: RunningEdge, changes: dict[str, Any]) -> None:
    """Nothing is sent."""
    backend = edge.backend("shop")
    told = await edge.proxy.replay(order(**changes))
    assert told["refused"] == "malformed"
    assert not backend.has_visitor()


async def test_a_program_that_does_not_answer(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after a while, as by a visitor who leaves."""
    monkeypatch.setattr(replaying, "TIME", 0.05)
    backend = edge.backend("shop")
    told = await edge.proxy.replay(order())
    assert (told["in_time"], told["status"], told["response"]) == (False, 0, None)
    (exchange,) = await edge.ended(1)
    assert exchange.ending in ("CH", "CD")
    backend.close()


async def test_a_stream_without_an_end(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning is told."""
    monkeypatch.setattr(replaying, "TIME", 0.5)
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
    told, _ = await answered(edge, edge.backend("shop"), raw, body="", method="GET")
    assert (told["status"], told["ending"], told["in_time"]) == (200, "CB", False)
    assert (b64decode(told["response"]["body"]), told["response"]["body_whole"]) == (b"data: 1\n\n", False)


async def test_what_is_long_is_not_read_to_its_end(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte is enough."""
    monkeypatch.setattr(replaying, "_MAX_READ", 1000)
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 2000
    told, _ = await answered(edge, edge.backend("shop"), raw, body="", method="GET")
    assert (told["in_time"], told["response"]["body_size"]) == (True, 2000)
    assert not told["response"]["body_whole"]
    assert (await edge.ended(1))[0].ending == "CB"


async def test_a_replay_is_captured_where_all_is(edge: RunningEdge) -> None:
    """With its mark."""
    await answered(edge, edge.backend("shop", capture_until=until(edge)))
    (found,) = await edge.captures()
    assert ("X-Miosa-Replay", "first") in [(header.name, header.value) for header in found.request.headers]
    assert found.request.body.content == b"hello"
    (exchange,) = edge.finished
    assert exchange.marks == REPLAY | 4


async def test_not_while_the_node_drains(edge: RunningEdge) -> None:
    """Another node takes it."""
    edge.proxy._worker.draining = True
    assert await edge.proxy.replay(order()) == {"refused": "draining"}
