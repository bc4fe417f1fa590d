"""Bodies far larger than memory limits: a gigabyte each way, through Caddy, while the router's memory stays flat."""

import zlib

import pytest

from tests.e2e.conftest import Edge
from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.rss import forget_peak, peak_rss, rss

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

GIB = 1 << 30
GROWTH = 32 << 20
PIECE = bytes(range(256)) * 1024
PIECES = GIB // len(PIECE)


def checksum(pieces: int) -> int:
    total = 0
    for _ in range(pieces):
        total = zlib.crc32(PIECE, total)
    return total


async def swallow(visit: Visit) -> None:
    size = total = 0
    async for piece in visit.body():
        size += len(piece)
        total = zlib.crc32(piece, total)
    await visit.answer(b"%d %d" % (size, total))


async def pour(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
    for _ in range(PIECES):
        await visit.send(PIECE)


async def test_a_download(edge: Edge) -> None:
    """A gigabyte arrives whole, and the router never holds more than a small part of it."""
    pid = edge.router.process.pid
    async with Backend(pour) as backend:
        host = edge.host(backend.port)
        async with Http1(edge.caddy.port, host, edge.caddy.trust("http/1.1")) as client:
            before = rss(pid)
            forget_peak(pid)
            answer = await client.request("GET", "/")
            size = total = 0
            while piece := await answer.read():
                size += len(piece)
                total = zlib.crc32(piece, total)
    assert (size, total) == (GIB, checksum(PIECES))
    assert peak_rss(pid) - before < GROWTH


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_an_upload(edge: Edge, framing: str) -> None:
    """A gigabyte reaches the backend whole, and the router never holds more than a small part of it."""
    pid = edge.router.process.pid
    line = f"Content-Length: {GIB}" if framing == "sized" else "Transfer-Encoding: chunked"
    async with Backend(swallow) as backend:
        host = edge.host(backend.port)
        async with Http1(edge.caddy.port, host, edge.caddy.trust("http/1.1")) as client:
            before = rss(pid)
            forget_peak(pid)
            await client.send(f"PUT / HTTP/1.1\r\nHost: {host}\r\n{line}\r\n\r\n".encode())
            for _ in range(PIECES):
                if framing == "sized":
                    await client.send(PIECE)
                else:
                    await client.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            if framing == "chunked":
                await client.send(b"0\r\n\r\n")
            answer = await client.answer()
            assert await answer.read_all() == b"%d %d" % (GIB, checksum(PIECES))
    assert peak_rss(pid) - before < GROWTH
