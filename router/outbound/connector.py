"""What the HTTP clients of this package share: judged addresses, sessions that dial nothing else, and one table of errors.

A name is resolved here, each of its addresses is judged, and the session is pinned to those that passed. So changing the
name's records in between can't have one address judged and another one dialled.
"""

import enum
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from router.domains.lookup import Lookup, Question, RecordType

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Failure(enum.StrEnum):
    """Why a request got no response."""

    TIMEOUT = "timeout"
    NO_ADDRESS = "no_address"
    NOT_PUBLIC = "address_not_public"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    TLS = "tls"
    CLOSED = "closed"
    NOT_HTTP = "not_http"


# What the other side does or is, without its address, which may be the platform's own business.
WORDS: Mapping[Failure, str] = MappingProxyType(
    {
        Failure.TIMEOUT: "did not answer in time",
        Failure.NO_ADDRESS: "has no address",
        Failure.NOT_PUBLIC: "leads to an address that is not public",
        Failure.REFUSED: "refuses connections",
        Failure.UNREACHABLE: "can't be reached",
        Failure.CERTIFICATE: "has a certificate that is not valid for its name",
        Failure.TLS: "failed the TLS handshake",
        Failure.CLOSED: "closed the connection without an answer",
        Failure.NOT_HTTP: "answered with something that is not HTTP",
    }
)


class NotDialledError(OSError):
    """A host has no address, or none that may be dialled."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(WORDS[failure])
        self.failure = failure


# The first that fits, of the error or of what caused it: aiohttp's errors of TLS are errors of a connector too.
_FAILURES: tuple[tuple[tuple[type[Exception], ...], Failure], ...] = (
    ((TimeoutError,), Failure.TIMEOUT),
    ((aiohttp.ClientConnectorCertificateError,), Failure.CERTIFICATE),
    ((aiohttp.ClientSSLError,), Failure.TLS),
    ((ConnectionRefusedError,), Failure.REFUSED),
    ((aiohttp.ClientConnectorError,), Failure.UNREACHABLE),
    ((aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError), Failure.CLOSED),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError), Failure.NOT_HTTP),
)


def failure_of(error: Exception) -> Failure:
    """What an error of a session or a socket means."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, NotDialledError):
        return cause.failure
    kinds = (failure for types, failure in _FAILURES if isinstance(cause, types) or isinstance(error, types))
    return next(kinds, Failure.UNREACHABLE)


async def resolve(
    lookup: Lookup, host: str, allowed: Callable[[str], bool], until: float, *, all_of_them: bool = False
) -> tuple[str, ...]:
    """The addresses of a host that may be dialled: those that are `allowed`; with `all_of_them` only if every one is.

    `until` is an instant of the monotonic clock. Raises NotDialledError.
    """
    try:
        addresses = [str(ipaddress.ip_address(host))]
    except ValueError:
        questions = [Question(host.lower().rstrip("."), kind) for kind in (RecordType.A, RecordType.AAAA)]
        answers = await lookup.ask(questions, until)
        addresses = [address for answer in answers for address in answer.values]
    found = tuple(address for address in addresses if allowed(address))
    if not addresses:
        raise NotDialledError(Failure.NO_ADDRESS)
    if not found or (all_of_them and len(found) < len(addresses)):
        raise NotDialledError(Failure.NOT_PUBLIC)
    return found


def open_session(
    addresses: Sequence[str] = (),
    *,
    resolver: AbstractResolver | None = None,
    headers: Mapping[str, str] | None = None,
    total: float | None = None,
    limit: int = 0,
) -> aiohttp.ClientSession:
    """A session that resolves every name to `addresses`: without any, it can only dial an address in the URL. `resolver` is for
    an address that the operator has chosen, which nobody has to judge.

    It keeps no connection, no cookies and no proxy from the environment. `total` is how many seconds one request may take,
    `limit` how many connections may be open at once; 0 is no limit.
    """
    connector = aiohttp.TCPConnector(
        resolver=resolver or _PinnedResolver(addresses),
        use_dns_cache=False,
        force_close=True,
        limit=limit,
        happy_eyeballs_delay=None,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=total),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        auto_decompress=False,
        trust_env=False,
    )


class _PinnedResolver(AbstractResolver):
    """Gives aiohttp addresses that were judged before."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found: list[ResolveResult] = []
        for address in self._addresses:
            own: Any = _FAMILIES[ipaddress.ip_address(address).version]
            if family in {socket.AF_UNSPEC, own}:
                found.append(
                    ResolveResult(
                        hostname=host, host=address, port=port, family=own, proto=0, flags=socket.AI_NUMERICHOST
                    )
                )
        if not found:
            raise NotDialledError(Failure.NO_ADDRESS)
        return found

    async def close(self) -> None:
        """Nothing is open."""
