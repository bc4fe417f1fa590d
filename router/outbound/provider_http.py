"""Requests to providers of identities and of DNS. A customer chooses their URLs, so the guards are those of webhooks: only addresses that
were judged are dialled, no redirect is followed, and of an answer no more than `MAX_BODY` bytes are read.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import aiohttp
from yarl import URL

from router.base.clock import Clock
from router.domains.lookup import Lookup
from router.outbound.connector import WORDS, Failure, failure_of, open_session, resolve
from router.tenancy.destinations import Destinations

REQUEST_TIMEOUT = 5.0  # seconds for one request, name resolution included
MAX_BODY = 256 * 1024
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class ProviderUnavailableError(Exception):
    """A provider can't be used now. `str()` says why, without an address. `lies`: it did answer, with something that
    must not be believed."""

    def __init__(self, reason: str, *, lies: bool = False) -> None:
        super().__init__(reason)
        self.lies = lies


@dataclass(frozen=True, slots=True)
class ProviderResponse:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ProviderHttp:
    """Sends one request at a time over a connection of its own."""

    def __init__(
        self,
        lookup: Lookup,
        destinations: Destinations,
        clock: Clock,
        *,
        purpose: str = "sign-in",
        max_body: int = MAX_BODY,
    ) -> None:
        """`purpose` is what the requests are for, as they say in User-Agent."""
        self._headers = {**_HEADERS, "User-Agent": f"miosa-router {purpose}"}
        self._max_body = max_body
        self._lookup = lookup
        self._destinations = destinations
        self._clock = clock

    def refusal_of(self, url: str) -> str | None:
        """What is wrong with a URL, as far as its text shows it; None where nothing is."""
        return self._destinations.refusal_of(url)

    async def get(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> ProviderResponse:
        """Raises ProviderUnavailableError."""
        return await self._request("GET", url, None, headers)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> ProviderResponse:
        """Send a form. Raises ProviderUnavailableError."""
        return await self._request("POST", url, form, headers)

    async def _request(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> ProviderResponse:
        refusal = self.refusal_of(url)
        if refusal is not None:
            raise ProviderUnavailableError(f"a URL of it {refusal}", lies=True)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await self._send(method, URL(url), form, headers)
        except (OSError, aiohttp.ClientError, ValueError) as error:
            raise ProviderUnavailableError(_words(failure_of(error))) from error

    async def _send(
        self, method: str, url: URL, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> ProviderResponse:
        allowed, until = partial(self._destinations.allows, url), self._clock.monotonic() + REQUEST_TIMEOUT
        # A name with one address that must not be dialled is an attempt to get inside: none of them is dialled.
        addresses = await resolve(self._lookup, url.host or "", allowed, until, all_of_them=True)
        async with (
            open_session(addresses, headers=self._headers) as session,
            session.request(method, url, data=form, headers=headers, allow_redirects=False) as response,
        ):
            body = b""
            while chunk := await response.content.read(self._max_body + 1 - len(body)):
                body += chunk
                if len(body) > self._max_body:
                    raise ProviderUnavailableError(f"it sent more than {self._max_body // 1024} KiB", lies=True)
            return ProviderResponse(response.status, response.headers, body)


def _words(failure: Failure) -> str:
    if failure is Failure.TIMEOUT:
        return f"it gave no answer within {REQUEST_TIMEOUT:g} s"
    return f"it {WORDS[failure]}"
