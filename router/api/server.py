"""The HTTP server under the API: aiohttp's low-level one, which parses HTTP and leaves everything else to `Api`."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import web

from router import errors
from router.api.listener import Api, new_request_id
from router.api.responses import problem_body, respond
from router.base import descriptors
from router.errors import RouterError

KEEP_ALIVE = 75.0  # seconds; also the time for a first request's head to arrive
LINGER = 2.0  # seconds for a client to stop sending a body that was refused
_MAX_LINE = 16 * 1024

_log = structlog.get_logger("router.api")


class _Connection(web.RequestHandler):
    """One connection. Responses that aiohttp makes by itself are sent in our envelope instead."""

    docs_url = ""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words, which quote the request
    ) -> web.StreamResponse:
        problem = errors.BAD_REQUEST if status < 500 else errors.INTERNAL_ERROR
        _log.log(
            20 if status < 500 else 40, "connection refused", status=status, address=request.remote, error=repr(exc)
        )
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is already under way")
        request_id = new_request_id()
        body = problem_body(RouterError(problem), request_id, self.docs_url)
        response = respond(status, body, {"X-Request-ID": request_id})
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        # aiohttp reads on in a body that was refused, and would log an error of ours where that body is malformed.
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)


class _Full(asyncio.Protocol):
    """A connection over the limit, closed at once: the remaining descriptors are for /ask, health checks and the store."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sending = cast(asyncio.Transport, transport)
        sending.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        sending.close()


class _Server(web.Server):
    docs_url = ""

    def __call__(self) -> Any:
        if len(self._connections) >= descriptors.for_api():
            return _Full()
        connection = _Connection(self, loop=self._loop, **self._kwargs)
        connection.docs_url = self.docs_url
        return connection


class ApiServer:
    """Serves an `Api` on a socket that listens already. Before a response is sent it awaits `settled`: then this node's
    workers know what the request changed."""

    def __init__(self, api: Api, *, drain: float, settled: Callable[[], Awaitable[None]] | None = None) -> None:
        self._api = api
        self._settled = settled
        self._drain = drain
        self._runner: web.ServerRunner | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve from now on."""
        options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": KEEP_ALIVE,
            "lingering_time": LINGER,
            "max_line_size": _MAX_LINE,
            "max_field_size": _MAX_LINE,
        }
        server = _Server(self._handle, **options)
        server.docs_url = self._api.docs_url
        self._runner = web.ServerRunner(server, shutdown_timeout=self._drain)
        await self._runner.setup()
        await web.SockSite(self._runner, listening, backlog=1024).start()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._api.handle(request)
        if self._settled is not None:
            await self._settled()
        return response

    async def close(self) -> None:
        """Take no more requests, let those under way finish within the drain time, close every connection."""
        self._api.close_streams()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
