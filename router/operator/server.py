"""HTTP on the operators' sockets: the same routes on both, of which the read socket takes only those that change nothing."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from router.errors import API_METHOD_NOT_ALLOWED, INTERNAL_ERROR, NOT_FOUND, Problem
from router.operator.listening import ACT_SOCKET, READ_SOCKET, UnixListener
from router.settings import Operator

_MAX_BODY: Final = 64 * 1024
_MAX_DIGITS: Final = 9  # of a number in a query
_SHUTDOWN: Final = 2.0  # seconds for calls to end
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of Linux: pid, uid, gid
_WRITE_TIME: Final = 10.0  # seconds for a reader of a stream to take what it was sent

_log = structlog.get_logger("router.operator")


class OperatorError(Exception):
    """A call that can't be answered, for the program that makes it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Peer:
    """Who calls, as the kernel says."""

    uid: int
    gid: int
    pid: int

    def __str__(self) -> str:
        return f"uid {self.uid}, pid {self.pid}"


OnAct = Callable[[Peer, str, str, Mapping[str, Any]], Awaitable[None]]
"""Hears who did what to what, with details: the audit log."""


async def log_act(peer: Peer, act: str, subject: str, details: Mapping[str, Any]) -> None:
    """Say in the log who did what."""
    _log.info("operator_act", act=act, subject=subject, uid=peer.uid, gid=peer.gid, pid=peer.pid, **details)


class Call:
    """One call at a socket."""

    def __init__(self, request: web.Request, server: "OperatorServer") -> None:
        self.request = request
        self.peer = _peer(request)
        self._server = server

    def one(self, name: str, default: str | None = None) -> str | None:
        """A parameter that may stand in the query once. Raises OperatorError."""
        found = self.request.query.getall(name, [])
        if len(found) > 1:
            raise OperatorError(400, "invalid_parameter", f"`{name}` stands there {len(found)} times: give it once.")
        return found[0] if found else default

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A parameter that is a whole number between these. Raises OperatorError."""
        text = self.one(name)
        if text is None:
            return default
        if len(text) > _MAX_DIGITS or not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise OperatorError(422, "invalid_parameter", f"`{name}` must be a whole number from {least} to {most}.")
        return int(text)

    async def body(self) -> Mapping[str, Any]:
        """The body of an act, a JSON object. Raises OperatorError."""
        try:
            found = json.loads(await self.request.read() or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise OperatorError(400, "invalid_body", "The body must be a JSON object.")
        return found

    async def acted(self, act: str, subject: str, **details: Any) -> None:
        """Put it into the audit log that this peer did that. To be called before it is done."""
        await self._server.on_act(self.peer, act, subject, details)

    @property
    def connected(self) -> bool:
        """Whether the caller is still there."""
        transport = self.request.transport
        return transport is not None and not transport.is_closing()

    @property
    def draining(self) -> asyncio.Event:
        """Set when the node ends: streams end with it."""
        return self._server.draining

    @asynccontextmanager
    async def stream(self) -> AsyncIterator["LineStream"]:
        """An answer of JSON lines, ended when the block is."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        await response.prepare(self.request)
        yield LineStream(response)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_WRITE_TIME):
                await response.write_eof()


class LineStream:
    """JSON lines on their way to a tool. `response` is what the handler returns."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response

    async def send(self, document: Mapping[str, Any]) -> None:
        """One line. Raises ConnectionError where the reader has gone, TimeoutError where it takes nothing for ten seconds."""
        async with asyncio.timeout(_WRITE_TIME):
            await self.response.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class OperatorRoute:
    """One thing that the sockets answer. GET reads, POST acts."""

    method: str
    path: str
    handler: Callable[[Call], Awaitable[web.StreamResponse]]


class OperatorServer:
    """Serves `routes` on both sockets in `folder`. `on_act` is what an act is told to before it happens."""

    def __init__(
        self, folder: Path, settings: Operator, routes: Sequence[OperatorRoute], *, on_act: OnAct = log_act
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._routes = routes
        self.on_act = on_act
        self.draining = asyncio.Event()
        self._listeners: list[UnixListener] = []
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen. Raises OSError."""
        settings = self._settings
        for name, mode, group, acts in (
            (READ_SOCKET, settings.read_mode, settings.read_group, False),
            (ACT_SOCKET, settings.act_mode, settings.act_group, True),
        ):
            listener = UnixListener(self._folder / name, int(mode, 8), group)
            self._listeners.append(listener)
            await self._serve(listener.socket, acts=acts)

    def drain(self) -> None:
        """End the streams; questions are answered until `close`."""
        self.draining.set()

    async def close(self) -> None:
        """End everything."""
        self.draining.set()
        for runner in self._runners:
            await runner.cleanup()
        for listener in self._listeners:
            listener.close()

    async def _serve(self, listening: socket.socket, *, acts: bool) -> None:
        app = web.Application(middlewares=[_errors_as_json], client_max_size=_MAX_BODY)
        for route in self._routes:
            handler = self._handler(route) if acts or route.method == "GET" else _refuse_act
            app.router.add_route(route.method, route.path, handler)
        runner = web.AppRunner(app, access_log=None, logger=_ConnectionLog(), shutdown_timeout=_SHUTDOWN)
        self._runners.append(runner)
        await runner.setup()
        await web.SockSite(runner, listening).start()

    def _handler(self, route: OperatorRoute) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await route.handler(Call(request, self))

        return handle


def answer(document: Mapping[str, Any], status: int = 200) -> web.Response:
    """One JSON document."""
    return web.json_response(document, status=status, headers={"Cache-Control": "no-store"})


async def _refuse_act(_request: web.Request) -> web.StreamResponse:
    raise OperatorError(403, "read_only_socket", f"{READ_SOCKET} answers questions only: acts need {ACT_SOCKET}.")


def _peer(request: web.Request) -> Peer:
    """Raises OperatorError where the caller has gone."""
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is None:
        raise OperatorError(400, "caller_gone", "The connection is closed.")
    pid, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(uid=uid, gid=gid, pid=pid)


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    document = {"error": {"code": code, "message": message, "status": status}}
    return web.json_response(document, status=status, headers={"Cache-Control": "no-store", **(headers or {})})


def _problem(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    return _error(problem.status, problem.code, problem.message, headers)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except OperatorError as error:
        return _error(error.status, error.code, error.message)
    except web.HTTPNotFound:
        return _problem(NOT_FOUND)
    except web.HTTPMethodNotAllowed as error:
        return _problem(API_METHOD_NOT_ALLOWED, {"Allow": error.headers["Allow"]})
    except web.HTTPRequestEntityTooLarge:
        return _error(413, "body_too_large", f"The body may have {_MAX_BODY} bytes.")
    except ConnectionError:
        raise  # the caller has gone
    except Exception:  # noqa: BLE001 - the last resort: a tool gets JSON, the log gets the traceback
        _log.exception("operator call failed", path=request.path)
        return _problem(INTERNAL_ERROR)


class _ConnectionLog:
    """What aiohttp logs about connections: one line for a malformed request, the traceback for anything else."""

    def debug(self, *_args: object, **_options: object) -> None:
        """Nothing: a caller that has gone is no event."""

    def exception(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        if isinstance(exc_info, HttpProcessingError | web.RequestPayloadError):
            _log.info("malformed request at an operators' socket")
        else:
            _log.error("operators' connection failed", what=message % args, exc_info=exc_info)

    error = exception
