"""What a log drain sends, and to whom: over HTTP, and as syslog over TCP and TLS."""

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from miosa import verify_signature

from router.base.clock import SystemClock
from router.domains.lookup import RecordType
from router.drains.batch import Line, trial_line
from router.drains.credentials import Credentials
from router.drains.log_drain import BatchFormat, DrainKind
from router.outbound import log_drains
from router.outbound.log_drains import LogDrainSender
from router.tenancy.deliveries import Attempt
from router.tenancy.destinations import Destinations
from tests.support.authority import Authority
from tests.support.backends import Backend, Handler, Visit
from tests.support.log_drains import drain
from tests.support.memory_dns import MemoryLookup
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
LINES = [trial_line(1_700_000_000_000_000, "t1"), trial_line(1_700_000_001_000_000, "t1")]
SECRET = "whsec_" + "A" * 43 + "="


@pytest.fixture
def dns() -> MemoryLookup:
    lookup = MemoryLookup()
    lookup.put("logs.test", RecordType.A, "127.0.0.1")
    return lookup


def sender(dns: MemoryLookup, **destinations: object) -> LogDrainSender:
    return LogDrainSender(dns, Destinations(**{"private": HERE, **destinations}), SystemClock())  # type: ignore[arg-type]


async def post(handler: Handler, dns: MemoryLookup, **changes: object) -> Attempt:
    """Two lines to a collector that does what `handler` does."""
    async with Backend(handler) as collector:
        to = drain(url=f"http://logs.test:{collector.port}/in?a=b", **changes)
        return await sender(dns).send(to, "b1", LINES, (SECRET,), Credentials(headers={"X-Key": "v"}))


@pytest.mark.parametrize("form", list(BatchFormat))
async def test_what_a_collector_sees(dns: MemoryLookup, form: BatchFormat) -> None:
    """One POST, signed as webhooks are, with the drain's own headers."""
    seen: list[tuple[Visit, bytes]] = []

    async def answer(visit: Visit) -> None:
        seen.append((visit, b"".join([piece async for piece in visit.body()])))
        await visit.answer(b"", b"202 Accepted")

    assert (await post(answer, dns, format=form)).delivered
    ((visit, body),) = seen
    found = json.loads(body) if form is BatchFormat.JSON else [json.loads(line) for line in body.splitlines()]
    assert [one["type"] for one in found] == ["test", "test"]
    types = {BatchFormat.JSON: b"application/json", BatchFormat.NDJSON: b"application/x-ndjson"}
    assert (visit.method, visit.target, visit.header(b"content-type")) == (b"POST", b"/in?a=b", types[form])
    assert (visit.header(b"x-key"), visit.header(b"miosa-batch")) == (b"v", b"b1")
    assert verify_signature(body, visit.header(b"x-miosa-signature").decode(), SECRET)


async def test_no_redirect_is_followed(dns: MemoryLookup) -> None:
    """Nothing has judged where it leads."""
    visits = []

    async def answer(visit: Visit) -> None:
        visits.append(visit.target)
        await visit.answer(b"", b"307 Temporary Redirect", b"Location: /elsewhere")

    assert await post(answer, dns) == Attempt(status=307, answer="")
    assert len(visits) == 1


async def test_retry_after_is_read(dns: MemoryLookup) -> None:
    """In seconds."""

    async def answer(visit: Visit) -> None:
        await visit.answer(b"slow down", b"429 Too Many Requests", b"Retry-After: 30")

    assert await post(answer, dns) == Attempt(status=429, answer="slow down", retry_after=30.0)


async def test_only_addresses_that_were_judged(dns: MemoryLookup) -> None:
    """Neither a private address nor a backend's is dialled, by HTTP or syslog."""
    port = free_port()
    for url, kind in (
        (f"https://logs.test:{port}/", DrainKind.HTTP),
        (f"syslog+tls://logs.test:{port}", DrainKind.SYSLOG),
    ):
        for destinations in ({"private": ()}, {"backends": HERE}, {"own_listeners": {("127.0.0.1", port)}}):
            attempt = await sender(dns, **destinations).send(
                drain(url=url, kind=kind), "b", LINES, (SECRET,), Credentials()
            )
            assert attempt == Attempt(error="the name leads to an address that is not public")


async def test_nobody_there(dns: MemoryLookup) -> None:
    """Is an error in words, without the address."""
    port = free_port()
    for url, kind in ((f"http://logs.test:{port}/", DrainKind.HTTP), (f"syslog://logs.test:{port}", DrainKind.SYSLOG)):
        attempt = await sender(dns).send(drain(url=url, kind=kind), "b", LINES, (SECRET,), Credentials())
        assert attempt == Attempt(error="it refuses connections")


@asynccontextmanager
async def syslog(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, Callable[[], bytes]]]:
    """A collector of syslog: its port, and what has come."""
    got = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.read(-1))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], lambda: bytes(got)


def frames(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        length, _, stream = stream.partition(b" ")
        found.append(stream[: int(length)])
        stream = stream[int(length) :]
    return found


async def test_syslog_over_tcp(dns: MemoryLookup) -> None:
    """Each line framed by its length, with the structured data."""
    async with syslog() as (port, got):
        to = drain(url=f"syslog://logs.test:{port}", kind=DrainKind.SYSLOG)
        credentials = Credentials(structured_data='[tok@41058 tag="x"]')
        assert (await sender(dns).send(to, "b", LINES, (SECRET,), credentials)).delivered
        first, second = frames(got())
    assert first.startswith(b'<134>1 2023-11-14T22:13:20.000Z - miosa-router - test [tok@41058 tag="x"] {"type":"test"')
    assert json.loads(second[second.index(b"{") :])["ended_at"] == "2023-11-14T22:13:21.000Z"


async def test_syslog_over_tls(dns: MemoryLookup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector's certificate has to be valid for its name."""
    authority = Authority()
    bundle = tmp_path / "ca.pem"
    bundle.write_text(authority.pem)
    async with syslog(authority.server(tmp_path, "logs.test")) as (port, got):
        to = drain(url=f"syslog+tls://logs.test:{port}", kind=DrainKind.SYSLOG)
        attempt = await sender(dns).send(to, "b", LINES, (SECRET,), Credentials())
        assert attempt == Attempt(error="it has a certificate that is not valid for its name")
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        assert (await sender(dns).send(to, "b", LINES, (SECRET,), Credentials())).delivered
        assert len(frames(got())) == 2


async def test_a_collector_that_hangs(dns: MemoryLookup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up in time, by HTTP and syslog, however much there is to send."""
    monkeypatch.setattr(log_drains, "SEND_TIMEOUT", 0.3)
    release = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    long = [Line(text=b"x" * 900_000, severity=6, at="-", host="-", kind="test")]
    server = await asyncio.start_server(hang, "127.0.0.1", 0, limit=1)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for url, kind in (
            (f"http://logs.test:{port}/", DrainKind.HTTP),
            (f"syslog://logs.test:{port}", DrainKind.SYSLOG),
        ):
            attempt = await sender(dns).send(drain(url=url, kind=kind), "b", long, (SECRET,), Credentials())
            assert attempt == Attempt(error="no answer within 0.3 s")
        release.set()
