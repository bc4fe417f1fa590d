"""Ports whose scheme is https: the program behind them terminates TLS by itself, with whatever certificate it has."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.backends import Backend, Handler, Visit
from tests.support.certificates import write_certificate
from tests.support.edge import RunningEdge
from tests.support.wire import Ended
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

GET = b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n"
OFFER = (
    b"GET /ws HTTP/1.1\r\nHost: shop.miosa.app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Serve = Callable[[Handler], contextlib.AbstractAsyncContextManager[Backend]]


class Names(list[str | None]):
    """The names that handshakes asked for."""


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def context(tmp_path: Path, names: Names) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*write_certificate(tmp_path, "localhost"))
    made.set_alpn_protocols(["h2", "http/1.1"])
    made.sni_callback = lambda _connection, name, _context: names.append(name)
    return made


@pytest_asyncio.fixture
async def serve(edge: RunningEdge, context: ssl.SSLContext) -> AsyncIterator[Serve]:
    """Runs a program that speaks TLS, as the resource `shop`."""

    @contextlib.asynccontextmanager
    async def run(handler: Handler) -> AsyncIterator[Backend]:
        async with Backend(handler, tls=context) as backend:
            edge.point("shop", backend, schemes={backend.port: "https"})
            yield backend

    yield run


async def test_a_get_and_its_connection_kept(edge: RunningEdge, serve: Serve, names: Names) -> None:
    """Any certificate will do, the handshake names the visited host, HTTP/1.1 is agreed on, and the connection is kept."""
    agreed: list[str | None] = []

    async def answer(visit: Visit) -> None:
        agreed.append(visit.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await visit.answer(b"over tls")

    async with serve(answer) as backend:
        client = await edge.client()
        for _ in range(3):
            await client.send(GET)
            assert (await client.read_response()).body == b"over tls"
        assert (backend.accepted, agreed, names) == (1, ["http/1.1"] * 3, ["shop.miosa.app"])
        assert [exchange.reused for exchange in edge.finished] == [False, True, True]


async def test_each_host_has_its_own_handshake(edge: RunningEdge, serve: Serve, names: Names) -> None:
    """A server that looks at SNI and Host never sees two that differ (it would answer 421)."""

    async with serve(lambda visit: visit.answer(b"ok")) as backend:
        client = await edge.client()
        hosts = [b"shop.miosa.app", b"%d-shop.sandbox.miosa.app" % backend.port, b"shop.sandbox.miosa.app"]
        for host in hosts * 2:
            await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
            assert (await client.read_response()).status == 200
        assert names == [host.decode() for host in hosts]


async def test_a_large_upload_and_a_large_download(edge: RunningEdge, serve: Serve) -> None:
    """Both directions stream, with what arrives being what was sent."""
    size = 3_000_000

    async def echo(visit: Visit) -> None:
        body = b"".join([piece async for piece in visit.body()])
        await visit.answer(body)

    async with serve(echo):
        client = await edge.client()
        body = bytes(range(256)) * (size // 256)
        sending = asyncio.create_task(
            client.send(b"POST / HTTP/1.1\r\nHost: shop.miosa.app\r\nContent-Length: %d\r\n\r\n" % len(body) + body),
            name="test: upload",
        )
        assert (await client.read_response()).body == body
        await sending


async def test_a_websocket(edge: RunningEdge, serve: Serve) -> None:
    """Bytes pass both ways, and the backend's end ends the tunnel."""

    async def talk(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        assert await visit.reader.readexactly(4) == b"ping"
        await visit.send(b"pong")
        visit.writer.close()

    async with serve(talk):
        client = await edge.client()
        await client.send(OFFER)
        assert (await client.read_head()).status == 101
        assert await client.read_exactly(5) == b"hello"
        await client.send(b"ping")
        assert await client.read_until_close() == b"pong"
        assert [exchange.ending for exchange in await edge.ended(1)] == ["--"]


@pytest.mark.parametrize("protocol", [b"websocket", b"tcp"])
async def test_a_client_that_half_closes(edge: RunningEdge, serve: Serve, protocol: bytes) -> None:
    """Its end cannot be passed on over TLS, so the backend may finish for a while; then the tunnel is over."""

    async def talk(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
        await visit.reader.readexactly(4)
        await visit.send(b"last words")
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await visit.reader.readexactly(1)

    async with serve(talk):
        client = await edge.client()
        await client.send(OFFER.replace(b"websocket", protocol))
        assert (await client.read_head()).status == 101
        await client.send(b"ping")
        client.sock.shutdown(socket.SHUT_WR)
        assert await client.read_exactly(10) == b"last words"
        await edge.turns()
        edge.advance(edge.limits.half_close + 1)
        assert await client.read_until_close() == b""
        assert [exchange.ending for exchange in await edge.ended(1)] == ["--"]


async def test_a_backend_that_closes_in_the_middle(edge: RunningEdge, serve: Serve) -> None:
    """A short body never looks complete, whether the end was announced by TLS or not."""

    async def half(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        if visit.target == b"/rude":
            visit.writer.transport.abort()
        else:
            visit.writer.close()

    async with serve(half):
        for target in (b"/polite", b"/rude"):
            client = await edge.client()
            await client.send(GET.replace(b" / ", b" %b " % target))
            with pytest.raises(Ended) as ended:
                await client.read_response()
            assert ended.value.so_far.endswith(b"half")
        assert [exchange.ending for exchange in await edge.ended(2)] == ["BB", "BB"]


async def test_a_body_that_ends_with_the_connection(edge: RunningEdge, serve: Serve) -> None:
    """A response without a length is whole where TLS says that it ended."""

    async def until_close(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        visit.writer.close()

    async with serve(until_close):
        client = await edge.client()
        await client.send(GET)
        assert (await client.read_response()).body == b"all of it"


ANSWERS = {
    "an HTTP server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "an SSH server": b"SSH-2.0-OpenSSH_9.6\r\n",
    "one that closes": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_program_without_tls_is_named_as_that(edge: RunningEdge, answer: bytes) -> None:
    """Whatever it says to a handshake, the response says that the scheme and the program do not fit."""
    backend = edge.backend("shop")
    edge.point("shop", backend, schemes={backend.port: "https"})
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    if answer:
        await end.send(answer)
    else:
        end.close()
    response = await client.read_response()
    assert (response.status, response.get(b"x-miosa-error")) == (502, b"tls_expected")
    assert [(exchange.ending, exchange.tries) for exchange in await edge.ended(1)] == [("BD", 1)]
    assert [note.code for note in await edge.noted(backend.port)] == ["tls_expected"]


async def test_a_handshake_that_is_never_answered(build_edge: BuildEdge) -> None:
    """It stands under the deadline of a dial."""
    edge = await build_edge(dial=0.2)
    backend = edge.backend("shop")
    edge.point("shop", backend, schemes={backend.port: "https"})
    client = await edge.client()
    await client.send(GET)
    await backend.accept()
    response = await client.read_response()
    assert (response.status, response.get(b"x-miosa-error")) == (504, b"backend_timeout")
    assert [exchange.ending for exchange in await edge.ended(1)] == ["bD"]


async def test_a_closed_port_is_a_closed_port(edge: RunningEdge) -> None:
    """Nothing listens: the page that waits for the port, whatever its scheme."""
    backend = edge.backend("shop", listening=False)
    edge.point("shop", backend, schemes={backend.port: "https"})
    client = await edge.client()
    await client.send(GET)
    response = await client.read_response()
    assert (response.status, response.get(b"x-miosa-error")) == (502, b"port_closed")


async def test_a_scheme_that_changes_takes_effect_at_once(edge: RunningEdge, serve: Serve) -> None:
    """No connection of the old scheme is used for the new one."""

    async with serve(lambda visit: visit.answer(b"tls")):
        client = await edge.client()
        await client.send(GET)
        assert (await client.read_response()).body == b"tls"
        plain = edge.backend("shop")
        await client.send(GET)
        await plain.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
        assert (await client.read_response()).body == b"plain"


async def test_a_client_that_leaves_during_the_handshake(build_edge: BuildEdge) -> None:
    """The dial goes on and what comes of it is closed."""
    edge = await build_edge(dial=60)
    backend = edge.backend("shop")
    edge.point("shop", backend, schemes={backend.port: "https"})
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    client.close()
    assert [exchange.ending for exchange in await edge.ended(1)] == ["CD"]
    end.close()
