"""Sends to an OpenTelemetry collector: one POST of protobuf, gzipped, to the address of the settings.

The operator has chosen that address, so it may be a private one, and the machine's own resolver finds it. No redirect is
followed, and little of an answer is read.
"""

import asyncio
from typing import Final

import aiohttp

from router.base.clock import Clock
from router.outbound.connector import WORDS, failure_of, open_session
from router.outbound.retry_after import seconds_of
from router.settings.model import SecretStr
from router.telemetry.exporter import Answer

_MAX_ANSWER: Final = 64 * 1024


class OtlpSender:
    """telemetry.exporter.Send"""

    def __init__(self, endpoint: str, authorization: SecretStr | None, clock: Clock, within: float) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        if authorization is not None:
            self._headers["Authorization"] = authorization.get_secret_value()
        self._clock = clock
        self._within = within

    async def __call__(self, path: str, body: bytes) -> Answer:
        try:
            async with (
                asyncio.timeout(self._within),
                open_session(resolver=aiohttp.ThreadedResolver()) as session,
                session.post(
                    self._endpoint + path, data=body, headers=self._headers, allow_redirects=False
                ) as response,
            ):
                retry_after = seconds_of(response.headers.get("Retry-After", ""), self._clock.now())
                return Answer(response.status, await response.content.read(_MAX_ANSWER), retry_after)
        except TimeoutError:
            return Answer(error=f"no answer within {self._within:g} s")
        except (OSError, aiohttp.ClientError, ValueError) as error:
            return Answer(error=WORDS[failure_of(error)])
