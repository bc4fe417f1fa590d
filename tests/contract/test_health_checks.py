"""Looks at programs: what counts as an answer, and the words for what does not."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.outbound import health as probe
from router.outbound.health import HttpHealthCheck
from tests.support.backends import Backend, Visit
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio

REFUSED = "refuses connections; bind the program to 0.0.0.0, not 127.0.0.1"


@pytest_asyncio.fixture
async def health() -> AsyncIterator[HttpHealthCheck]:
    async with HttpHealthCheck() as opened:
        yield opened


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (b"200 OK", None),
        (b"204 No Content", None),
        (b"301 Moved Permanently", None),
        (b"399 Odd", None),
        (b"400 Bad Request", "answered GET /up with status 400"),
        (b"404 Not Found", "answered GET /up with status 404"),
        (b"503 Service Unavailable", "answered GET /up with status 503"),
    ],
)
async def test_statuses(health: HttpHealthCheck, status: bytes, words: str | None) -> None:
    """Below 400 is good; a redirect is not followed."""

    async def answer(visit: Visit) -> None:
        await visit.answer(b"", status, b"Location: /elsewhere")

    async with Backend(answer) as backend:
        assert await health.check("127.0.0.1", backend.port, "/up") == words
    assert backend.visits == 1


async def test_what_a_program_sees(health: HttpHealthCheck) -> None:
    """One GET with the path as it was given, no credentials, no cookies that an earlier check was given."""
    seen: list[Visit] = []

    async def answer(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"x" * 100_000, b"200 OK", b"Set-Cookie: a=b; Path=/")

    async with Backend(answer) as backend:
        for _ in range(2):
            assert await health.check("127.0.0.1", backend.port, "/%2e%2E/a/../b?q=%zz") is None
    for visit in seen:
        assert (visit.method, visit.target) == (b"GET", b"/%2e%2E/a/../b?q=%zz")
        assert visit.header(b"host") == f"127.0.0.1:{backend.port}".encode()
        assert visit.header(b"user-agent") == b"miosa-router health check"
        assert visit.header(b"cookie") is None
        assert visit.header(b"authorization") is None
    assert backend.accepted == 2, "no connection is kept"


@pytest.mark.parametrize("path", [None, "/"])
async def test_nobody_listens(health: HttpHealthCheck, path: str | None) -> None:
    """The most common mistake is named."""
    assert await health.check("127.0.0.1", free_port(), path) == REFUSED


async def test_a_port_that_accepts(health: HttpHealthCheck) -> None:
    """Without a path an accepted connection is enough, whatever the program speaks."""

    async def silent(visit: Visit) -> None:
        raise AssertionError("nothing is sent")

    async with Backend(silent) as backend:
        assert await health.check("127.0.0.1", backend.port, None) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "answered with something that is not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "answered with something that is not HTTP"),
    ],
)
async def test_other_protocols(health: HttpHealthCheck, said: bytes, words: str) -> None:
    """What is not HTTP is no answer."""

    async def answer(visit: Visit) -> None:
        await visit.send(said)
        visit.writer.close()

    async with Backend(answer) as backend:
        assert await health.check("127.0.0.1", backend.port, "/") == words


async def test_an_endless_body_is_not_read(health: HttpHealthCheck) -> None:
    """The status is all that counts, so a stream that never ends is an answer."""

    async def answer(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
        await asyncio.Event().wait()

    async with Backend(answer) as backend, asyncio.timeout(30):
        assert await health.check("127.0.0.1", backend.port, "/events") is None


async def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check ends by itself."""
    monkeypatch.setattr(probe, "CHECK_TIMEOUT", 0.2)

    async def silent(visit: Visit) -> None:
        await asyncio.Event().wait()

    async with HttpHealthCheck() as health, Backend(silent) as backend:
        assert await health.check("127.0.0.1", backend.port, "/") == "did not answer within 0.2 s"


async def test_an_address_that_is_not_there(health: HttpHealthCheck) -> None:
    """Whatever else keeps a connection from being made; the address is not told."""
    assert await health.check("::1%nowhere", 80, None) == "can't be reached"
