"""What the outbound clients share: which addresses they dial, and their words for errors."""

import errno
import ssl
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from router.domains.lookup import RecordType
from router.outbound.connector import WORDS, Failure, NotDialledError, failure_of, open_session, resolve
from tests.support.memory_dns import MemoryLookup

KEY = cast("ConnectionKey", None)


def connecting(error: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, error)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (TimeoutError(), Failure.TIMEOUT),
        (aiohttp.ServerTimeoutError(), Failure.TIMEOUT),
        (connecting(TimeoutError(errno.ETIMEDOUT, "timed out")), Failure.TIMEOUT),
        (NotDialledError(Failure.NO_ADDRESS), Failure.NO_ADDRESS),
        (connecting(NotDialledError(Failure.NOT_PUBLIC)), Failure.NOT_PUBLIC),
        (ConnectionRefusedError(), Failure.REFUSED),
        (connecting(ConnectionRefusedError()), Failure.REFUSED),
        (connecting(OSError(errno.EHOSTUNREACH, "no route")), Failure.UNREACHABLE),
        (connecting(ConnectionResetError()), Failure.UNREACHABLE),
        (OSError(errno.ENETUNREACH, "no network"), Failure.UNREACHABLE),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("expired")), Failure.CERTIFICATE),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError("handshake")), Failure.TLS),
        (aiohttp.ServerDisconnectedError(), Failure.CLOSED),
        (aiohttp.ClientOSError(errno.ECONNRESET, "reset"), Failure.CLOSED),
        (ConnectionResetError(), Failure.CLOSED),
        (aiohttp.ClientPayloadError(), Failure.NOT_HTTP),
        (aiohttp.ClientResponseError(cast("Any", None), ()), Failure.NOT_HTTP),
        (ValueError("odd"), Failure.UNREACHABLE),
    ],
)
def test_each_error_is_one_failure(error: Exception, failure: Failure) -> None:
    """The first row that fits, of the error or of its cause; there are words for it."""
    assert failure_of(error) is failure
    assert WORDS[failure]


@pytest.fixture
def dns() -> MemoryLookup:
    lookup = MemoryLookup()
    lookup.put("hooks.example.com", RecordType.A, "192.0.2.1", "192.0.2.2")
    return lookup


@pytest.mark.asyncio
async def test_addresses_that_are_judged(dns: MemoryLookup) -> None:
    """Those that are allowed, or none where all of them must be; an address in the place of a name is judged alike."""
    one = "192.0.2.1".__eq__
    assert await resolve(dns, "Hooks.example.com.", one, 1.0) == ("192.0.2.1",)
    assert await resolve(dns, "192.0.2.1", one, 1.0) == ("192.0.2.1",)
    for host, strict, failure in (
        ("hooks.example.com", True, Failure.NOT_PUBLIC),
        ("192.0.2.9", False, Failure.NOT_PUBLIC),
        ("nobody.example.com", False, Failure.NO_ADDRESS),
        ("127.1", False, Failure.NO_ADDRESS),
    ):
        with pytest.raises(NotDialledError) as caught:
            await resolve(dns, host, one, 1.0, all_of_them=strict)
        assert caught.value.failure is failure


@pytest.mark.asyncio
async def test_a_session_resolves_no_name_by_itself() -> None:
    """Without addresses it dials none, whatever name a URL has."""
    async with open_session() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get("http://localhost:1/")
    assert failure_of(caught.value) is Failure.NO_ADDRESS
