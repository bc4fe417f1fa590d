"""Sends the batches of log drains: by one POST over HTTPS, or as syslog over TLS. The address was judged, and all is over within ten seconds.

No redirect is followed, since nothing has judged where it leads. Syslog has no acknowledgement: a batch counts as taken when the other
side's machine has it and the connection was closed in order, so what a collector loses after that is lost.
"""

import asyncio
import ssl
from contextlib import suppress
from functools import partial

import aiohttp

from router.base.clock import Clock
from router.domains.lookup import Lookup
from router.drains.batch import CONTENT_TYPES, Line, http_body, syslog_frames
from router.drains.credentials import Credentials
from router.drains.log_drain import DrainKind, LogDrain
from router.drains.log_drains import judged_url
from router.outbound.connector import WORDS, Failure, failure_of, open_session, resolve
from router.outbound.retry_after import seconds_of
from router.tenancy.deliveries import Attempt
from router.tenancy.destinations import Destinations
from router.tenancy.signatures import signatures

SEND_TIMEOUT = 10.0  # seconds for one batch, name resolution included
MAX_RESPONSE = 1024  # bytes of a response that are read

_OF_THE_NAME = frozenset({Failure.NO_ADDRESS, Failure.NOT_PUBLIC})


class LogDrainSender:
    """drains.log_drains.DrainSender"""

    def __init__(self, lookup: Lookup, destinations: Destinations, clock: Clock) -> None:
        self._lookup = lookup
        self._destinations = destinations
        self._clock = clock

    async def send(
        self, drain: LogDrain, batch_id: str, lines: list[Line], secrets: tuple[str, ...], credentials: Credentials
    ) -> Attempt:
        """Send lines. Raises nothing: whatever happens is in the Attempt."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                addresses = await self._addresses(drain)
                if drain.kind is DrainKind.SYSLOG:
                    return await self._syslog(drain, addresses, syslog_frames(lines, credentials.structured_data))
                return await self._post(drain, addresses, batch_id, lines, secrets, credentials)
        except (OSError, aiohttp.ClientError, ValueError) as error:
            return Attempt(error=_words(error))

    async def _addresses(self, drain: LogDrain) -> tuple[str, ...]:
        url = judged_url(drain.url)
        allowed, until = partial(self._destinations.allows, url), self._clock.monotonic() + SEND_TIMEOUT
        # A name with one address that must not be dialled is an attempt to get inside: none of them is dialled.
        return await resolve(self._lookup, url.host or "", allowed, until, all_of_them=True)

    async def _post(
        self,
        drain: LogDrain,
        addresses: tuple[str, ...],
        batch_id: str,
        lines: list[Line],
        secrets: tuple[str, ...],
        credentials: Credentials,
    ) -> Attempt:
        body = http_body(lines, drain.format)
        headers = {
            **credentials.headers,
            "Content-Type": CONTENT_TYPES[drain.format],
            "User-Agent": "miosa-router log drains",
            "Miosa-Batch": batch_id,
            **signatures(body, batch_id, secrets, int(self._clock.now().timestamp())),
        }
        async with (
            open_session(addresses) as session,
            session.post(judged_url(drain.url), data=body, headers=headers, allow_redirects=False) as response,
        ):
            beginning = await response.content.read(MAX_RESPONSE)
            return Attempt(
                status=response.status,
                answer=beginning.decode("utf-8", "replace").replace("\x00", "\ufffd"),
                retry_after=seconds_of(response.headers.get("Retry-After", ""), self._clock.now()),
            )

    async def _syslog(self, drain: LogDrain, addresses: tuple[str, ...], frames: bytes) -> Attempt:
        url = judged_url(drain.url)
        secure = url.scheme == "https"
        context = ssl.create_default_context() if secure else None
        reader, writer = await asyncio.open_connection(
            addresses[0], url.port, ssl=context, server_hostname=url.raw_host if secure else None
        )
        try:
            writer.write(frames)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
                with suppress(ConnectionResetError):  # it closed first, having everything
                    await reader.read(1)
            writer.close()
            await writer.wait_closed()
        finally:
            writer.transport.abort()
        return Attempt(status=200)


def _words(error: Exception) -> str:
    """What happened, without the address."""
    failure = Failure.CERTIFICATE if isinstance(error, ssl.SSLCertVerificationError) else failure_of(error)
    if failure is Failure.TIMEOUT:
        return f"no answer within {SEND_TIMEOUT:g} s"
    return f"{'the name' if failure in _OF_THE_NAME else 'it'} {WORDS[failure]}"
