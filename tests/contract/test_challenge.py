"""What asks a customer's host for our challenge: where it goes, how long it waits, how much it takes."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.clock import Clock, SystemClock
from router.domains.checks.challenge import MAX_BODY
from router.domains.lookup import RecordType
from router.outbound.challenge import HttpFetch
from tests.support.backends import Backend, Visit
from tests.support.memory_dns import MemoryLookup
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio

HOST, PATH = "app.example.com", "/.well-known/miosa-challenge/token"
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


class Site:
    """A host on loopback whose answers a test chooses by path."""

    def __init__(self) -> None:
        self.hosts: list[bytes] = []
        self.port = 0

    async def __call__(self, visit: Visit) -> None:
        self.hosts.append(visit.header(b"host") or b"")
        path = visit.target.decode()
        if path == PATH:
            await visit.answer(b"proof")
        elif path == "/large":
            await visit.answer(b"x" * 100_000)
        elif path == "/silent":
            await visit.reader.read(1)
            raise ConnectionError("the client has gone")
        elif path == "/loop":
            await visit.answer(b"", b"302 Found", b"Location: /loop")
        elif path.startswith("/long"):
            await visit.answer(b"", b"302 Found", b"Location: %s-" % visit.target)
        elif path == "/moved":
            await visit.answer(b"", b"301 Moved Permanently", f"Location: http://{HOST}:{self.port}{PATH}".encode())
        elif path == "/elsewhere":
            await visit.answer(b"", b"302 Found", b"Location: http://elsewhere.example/secret")
        elif path == "/otherport":
            await visit.answer(b"", b"302 Found", f"Location: http://{HOST}:6379/".encode())
        elif path == "/garbage":
            await visit.answer(b"", b"302 Found", b"Location: http://xn--a/")
        else:
            await visit.answer(b"no", b"404 Not Found")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def dns() -> MemoryLookup:
    lookup = MemoryLookup()
    lookup.put(HOST, RecordType.A, "127.0.0.1")
    lookup.put("elsewhere.example", RecordType.A, "127.0.0.1")
    return lookup


@pytest_asyncio.fixture
async def fetch(site: Site, dns: MemoryLookup) -> AsyncIterator[HttpFetch]:
    async with Backend(site) as backend:
        site.port = backend.port
        yield HttpFetch(dns, SystemClock(), networks=[LOOPBACK], port=backend.port)


def soon(seconds: float = 5.0, clock: Clock | None = None) -> float:
    return (clock or SystemClock()).monotonic() + seconds


async def test_what_a_host_answers(fetch: HttpFetch, site: Site) -> None:
    """Its status and its body, asked for under its own name."""
    found = await fetch.get(HOST, PATH, soon())
    assert (found.status, found.body, found.reason) == (200, b"proof", None)
    assert site.hosts == [f"{HOST}:{site.port}".encode()]
    assert (await fetch.get(HOST, "/nothing", soon())).status == 404


async def test_only_the_beginning_is_read(fetch: HttpFetch) -> None:
    """However much is sent."""
    found = await fetch.get(HOST, "/large", soon())
    assert (found.status, len(found.body)) == (200, MAX_BODY + 1)


async def test_it_waits_no_longer_than_it_may(fetch: HttpFetch) -> None:
    """A host that says nothing costs what the check has left."""
    async with asyncio.timeout(30):
        found = await fetch.get(HOST, "/silent", soon(0.2))
    assert (found.status, found.reason) == (None, "timeout")
    assert (await fetch.get(HOST, PATH, soon(-1))).reason == "timeout"


async def test_redirects(fetch: HttpFetch, site: Site) -> None:
    """To the same host, twice at most; nowhere else, whatever it is."""
    assert (await fetch.get(HOST, "/moved", soon())).body == b"proof"
    site.hosts.clear()
    looping = await fetch.get(HOST, "/loop", soon())
    assert (looping.status, looping.reason, len(site.hosts)) == (302, "redirect_loop", 1)
    site.hosts.clear()
    long = await fetch.get(HOST, "/long", soon())
    assert (long.status, long.reason, len(site.hosts)) == (302, "too_many_redirects", 3)
    for path in ("/elsewhere", "/otherport", "/garbage"):
        site.hosts.clear()
        found = await fetch.get(HOST, path, soon())
        assert (found.status, found.reason, len(site.hosts)) == (302, "redirected_elsewhere", 1)


async def test_a_host_at_an_address_inside(site: Site, dns: MemoryLookup) -> None:
    """Nobody makes us ask our own network, unless the settings say so."""
    async with Backend(site) as backend:
        fetch = HttpFetch(dns, SystemClock(), port=backend.port)
        found = await fetch.get(HOST, PATH, soon())
        assert (found.status, found.reason, site.hosts) == (None, "address_not_public", [])
        dns.put(HOST, RecordType.A)
        assert (await fetch.get(HOST, PATH, soon())).reason == "address_not_public"


async def test_nobody_listens(dns: MemoryLookup) -> None:
    """That is what it says."""
    fetch = HttpFetch(dns, SystemClock(), networks=[LOOPBACK], port=free_port())
    assert (await fetch.get(HOST, PATH, soon())).reason == "refused"
