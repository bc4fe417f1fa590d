"""What is open in a worker, and its end at an operator's word."""

import pytest

from router.observe.ended_exchange import Finished
from tests.support.edge import RunningEdge
from tests.support.wire import Backend, End, Ended

pytestmark = pytest.mark.asyncio

GET = b"GET /a?b=1 HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OFFER = b"GET /ws HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"


def every(_: Finished) -> bool:
    return True


def phases(edge: RunningEdge) -> list[str]:
    return sorted(phase for _, phase, _ in edge.proxy.open_exchanges())


async def asked(edge: RunningEdge, backend: Backend, request: bytes = GET) -> tuple[End, End]:
    """A client whose request the backend has, and the backend's connection."""
    client = await edge.client()
    await client.send(request)
    served = await backend.accept()
    await served.read_request()
    return client, served


async def test_nothing_is_open(edge: RunningEdge) -> None:
    """Neither without traffic, nor of a connection that waits for its next request."""
    assert edge.proxy.open_exchanges() == []
    assert edge.proxy.cut(every) == (0, 0)
    backend = edge.backend()
    async with backend.serving(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"):
        client = await edge.client()
        await client.send(GET)
        await client.read_response()
    await edge.idle()
    assert phases(edge) == []


async def test_who_waits_for_a_response_is_told(edge: RunningEdge) -> None:
    backend = edge.backend()
    client, served = await asked(edge, backend)
    assert phases(edge) == ["H"]
    assert edge.proxy.cut(every) == (1, 0)
    response = await client.read_response()
    assert (response.status, response.get(b"x-miosa-error")) == (503, b"session_closed")
    with pytest.raises(Ended):
        await served.read_some()
    assert edge.endings == ["EH"]


async def test_a_response_that_has_begun_breaks_off(edge: RunningEdge) -> None:
    """So that nobody takes its part for the whole."""
    backend = edge.backend()
    client, served = await asked(edge, backend)
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    await client.read_until(b"he")
    assert phases(edge) == ["B"]
    assert edge.proxy.cut(every) == (1, 0)
    with pytest.raises(Ended):
        await client.read_some()
    assert edge.endings == ["EB"]


@pytest.mark.parametrize(("protocol", "goodbye"), [(b"websocket", b"\x88\x02\x03\xe9"), (b"raw", b"")])
async def test_a_tunnel_ends(edge: RunningEdge, protocol: bytes, goodbye: bytes) -> None:
    """A WebSocket hears that it ends."""
    backend = edge.backend()
    client, served = await asked(edge, backend, OFFER % protocol)
    await served.send(SWITCHED % protocol)
    await client.read_until(b"\r\n\r\n")
    edge.advance(1.0)  # nothing has passed for a moment
    ((_, phase, idle),) = edge.proxy.open_exchanges()
    assert (phase, idle >= 0.75) == ("T", True)
    assert edge.proxy.cut(every) == (0, 1)
    assert await client.read_until_close() == goodbye
    served.close()
    assert [one.ending for one in await edge.ended(1)] == ["ET"]


async def test_only_those_that_are_chosen(edge: RunningEdge) -> None:
    """Hundreds of one host end, in several turns; the other host's go on, and so do new requests."""
    backend, other = edge.backend(), edge.backend("other")
    pairs = [await asked(edge, backend) for _ in range(70)]
    spared, served = await asked(edge, other, GET.replace(b"shop", b"other"))
    assert edge.proxy.cut(lambda one: one.host == b"shop.miosa.app") == (70, 0)
    for client, _ in pairs:
        assert (await client.read_response()).status == 503
    assert phases(edge) == ["H"]
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (await spared.read_response()).body == b"hi"
    client, served = await asked(edge, backend)
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (await client.read_response()).status == 200


async def test_who_has_left_meanwhile_is_no_trouble(edge: RunningEdge) -> None:
    """It is counted, and has ended by itself when its turn comes."""
    backend = edge.backend()
    client, _ = await asked(edge, backend)
    assert edge.proxy.cut(every) == (1, 0)
    client.reset()
    assert {one.ending for one in await edge.ended(1)} <= {"EH", "CH"}
