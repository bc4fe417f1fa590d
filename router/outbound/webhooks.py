"""Sends webhooks: one POST, to an address that was judged, within ten seconds.

No redirect is followed, since nothing has judged where it leads, and no more of a response is read than is shown.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

import aiohttp
from yarl import URL

from router.base.clock import Clock
from router.domains.lookup import Lookup
from router.outbound.connector import WORDS, Failure, failure_of, open_session, resolve
from router.outbound.retry_after import seconds_of
from router.tenancy.deliveries import Attempt
from router.tenancy.destinations import Destinations

DELIVERY_TIMEOUT = 10.0  # seconds for one delivery, name resolution included
MAX_RESPONSE = 1024  # bytes of a response that are read

_OF_THE_NAME = frozenset({Failure.NO_ADDRESS, Failure.NOT_PUBLIC})


class WebhookSender:
    """tenancy.deliveries.Sender"""

    def __init__(self, lookup: Lookup, destinations: Destinations, clock: Clock) -> None:
        self._lookup = lookup
        self._destinations = destinations
        self._clock = clock

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """POST it. Raises nothing: whatever happens is in the Attempt."""
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT):
                return await self._send(URL(url), body, headers)
        except (OSError, aiohttp.ClientError, ValueError) as error:
            return Attempt(error=_words(failure_of(error)))

    async def _send(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Attempt:
        allowed, until = partial(self._destinations.allows, url), self._clock.monotonic() + DELIVERY_TIMEOUT
        # A name with one address that must not be dialled is an attempt to get inside: none of them is dialled.
        addresses = await resolve(self._lookup, url.host or "", allowed, until, all_of_them=True)
        async with (
            open_session(addresses) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            beginning = await response.content.read(MAX_RESPONSE)
            return Attempt(
                status=response.status,
                answer=beginning.decode("utf-8", "replace").replace("\x00", "\ufffd"),
                retry_after=seconds_of(response.headers.get("Retry-After", ""), self._clock.now()),
            )


def _words(failure: Failure) -> str:
    """What happened, without the address."""
    if failure is Failure.TIMEOUT:
        return f"no answer within {DELIVERY_TIMEOUT:g} s"
    return f"{'the name' if failure in _OF_THE_NAME else 'it'} {WORDS[failure]}"
