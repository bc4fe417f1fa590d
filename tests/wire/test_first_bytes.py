"""Programs behind the proxy that are no web servers: their first words are judged at once, whatever they wait for."""

import json

import pytest

from router.pages.wording import HEADINGS
from tests.support.edge import RunningEdge
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

OTHERS = [
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"-ERR unknown command 'GET', with args beginning with: '/' 'HTTP/1.1' \r\n",
    b"\x15\x03\x01\x00\x02\x02\x16",
    b"J\x00\x00\x00\x0a8.0.36\x00",
    b"HTTP/2.0 200 OK\r\n",
    b"HTTX",
    b"\r\n",
]


@pytest.mark.parametrize("said", OTHERS)
@pytest.mark.parametrize("piecewise", [False, True])
async def test_what_is_not_http_is_502_while_its_connection_stays_open(
    edge: RunningEdge, said: bytes, piecewise: bool
) -> None:
    """No more of it is waited for, in one piece or byte by byte; its place is given back."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    await end.read_request()
    await (end.dribble(said) if piecewise else end.send(said))
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"bad_backend_response")
    await edge.idle()
    assert edge.endings == ["BH"]
    assert edge.kept() == 0


@pytest.mark.parametrize("way", ["speaks", "closes", "resets"])
async def test_a_backend_that_does_not_wait_to_be_asked(build_edge: BuildEdge, way: str) -> None:
    """A banner, a close or a reset the moment that the connection is there: 502, however that falls out."""
    edge = await build_edge(dial_tries=1)
    backend = edge.backend("shop")
    for _ in range(20):
        client = await edge.client()
        await client.send(GET)
        end = await backend.accept()
        if way == "speaks":
            await end.send(OTHERS[0])
        elif way == "closes":
            end.close()
        else:
            end.reset()
        assert (await client.read_response()).status == 502
        client.close()
        await edge.settled()


SPOKEN = [
    (b"SSH-2.0-OpenSSH_9.6\r\n", "speaks_ssh"),
    (b"\x15\x03\x01\x00\x02\x02\x16", "speaks_tls"),
    (b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", "speaks_http2"),
    (b"220 mail ESMTP\r\n", "speaks_another_protocol"),
    (b"hello\r\n\r\n", None),
    (b"", "connection_closed"),
]


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(("said", "reason"), SPOKEN)
async def test_the_error_says_what_the_program_speaks(
    edge: RunningEdge, said: bytes, reason: str | None, asked: bool
) -> None:
    """Whether it waits for the request or greets at once: the reason, and its words on the page."""
    backend = edge.backend("shop")
    for accept in ("application/json", "text/html"):
        client = await edge.client()
        await client.send(GET[:-2] + f"Accept: {accept}\r\n\r\n".encode())
        end = await backend.accept()
        if asked:
            await end.read_request()
        if said:
            await end.send(said)
        else:
            end.close()
        answer = await client.read_response()
        assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"bad_backend_response")
        if accept == "application/json":
            assert json.loads(answer.body)["error"].get("reason") == reason
            details = b"" if reason is None else b'; details="%b"' % reason.encode()
            assert (answer.get(b"proxy-status") or b"").partition(b"; error=")[2].endswith(details)
        else:
            assert (
                HEADINGS[reason or "bad_backend_response"].replace("This", "Port").split()[-1].encode() in answer.body
            )
        client.close()
        await edge.settled()


async def test_an_event_stream_of_a_program_that_restarts(edge: RunningEdge) -> None:
    """It broke off with the request in its hands: the client comes back. What speaks another protocol is no such case."""
    backend = edge.backend("shop")
    for said, status in ((b"", 200), (b"SSH-2.0-x\r\n", 502)):
        client = await edge.client()
        await client.send(GET[:-2] + b"Accept: text/event-stream\r\n\r\n")
        end = await backend.accept()
        await end.read_request()
        if said:
            await end.send(said)
        else:
            end.close()
        assert (await client.read_response()).status == status
        client.close()
        await edge.settled()


async def test_a_head_that_comes_byte_by_byte(edge: RunningEdge) -> None:
    """What can still become an answer is waited for; behind a 1xx as well."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    await end.read_request()
    await end.dribble(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert (await client.read_response()).status == 103
    assert (await client.read_response()).body == b"ok"
    await client.send(GET)
    await end.read_request()
    await end.dribble(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.kept() == 1


async def test_rubbish_behind_a_1xx(edge: RunningEdge) -> None:
    """What follows an interim answer is a head again, or nothing."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    await end.read_request()
    await end.send(b"HTTP/1.1 103 Early Hints\r\n\r\nrubbish")
    assert (await client.read_response()).status == 103
    assert (await client.read_response()).status == 502
