"""What calls the platform, and what it makes of whatever is at the other end."""

import asyncio
import time
from datetime import timedelta
from email.utils import format_datetime

import pytest

from router.base.clock import SystemClock
from router.outbound.wake import WakeCaller
from router.tenancy.deliveries import Attempt
from tests.support.backends import Backend, Handler, Visit
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio

HEADERS = {"Content-Type": "application/json", "Webhook-Id": "w1"}


async def call(handler: Handler, *, within: float = 5.0) -> tuple[Attempt, Backend]:
    """One call of a platform that does what `handler` does."""
    async with Backend(handler) as platform:
        caller = WakeCaller(f"http://localhost:{platform.port}/wake?zone=eu", SystemClock())
        return await caller.call(b'{"a": 1}', HEADERS, within), platform


async def test_what_the_platform_sees() -> None:
    """One POST with the body and the headers as given; no cookies, no credentials, no proxy of the environment."""
    seen: list[tuple[Visit, bytes]] = []

    async def answer(visit: Visit) -> None:
        seen.append((visit, b"".join([piece async for piece in visit.body()])))
        await visit.answer(b"thanks", b"202 Accepted", b"Set-Cookie: a=b")

    attempt, platform = await call(answer)
    assert attempt == Attempt(status=202)
    assert platform.visits == 1
    ((visit, body),) = seen
    assert (visit.method, visit.target, body) == (b"POST", b"/wake?zone=eu", b'{"a": 1}')
    assert (visit.header(b"content-type"), visit.header(b"webhook-id")) == (b"application/json", b"w1")
    assert not {b"cookie", b"authorization"} & visit.headers.keys()


@pytest.mark.parametrize(
    "status", [b"200 OK", b"204 No Content", b"402 Payment Required", b"403 No", b"409 No", b"500 No", b"999 No"]
)
async def test_statuses(status: bytes) -> None:
    """They come as they are."""
    attempt, _ = await call(lambda visit: visit.answer(b"", status))
    assert attempt.status == int(status.split()[0])


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary Redirect", b"308 Permanent Redirect"])
async def test_a_redirect_is_not_followed(status: bytes) -> None:
    """The operator has named an address, not where that leads."""
    attempt, platform = await call(lambda visit: visit.answer(b"", status, b"Location: /elsewhere"))
    assert (attempt.status, platform.visits) == (int(status.split()[0]), 1)


async def test_a_body_is_not_waited_for() -> None:
    """An answer of gigabytes, or one that never ends, is the status that it begins with."""

    async def huge(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            await visit.send(b"x" * 65536)

    async def never(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.Event().wait()

    for handler in (huge, never):
        attempt, _ = await call(handler)
        assert attempt == Attempt(status=202)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 2O2 Accepted\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nX: " + b"x" * 100_000,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00",
        b"HTTP/1.1 202 Accepted\r\nContent-Len",
    ],
)
async def test_garbage_is_no_answer(reply: bytes) -> None:
    """It is an error in words, without the platform's address."""

    async def answer(visit: Visit) -> None:
        await visit.send(reply)
        visit.writer.close()

    attempt, platform = await call(answer)
    assert attempt.status is None
    assert attempt.error
    assert str(platform.port) not in attempt.error


async def test_who_is_slow_is_given_up_in_time() -> None:
    """Also one that sends its head a byte at a time."""

    async def silent(visit: Visit) -> None:
        await asyncio.Event().wait()

    async def dripping(visit: Visit) -> None:
        for byte in b"HTTP/1.1 202 Accepted\r\n" * 1000:
            await visit.send(bytes([byte]))
            await asyncio.sleep(0.05)

    for handler in (silent, dripping):
        began = time.monotonic()
        attempt, _ = await call(handler, within=0.3)
        assert attempt == Attempt(error="did not answer in time")
        assert time.monotonic() - began < 3


async def test_nobody_is_there() -> None:
    """Or the name has no address."""
    for host in (f"127.0.0.1:{free_port()}", f"nothing.invalid:{free_port()}"):
        attempt = await WakeCaller(f"http://{host}/", SystemClock()).call(b"{}", HEADERS, 5.0)
        assert attempt.status is None
        assert attempt.error


async def test_retry_after() -> None:
    """In seconds or as a date; nonsense is none."""
    soon = format_datetime(SystemClock().now() + timedelta(seconds=100), usegmt=True)
    for text, least, most in ((b"7", 7, 7), (soon.encode(), 90, 101)):
        attempt, _ = await call(lambda visit, text=text: visit.answer(b"", b"503 No", b"Retry-After: " + text))  # type: ignore[misc]
        assert attempt.retry_after is not None
        assert least <= attempt.retry_after <= most
    attempt, _ = await call(lambda visit: visit.answer(b"", b"503 No", b"Retry-After: soon"))
    assert attempt.retry_after is None
