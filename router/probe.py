"""Looks whether a program answers, over HTTP or TCP: what publishing asks before it switches.

The addresses were judged by whoever asks. Nothing of an answer but its status is read, and no redirect is followed:
where that leads nobody has judged.
"""

import asyncio
import ipaddress
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

LOOK_TIME = 5.0  # seconds for one look
_AT_ONCE = 64  # connections over all builds


class HttpProbe:
    """A tenancy.publishing.Probe. Use as an asynchronous context manager."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # A program that restarts is to be met anew, so no connection outlives its look.
            connector=aiohttp.TCPConnector(limit=_AT_ONCE, force_close=True),
            timeout=aiohttp.ClientTimeout(total=LOOK_TIME),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "miosa-router health check"},
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def look(self, address: str, port: int, path: str | None) -> str | None:
        """None where the program answers, else what happened, in a few words."""
        try:
            if path is not None:
                return await self._get(address, port, path)
            await self._connect(address, port)
        except TimeoutError:
            return f"did not answer within {LOOK_TIME:g} s"
        except (OSError, aiohttp.ClientError) as error:
            return _words(error)
        return None

    async def _connect(self, address: str, port: int) -> None:
        async with asyncio.timeout(LOOK_TIME):
            _, writer = await asyncio.open_connection(address, port)
        writer.transport.abort()

    async def _get(self, address: str, port: int, path: str) -> str | None:
        host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
        url = URL(f"http://{host}:{port}{path}", encoded=True)
        async with self._session.get(url, allow_redirects=False) as answer:
            return None if answer.status < 400 else f"answered GET {path} with status {answer.status}"


def _words(error: OSError | aiohttp.ClientError) -> str:
    """Without the address, which is the platform's business."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "refuses connections; bind the program to 0.0.0.0, not 127.0.0.1"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "can't be reached"
    if isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionResetError | aiohttp.ClientOSError):
        return "closed the connection without an answer"
    if isinstance(cause, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        return "answered with something that is not HTTP"
    return "can't be reached"
