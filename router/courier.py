"""Carries webhooks to where customers want them: one POST, to an address that was judged, within ten seconds.

The name is looked up here, each of its addresses is judged, and the connection goes to one of those: whoever changes the
name's records in between changes nothing. No redirect is followed, since where it leads nobody has judged, and no more
is read of an answer than is shown.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from router.clock import Clock
from router.domains.lookup import Lookup, Question, RecordType
from router.tenancy.deliveries import Attempt
from router.tenancy.destinations import Destinations

DELIVERY_TIME = 10.0  # seconds for one delivery, the look-up included
MAX_ANSWER = 1024  # bytes that are read of an answer

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Courier:
    """tenancy.deliveries.Sender"""

    def __init__(self, lookup: Lookup, destinations: Destinations, clock: Clock) -> None:
        self._lookup = lookup
        self._destinations = destinations
        self._clock = clock

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """POST it. Whatever happens is in what comes back."""
        try:
            async with asyncio.timeout(DELIVERY_TIME):
                return await self._send(URL(url), body, headers)
        except TimeoutError:
            return Attempt(error=f"no answer within {DELIVERY_TIME:g} s")
        except (OSError, aiohttp.ClientError, ValueError) as error:
            return Attempt(error=_words(error))

    async def _send(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Attempt:
        addresses = await self._addresses(url.host or "")
        if not addresses:
            return Attempt(error="the name has no address")
        allowed = [address for address in addresses if self._destinations.allows(url, address)]
        if len(allowed) < len(addresses):
            return Attempt(error="the name leads to an address that is not public")
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(allowed), use_dns_cache=False, force_close=True, happy_eyeballs_delay=None
        )
        # A connection per delivery: what is judged for one must not serve another.
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            said = await answer.content.read(MAX_ANSWER)
            return Attempt(status=answer.status, answer=said.decode("utf-8", "replace").replace("\x00", "\ufffd"))

    async def _addresses(self, host: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass  # a name
        questions = [Question(host.lower().rstrip("."), kind) for kind in (RecordType.A, RecordType.AAAA)]
        answers = await self._lookup.ask(questions, self._clock.monotonic() + DELIVERY_TIME)
        return [address for answer in answers for address in answer.values]


class _Pinned(AbstractResolver):
    """Knows the addresses already."""

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
        return found

    async def close(self) -> None:
        """Nothing is open."""


def _words(error: Exception) -> str:
    """What happened, without the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not valid for the name"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "TLS failed"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "it refuses connections"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it can't be reached"
    if isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionResetError | aiohttp.ClientOSError):
        return "it closed the connection without an answer"
    return "it answered with something that is not HTTP"
