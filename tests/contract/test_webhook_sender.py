"""What a webhook sends, where to, and what it makes of each response."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.domains.lookup import RecordType
from router.outbound import webhooks
from router.outbound.webhooks import WebhookSender
from router.tenancy.deliveries import Attempt
from router.tenancy.destinations import Destinations
from tests.support.backends import Backend, Handler, Visit
from tests.support.memory_dns import MemoryLookup
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

HERE = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
HEADERS = {"Content-Type": "application/json", "Miosa-Delivery": "d1"}


@pytest.fixture
def dns() -> MemoryLookup:
    lookup = MemoryLookup()
    lookup.put("hooks.test", RecordType.A, "127.0.0.1")
    return lookup


def sender(dns: MemoryLookup, **destinations: object) -> WebhookSender:
    allowed = {"private": HERE, **destinations}
    return WebhookSender(dns, Destinations(**allowed), SystemClock())  # type: ignore[arg-type]


async def send(handler: Handler, dns: MemoryLookup, path: str = "/in") -> tuple[Attempt, Backend]:
    """One delivery to a receiver that does what `handler` does."""
    async with Backend(handler) as receiver:
        attempt = await sender(dns).send(f"http://hooks.test:{receiver.port}{path}", b'{"a": 1}', HEADERS)
    return attempt, receiver


@pytest_asyncio.fixture
async def seen() -> AsyncIterator[list[tuple[Visit, bytes]]]:
    yield []


async def test_what_a_receiver_sees(dns: MemoryLookup, seen: list[tuple[Visit, bytes]]) -> None:
    """One POST with the body and the headers as given, on a connection of its own; no cookies, no credentials."""

    async def answer(visit: Visit) -> None:
        seen.append((visit, b"".join([piece async for piece in visit.body()])))
        await visit.answer(b"thanks", b"202 Accepted", b"Set-Cookie: a=b")

    for _ in range(2):
        attempt, receiver = await send(answer, dns, "/in%2F?a=b")
        assert attempt == Attempt(status=202, answer="thanks")
        assert receiver.accepted == 1
    for visit, body in seen:
        assert (visit.method, visit.target, body) == (b"POST", b"/in%2F?a=b", b'{"a": 1}')
        assert visit.header(b"host") == b"hooks.test:%d" % receiver.port or visit is seen[0][0]
        assert (visit.header(b"content-type"), visit.header(b"miosa-delivery")) == (b"application/json", b"d1")
        assert not {b"cookie", b"authorization"} & visit.headers.keys()


async def test_a_redirect_is_not_followed(dns: MemoryLookup) -> None:
    """Where it leads nobody has judged."""

    async def answer(visit: Visit) -> None:
        await visit.answer(b"", b"307 Temporary Redirect", b"Location: /elsewhere")

    attempt, receiver = await send(answer, dns)
    assert (attempt.status, attempt.delivered, receiver.visits) == (307, False, 1)


async def test_no_more_is_read_than_is_shown(dns: MemoryLookup) -> None:
    """A kilobyte, in whatever bytes; what comes after it is left."""

    async def endless(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            await visit.send(b"4000\r\n" + b"\x00\xff\xc3\xa9" * 0x1000 + b"\r\n")

    attempt, _ = await send(endless, dns)
    assert attempt.status == 500
    assert attempt.answer is not None
    assert len(attempt.answer) <= 1024
    assert "\x00" not in attempt.answer
    assert "é" in attempt.answer


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (b"120", 120, 120),
        (b"in an hour", 3500, 3600),  # as a date
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        (b"-5", None, None),
        (b"soon", None, None),
        (b"1e9", None, None),
        (b"", None, None),
        (b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None, None),
        (b"Mon, 01 Jan 2030 00:00:00 +99999999999999", None, None),
    ],
)
async def test_retry_after(dns: MemoryLookup, text: bytes, least: float | None, most: float | None) -> None:
    """As seconds or as a date; what is neither says nothing."""
    if text == b"in an hour":
        text = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True).encode()

    async def answer(visit: Visit) -> None:
        await visit.answer(b"", b"503 Service Unavailable", b"Retry-After: " + text)

    attempt, _ = await send(answer, dns)
    assert attempt.status == 503
    if least is None or most is None:
        assert attempt.retry_after is None
    else:
        assert attempt.retry_after is not None
        assert least <= attempt.retry_after <= most


async def closes(visit: Visit) -> None:
    visit.writer.close()


async def mumbles(visit: Visit) -> None:
    await visit.send(b"hello\r\n\r\n")


@pytest.mark.parametrize(
    ("handler", "words"),
    [(closes, "it closed the connection without an answer"), (mumbles, "it answered with something that is not HTTP")],
)
async def test_what_is_no_answer(dns: MemoryLookup, handler: Handler, words: str) -> None:
    """Said in a few words, without the address."""
    attempt, _ = await send(handler, dns)
    assert attempt == Attempt(error=words)


async def test_ten_seconds(dns: MemoryLookup, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all of it: a receiver that is silent, and one that says a byte now and then."""
    monkeypatch.setattr(webhooks, "DELIVERY_TIMEOUT", 0.3)

    hung_up = []

    async def silent(visit: Visit) -> None:
        hung_up.append(await visit.reader.read())

    async def dripping(visit: Visit) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" * 100:
            await visit.send(bytes([byte]))
            await asyncio.sleep(0.05)

    for handler in (silent, dripping):
        attempt, _ = await send(handler, dns)
        assert attempt == Attempt(error="no answer within 0.3 s")
    await eventually(lambda: hung_up, "the connection is closed")


async def test_nobody_there(dns: MemoryLookup) -> None:
    """A port that refuses, a name without an address, TLS with somebody who speaks none."""

    def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    to = sender(dns)
    assert await to.send(f"http://hooks.test:{free_port()}/", b"{}", {}) == Attempt(error="it refuses connections")
    assert await to.send("http://nobody.test/", b"{}", {}) == Attempt(error="the name has no address")
    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await to.send(f"https://hooks.test:{port}/", b"{}", {}) == Attempt(error="it failed the TLS handshake")


NOT_PUBLIC = Attempt(error="the name leads to an address that is not public")


@pytest.mark.parametrize("host", ["hooks.test", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost.test"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_is_not_public_is_not_dialled(dns: MemoryLookup, host: str, scheme: str) -> None:
    """However the address is written, and whatever the name is called."""
    dns.put("localhost.test", RecordType.AAAA, "::1")

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as receiver:
        attempt = await sender(dns, private=()).send(f"{scheme}://{host}:{receiver.port}/", b"{}", {})
        assert (attempt, receiver.accepted) == (NOT_PUBLIC, 0)


@pytest.mark.parametrize("host", ["127.1", "0x7f.0.0.1", "2130706433", "017700000001"])
async def test_what_only_looks_like_a_name(dns: MemoryLookup, host: str) -> None:
    """Old spellings of addresses are names to us, which nobody has."""
    attempt = await sender(dns).send(f"http://{host}:{free_port()}/", b"{}", {})
    assert attempt.error is not None
    assert "no address" in attempt.error or "not HTTP" in attempt.error


async def test_our_own_listeners_and_backends(dns: MemoryLookup) -> None:
    """Are not called, even where the network is allowed."""

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as receiver:
        url = f"http://hooks.test:{receiver.port}/"
        for own in ({"own_listeners": {("127.0.0.1", receiver.port)}}, {"backends": HERE}):
            assert await sender(dns, **own).send(url, b"{}", {}) == NOT_PUBLIC
        assert (await sender(dns).send(url, b"{}", {})).delivered
        assert receiver.accepted == 1


async def test_one_address_inside_is_enough_to_refuse(dns: MemoryLookup) -> None:
    """A name that leads to both is somebody's try."""
    dns.put("hooks.test", RecordType.A, "127.0.0.1", "10.0.0.7")
    assert await sender(dns).send(f"http://hooks.test:{free_port()}/", b"{}", {}) == NOT_PUBLIC


async def test_a_name_that_changes_in_between(dns: MemoryLookup) -> None:
    """It is looked up once, and what was judged is what is dialled."""

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as receiver:
        assert (await sender(dns).send(f"http://hooks.test:{receiver.port}/", b"{}", {})).delivered
    assert [(question.name, question.type.value) for question in dns.asked] == [
        ("hooks.test", "A"),
        ("hooks.test", "AAAA"),
    ]
