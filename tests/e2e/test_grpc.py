"""gRPC with real clients and servers (grpcio), through Caddy and the router."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from tests.e2e.conftest import Edge
from tests.support.grpc_service import GrpcClient, GrpcServer
from tests.support.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

WAIT = 20.0  # seconds


def client_of(edge: Edge, port: int) -> GrpcClient:
    """A client of the program on that port, which is set to h2c."""
    host = edge.host(port, protocols={"3000": "h2c"})
    edge.caddy.wait_until_valid(host)
    return GrpcClient(edge.caddy.port, host, edge.caddy.root_certificate.read_bytes())


@contextlib.asynccontextmanager
async def served(edge: Edge) -> AsyncIterator[tuple[GrpcServer, GrpcClient]]:
    async with GrpcServer() as server, client_of(edge, server.port) as client:
        yield server, client


async def test_a_unary_call_with_metadata(edge: Edge) -> None:
    """Message, metadata of both kinds and both ends, text and binary."""
    async with served(edge) as (_, client):
        call = client.unary()(b"hello", metadata=(("x-ask", "what"), ("x-ask-bin", b"\0\xff")), timeout=WAIT)
        assert await call == b"olleh"
        initial, trailing = dict(await call.initial_metadata()), dict(await call.trailing_metadata())
        assert (initial["x-initial"], initial["x-initial-bin"]) == ("what", b"\0\1\xff")
        assert (trailing["x-trailing"], trailing["x-trailing-bin"]) == ("late", b"\xff\0")
        assert await call.code() is grpc.StatusCode.OK


async def test_streams_of_either_side(edge: Edge) -> None:
    """Server streaming, client streaming."""
    async with served(edge) as (_, client):
        assert [int(one) async for one in client.server_stream()(b"500", timeout=WAIT)] == list(range(500))
        sent = [b"%d" % number for number in range(200)]
        assert await client.client_stream()(iter(sent), timeout=WAIT) == b",".join(sent)


async def test_both_directions_answer_each_other(edge: Edge) -> None:
    """Each message is answered before the next is sent: nothing waits for the end of the request."""
    async with served(edge) as (_, client):
        call = client.bidirectional()(timeout=WAIT)
        for number in range(50):
            await call.write(b"message %d" % number)
            assert await call.read() == b"MESSAGE %d" % number
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_large_messages(edge: Edge) -> None:
    """16 MiB each way, in one message."""
    async with served(edge) as (_, client):
        message = bytes(range(256)) * (16 * 1024 * 1024 // 256)
        assert await client.unary()(message, timeout=60) == message[::-1]


async def test_a_hundred_calls_at_once(edge: Edge) -> None:
    """On one connection of the client's; each gets its own answer."""
    async with served(edge) as (_, client):
        call = client.unary()
        answers = await asyncio.gather(*[call(b"%d" % (1000 + number), timeout=WAIT) for number in range(100)])
        assert answers == [(b"%d" % (1000 + number))[::-1] for number in range(100)]


async def test_an_error_of_the_program(edge: Edge) -> None:
    """Its status and message arrive as it said them, in trailers only."""
    async with served(edge) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await client.unary("Fails")(b"x", timeout=WAIT)
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert failed.value.details() == "not now: x \N{SNOWMAN} %\n"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await client.unary("Missing")(b"x", timeout=WAIT)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline(edge: Edge) -> None:
    """The program knows the client's deadline, and the call ends with it."""
    async with served(edge) as (server, client):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await client.unary("Hangs")(b"x", timeout=2)
        assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        (remaining,) = server.deadlines
        assert remaining is not None
        assert 0 < remaining <= 2
        await asyncio.wait_for(server.cancelled.wait(), WAIT)


async def test_a_cancelled_call(edge: Edge) -> None:
    """The program hears that nobody waits any more."""
    async with served(edge) as (server, client):
        call = client.unary("Hangs")(b"x", timeout=WAIT)
        async with asyncio.timeout(WAIT):
            while not server.deadlines:
                await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait_for(server.cancelled.wait(), WAIT)


async def test_an_error_of_ours(edge: Edge) -> None:
    """A program that is not there is UNAVAILABLE, with our code beside it."""
    async with client_of(edge, free_port()) as client:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await client.unary()(b"x", timeout=WAIT)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "Nothing is listening on this port" in (failed.value.details() or "")


async def test_a_server_that_ends_its_connections_now_and_then(edge: Edge) -> None:
    """gRPC servers say GOAWAY when a connection is old: no call is lost."""
    options = {"grpc.max_connection_age_ms": 100, "grpc.max_connection_age_grace_ms": 5000}
    async with GrpcServer(**options) as server, client_of(edge, server.port) as client:
        call = client.unary()
        async with asyncio.timeout(60):
            for _ in range(40):
                assert await call(b"ab", timeout=WAIT, wait_for_ready=True) == b"ba"
                await asyncio.sleep(0.02)
