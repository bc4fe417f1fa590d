"""HTTP/3 through real Caddy: who the visitor is, and that nothing comes in early data, which anybody may send again."""

import asyncio

import pytest

from tests.e2e.conftest import Edge
from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.http3 import Http3

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


async def test_http3(edge: Edge) -> None:
    """Answers offer it (Alt-Svc), and a program sees by it what it sees by the others: the visitor's own address, whatever
    the visitor claims. Connections are resumed, but no ticket allows early data, so no POST can be replayed."""
    seen: list[Visit] = []

    async def note(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"hello")

    async with Backend(note) as backend:
        host = edge.host(backend.port)
        await asyncio.to_thread(edge.caddy.wait_until_valid, host)
        async with Http1(edge.caddy.port, host, edge.caddy.trust()) as before:
            offer = (await before.request("GET", "/")).header("alt-svc")
        assert offer is not None
        assert f'h3=":{edge.caddy.port}"' in offer

        client = Http3(edge.caddy.port, edge.caddy.root_certificate)
        for number, method in enumerate((b"GET", b"POST")):
            body = b"x" if method == b"POST" else b""
            answer = await client.request(method, host, b"/a?b", (b"x-forwarded-for", b"203.0.113.9"), body=body)
            assert (answer.status, answer.body, answer.resumed) == (200, b"hello", number > 0)
    for visit in seen[1:]:
        assert visit.target == b"/a?b"
        assert visit.header(b"x-forwarded-for") == b"127.0.0.1"
        assert visit.header(b"x-forwarded-proto") == b"https"
        assert visit.header(b"early-data") is None
    assert client.tickets
    assert not any(ticket.max_early_data_size for ticket in client.tickets)
