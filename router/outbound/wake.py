"""Calls the platform to wake a resource: one POST to the address of the settings.

The operator has chosen that address, so it may be a private one, and the machine's own resolver finds it. No redirect is
followed, and nothing of an answer is read but its head.
"""

import asyncio
from collections.abc import Mapping

import aiohttp
from yarl import URL

from router.base.clock import Clock
from router.outbound.connector import WORDS, failure_of, open_session
from router.outbound.retry_after import seconds_of
from router.tenancy.deliveries import Attempt


class WakeCaller:
    """tenancy.wake_calls.Caller"""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = URL(url)
        self._clock = clock

    async def call(self, body: bytes, headers: Mapping[str, str], within: float) -> Attempt:
        try:
            async with (
                asyncio.timeout(within),
                open_session(resolver=aiohttp.ThreadedResolver()) as session,
                session.post(self._url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                retry_after = seconds_of(response.headers.get("Retry-After", ""), self._clock.now())
                return Attempt(status=response.status, retry_after=retry_after)
        except (OSError, aiohttp.ClientError, ValueError) as error:
            return Attempt(error=WORDS[failure_of(error)])
