"""Streams of events (text/event-stream, HTML standard §9.2) for as long as somebody listens.

A stream ends when the client leaves or reads too slowly, when the caller may listen no longer (looked at every two seconds), when the
node drains, and after an hour; a client then comes again, and says which event it heard last. Files that are read piece by piece
(`send_download`) go the same way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, NoReturn

import structlog
from aiohttp.web import BaseRequest, StreamResponse

from router.api.operations import Download, Event, EventStream
from router.api.parsing import ClientGoneError
from router.errors import RouterError, StoreUnavailableError

EVENTS: Final = "text/event-stream"
CHECK_EVERY: Final = 2.0  # seconds between two looks at whether the caller may still listen
HEARTBEAT: Final = (
    10.0  # seconds without an event after which a comment is sent, so that proxies in between see traffic
)
_WRITE_TIME: Final = 10.0  # seconds for a client to take what was written
_LIFE: Final = 3600.0
_BEGIN: Final = b"retry: 2000\n: listening\n\n"
_BEAT: Final = b": nothing new\n\n"

_log = structlog.get_logger("router.api")


async def send_events(
    request: BaseRequest,
    stream: EventStream[Any],
    *,
    headers: Mapping[str, str],
    shown: Callable[[Event[Any]], bytes],
    may_listen: Callable[[], Awaitable[bool]],
    closing: asyncio.Event,
) -> StreamResponse:
    """Send the events until one of the reasons above. Raises ClientGoneError."""
    response = StreamResponse(headers={**headers, "X-Accel-Buffering": "no"})
    response.content_type, response.charset = EVENTS, "utf-8"
    async with aclosing(stream.events) as events:
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        await _write(request, response, _BEGIN)
        now = asyncio.get_running_loop().time
        started = checked = now()
        written = -HEARTBEAT  # who has nothing to hear yet learns that at once
        async for event in events:
            if closing.is_set() or now() - started > _LIFE or request.transport is None:
                break
            if now() - checked >= CHECK_EVERY:
                checked = now()
                if not await _may_still(may_listen, stream):
                    break
            if event is not None:
                await _write(request, response, shown(event))
            elif now() - written >= HEARTBEAT:
                await _write(request, response, _BEAT)
            else:
                continue
            written = now()
    return response


async def send_download(
    request: BaseRequest,
    file: Download[Any],
    *,
    headers: Mapping[str, str],
    may_read: Callable[[], Awaitable[bool]],
    closing: asyncio.Event,
) -> StreamResponse:
    """Send a file. Where it can't be sent to its end (one of the reasons above, or the store) the connection is cut, so that nobody
    takes a part for the whole. Raises ClientGoneError."""
    response = StreamResponse(
        headers={**headers, "Content-Disposition": f'attachment; filename="{file.name}"', "X-Accel-Buffering": "no"}
    )
    response.content_type, response.charset = file.content_type, "utf-8"
    async with aclosing(file.parts) as parts:
        first = await anext(parts, b"")  # what fails at once is an answer, not half a file
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        if first:
            await _write(request, response, first)
        now = asyncio.get_running_loop().time
        started = checked = now()
        try:
            async for part in parts:
                allowed = True
                if now() - checked >= CHECK_EVERY:
                    checked, allowed = now(), await _may_still(may_read)
                if not allowed or closing.is_set() or now() - started > _LIFE:
                    _cut(request, file, "the node ends" if closing.is_set() else "too long, or no longer allowed")
                await _write(request, response, part)
        except StoreUnavailableError as error:
            _cut(request, file, str(error))
    return response


def _cut(request: BaseRequest, file: Download[Any], reason: str) -> NoReturn:
    _log.warning("download cut", file=file.name, reason=reason)
    if request.transport is not None:
        request.transport.abort()
    raise ClientGoneError(reason) from None


async def _may_still(may_listen: Callable[[], Awaitable[bool]], stream: EventStream[Any] | None = None) -> bool:
    """A store that can't be asked ends the stream too: it may be that the key has been revoked."""
    try:
        if not await may_listen():
            return False
        if stream is not None:
            await stream.check()
    except (RouterError, StoreUnavailableError) as error:
        _log.info("stream ended", reason=str(error))
        return False
    return True


async def _write(request: BaseRequest, response: StreamResponse, data: bytes) -> None:
    try:
        async with asyncio.timeout(_WRITE_TIME):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ClientGoneError("it does not read") from None
    except ConnectionError as error:
        raise ClientGoneError(str(error)) from None
