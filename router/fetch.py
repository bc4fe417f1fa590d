"""Asks a customer's host for our challenge, by HTTP, as its visitors would: what `domains.looking` does where a CDN hides
the records.

The host is whatever somebody registered, its addresses are what their name servers say, and the answer is what they send.
So only addresses on the public internet are dialled, those that were judged and no others; nothing but the first bytes of
a body is read; a redirect is followed twice at most and to the same host only, at the schemes' own ports.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from router.addresses import is_public
from router.clock import Clock
from router.domains.challenge import MAX_BODY, Fetched
from router.domains.lookup import Lookup, Question, RecordType
from router.settings import Network

FETCH_TIME = 8.0  # seconds, where the caller has that long
_HOPS = 2
_AT_ONCE = 64
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class HttpFetch:
    """A domains.challenge.Fetch. Use as an asynchronous context manager.

    `networks` may be dialled although they are not public; `port` is that of plain HTTP.
    """

    def __init__(self, lookup: Lookup, clock: Clock, *, networks: Sequence[Network] = (), port: int = 80) -> None:
        self._resolver = _Resolver(lookup, clock, networks)
        self._clock = clock
        self._port = port

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_AT_ONCE, force_close=True, resolver=self._resolver, use_dns_cache=False, family=socket.AF_UNSPEC
            ),
            timeout=aiohttp.ClientTimeout(total=FETCH_TIME),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "miosa-router domain check", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, host: str, path: str, until: float) -> Fetched:
        """See `Fetch`."""
        left = min(until - self._clock.monotonic(), FETCH_TIME)
        if left <= 0:
            return Fetched(None, reason="timeout")
        url = URL.build(scheme="http", host=host, port=self._port, path=path, encoded=True)
        try:
            async with asyncio.timeout(left):
                return await self._follow(url)
        except TimeoutError:
            return Fetched(None, reason="timeout")
        except (OSError, aiohttp.ClientError) as error:
            return Fetched(None, reason=_word(error))

    async def _follow(self, url: URL) -> Fetched:
        hops = 0
        while True:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status not in _REDIRECTS:
                    return Fetched(answer.status, await _beginning(answer.content))
                ahead = self._next(url, answer.headers.get("Location", ""))
            hops += 1
            if ahead is None or hops > _HOPS:
                return Fetched(answer.status, reason="redirected_elsewhere" if ahead is None else "too_many_redirects")
            url = ahead

    def _next(self, url: URL, location: str) -> URL | None:
        """Where a redirect leads; None where that is not for us to follow."""
        try:
            ahead = url.join(URL(location))
            same = ahead.host == url.host  # read only now: a host may be no IDN
        except ValueError:
            return None
        usual = {"http": self._port, "https": 443}.get(ahead.scheme)
        return ahead if same and ahead.port == usual else None


class _Resolver(AbstractResolver):
    """Gives aiohttp the addresses that may be dialled, so that none is judged and another one dialled."""

    def __init__(self, lookup: Lookup, clock: Clock, networks: Sequence[Network]) -> None:
        self._lookup = lookup
        self._clock = clock
        self._networks = networks

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  # both are wanted
    ) -> list[ResolveResult]:
        until = self._clock.monotonic() + FETCH_TIME
        questions = [Question(host, kind) for kind in (RecordType.A, RecordType.AAAA)]
        answers = await self._lookup.ask(questions, until)
        allowed = [value for answer in answers for value in answer.values if may_be_dialled(value, self._networks)]
        if not allowed:
            raise _NotDialledError(f"{host} has no address that may be dialled")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in allowed
        ]

    async def close(self) -> None:
        """Nothing to close: the lookup is somebody else's."""


class _NotDialledError(OSError):
    """All of a host's addresses are ones that nobody outside should make us dial."""


def may_be_dialled(address: str, networks: Sequence[Network] = ()) -> bool:
    """Whether an address that a stranger chose is a host on the public internet, or in one of `networks`."""
    ip = ipaddress.ip_address(address)
    return is_public(address) or any(ip.version == network.version and ip in network for network in networks)


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """The first `MAX_BODY` bytes, or one more where there are more."""
    found = b""
    while len(found) <= MAX_BODY and (chunk := await content.read(MAX_BODY + 1 - len(found))):
        found += chunk
    return found


def _word(error: OSError | aiohttp.ClientError) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, _NotDialledError):
        return "address_not_public"
    if isinstance(cause, ConnectionRefusedError):
        return "refused"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "tls"
    return "unreachable"
