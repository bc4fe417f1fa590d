"""Logins that hold for a connection (NTLM, Negotiate), through real Caddy: it sends all visitors' requests to the router over
the same few connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.e2e.conftest import Edge
from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.ntlm import NtlmLogins, message

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

ALICE = "127.0.0.1"
ELSEWHERE = "127.0.0.2"
NOTHING = ""
BEGIN, LOG_IN = (f"Authorization: NTLM {message(number, b'alice').decode()}" for number in (1, 3))
# What another visitor may say without being anybody. Programs differ in what they make of it on a connection that is logged
# in; this one knows the connection, whatever its requests say.
OTHERS = [NOTHING, BEGIN, "Authorization: NTLM AAAA", "Authorization: Negotiate AAAA", "Authorization: Basic eDp5"]


@pytest_asyncio.fixture
async def program() -> AsyncIterator[Backend]:
    logins = NtlmLogins()

    async def respond(visit: Visit) -> None:
        await visit.send(logins.respond(visit.writer, visit.header(b"authorization") or b""))

    async with Backend(respond) as backend:
        yield backend


async def said(client: Http1, line: str) -> bytes:
    """Who the program takes the sender of a request with this header line for; nothing: it asks them to log in."""
    answer = await client.request("GET", "/", *([line] if line else []))
    return await answer.read_all()


async def logs_in(client: Http1) -> bool:
    """Whether a login as Alice works, as a browser does it: it is asked to, begins, and says who it is."""
    await said(client, NOTHING)
    await said(client, BEGIN)
    return await said(client, LOG_IN) == b"alice"


@pytest.mark.parametrize("address", [ALICE, ELSEWHERE], ids=["of the same address", "of another address"])
async def test_a_login_is_never_anothers(edge: Edge, program: Backend, address: str) -> None:
    """However often one visitor logs in, another who comes right behind them, through the same Caddy, is nobody to the
    program; at the same address too, as people in one office are. The login itself works."""
    host = edge.host(program.port)
    context = edge.caddy.trust("http/1.1")
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(Http1(edge.caddy.port, host, context, source=ALICE))
        other = await stack.enter_async_context(Http1(edge.caddy.port, host, context, source=address))

        async with asyncio.timeout(60):
            for line in OTHERS * 3:
                # Now and then Caddy's health check takes the connection in between: then she begins again, as browsers do.
                while not await logs_in(alice):
                    pass
                assert await said(other, line) == b"", line
