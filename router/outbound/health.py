"""Checks whether a program answers, over HTTP or TCP: what publishing asks before it switches.

The caller has judged the address. Only the status of a response is read, and no redirect is followed: nothing has judged
where it leads.
"""

import asyncio
import ipaddress
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from router.outbound.connector import WORDS, Failure, failure_of, open_session

CHECK_TIMEOUT = 5.0  # seconds for one check
_CONCURRENCY = 64  # connections over all builds
_HEADERS = {"User-Agent": "miosa-router health check"}


class HttpHealthCheck:
    """A tenancy.publishing.Probe. Use as an asynchronous context manager."""

    async def __aenter__(self) -> Self:
        # Pinned to no address: it dials those that stand in its URLs, and resolves no name.
        self._session = open_session(headers=_HEADERS, total=CHECK_TIMEOUT, limit=_CONCURRENCY)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def check(self, address: str, port: int, path: str | None, scheme: str = "http") -> str | None:
        """None where the program answers, else what happened, in a few words."""
        try:
            if path is not None:
                return await self._get(address, port, path, scheme)
            await self._connect(address, port)
        except (OSError, aiohttp.ClientError) as error:
            return _words(failure_of(error))
        return None

    async def _connect(self, address: str, port: int) -> None:
        async with asyncio.timeout(CHECK_TIMEOUT):
            _, writer = await asyncio.open_connection(address, port)
        writer.transport.abort()

    async def _get(self, address: str, port: int, path: str, scheme: str) -> str | None:
        host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
        url = URL(f"{scheme}://{host}:{port}{path}", encoded=True)
        async with self._session.get(url, allow_redirects=False, ssl=False) as response:
            return None if response.status < 400 else f"answered GET {path} with status {response.status}"


def _words(failure: Failure) -> str:
    if failure is Failure.TIMEOUT:
        return f"did not answer within {CHECK_TIMEOUT:g} s"
    if failure is Failure.REFUSED:
        return f"{WORDS[failure]}; bind the program to 0.0.0.0, not 127.0.0.1"
    return WORDS[failure]
