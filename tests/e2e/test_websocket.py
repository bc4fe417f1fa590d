"""WebSockets through Caddy and the router: over HTTP/1.1, and over HTTP/2 by extended CONNECT (RFC 8441)."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from tests.e2e.conftest import Edge
from tests.support.http2 import Http2

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_over_http1(edge: Edge) -> None:
    """Messages of every size go both ways, and the close code arrives."""
    async with serve(echo, "127.0.0.1", 0, max_size=None) as backend:
        host = edge.host(backend.sockets[0].getsockname()[1])
        async with connect(
            f"wss://{host}/socket",
            host="127.0.0.1",
            port=edge.caddy.port,
            ssl=edge.caddy.trust("http/1.1"),
            max_size=None,
            proxy=None,
        ) as client:
            for message in ("hello", "", "ü" * 100_000, b"\0\xff" * 1_000_000):
                await client.send(message)
                assert await client.recv() == message
            await client.close(code=4001, reason="done")
        assert (client.close_code, client.close_reason) == (4001, "done")


async def test_over_http2(edge: Edge) -> None:
    """A visitor's extended CONNECT becomes an upgrade for the backend; frames go both ways, beside other exchanges."""
    async with serve(echo, "127.0.0.1", 0) as backend:
        host = edge.host(backend.sockets[0].getsockname()[1])
        async with Http2(edge.caddy.port, host, edge.caddy.trust("h2")) as client:
            assert client.connects, "Caddy does not offer extended CONNECT"
            sockets = [
                await client.request(
                    "CONNECT", "/socket", ((":protocol", "websocket"), ("sec-websocket-version", "13")), body=True
                ).answered()
                for _ in range(2)
            ]
            for socket in sockets:
                assert socket.status == 200
            for words in (b"hello", b"x" * 100, b""):
                for socket in sockets:
                    await socket.send(Frame(Opcode.TEXT, words).serialize(mask=True))
                    expected = Frame(Opcode.TEXT, words).serialize(mask=False)
                    received = b""
                    while len(received) < len(expected):
                        received += await asyncio.wait_for(socket.read(), 5)
                    assert received == expected
            await sockets[0].send(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
            assert await sockets[0].read() == Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)
            await sockets[1].send(Frame(Opcode.TEXT, b"still here").serialize(mask=True))
            assert (await sockets[1].read()).endswith(b"still here")
