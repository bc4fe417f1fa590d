"""One API request's story, in the order in which things happen: `Api.handle`, `Api._respond`. Read it first.

find the row (404, 405) → who calls (401), how often (429), with what access (403): `admission.py` → read and check body
and query (400, 408, 413, 415, 422) → once per Idempotency-Key (409, 422) → the handler → one renderer. Every response, of
success and of failure, carries its request id and the API's envelope. What may change something is an act of the audit
log: current while the handler runs (`audit/act.py`), and ended with the response.
"""

import asyncio
import inspect
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import structlog
from aiohttp.web import BaseRequest, Response, StreamResponse

from router import errors
from router.access.login import CONSOLE_COOKIE
from router.api.address import caller_address, client_address
from router.api.admission import Admission, Authenticator
from router.api.cors import Cors
from router.api.not_found import with_id
from router.api.not_served_here import served_elsewhere
from router.api.operations import (
    SAFE_METHODS,
    Auth,
    Call,
    Data,
    Download,
    EventStream,
    HandlerResponse,
    Text,
)
from router.api.parsing import ClientGoneError, fingerprint, parse_body, parse_query, read_body
from router.api.rates import RateLimiter
from router.api.request_state import RequestState
from router.api.responses import HEADERS, problem_body, respond
from router.api.streams import send_download, send_events
from router.api.table import Served, Table
from router.audit.act import Act, acting
from router.audit.log import AuditLog
from router.base.addresses import Network
from router.base.clock import Clock
from router.base.idempotency import Claimed, Different, IdempotencyStore, Replay, Running
from router.errors import RouterError, StoreUnavailableError
from router.http1.forwarding import Forwarder
from router.settings import Rates

HANDLER_TIME = 60.0  # seconds; shorter than an idempotency lease

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=-]{0,127}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

_log = structlog.get_logger("router.api")


# A page beside the table: the documentation, its JSON, where people come back to from their DNS provider.
Page = Callable[[BaseRequest], Response | Awaitable[Response]]


class OneTransaction(Protocol):
    """Makes one transaction of what the store is asked for in its block, the keys of `IdempotencyStore` among it."""

    def __call__(self, *, reading: bool) -> AbstractAsyncContextManager[None]:
        """`reading`: nothing is to be changed."""


def _apart(*, reading: bool) -> AbstractAsyncContextManager[None]:  # noqa: ARG001 - a OneTransaction of a store that has none
    return nullcontext()


class Api:
    """Serves a table, and the pages beside it. `assets` are pages from memory, many of which a browser loads at once: they don't
    count against a rate."""

    def __init__(
        self,
        table: Table,
        *,
        pages: Mapping[str, Page],
        assets: Mapping[str, Page] | None = None,
        authenticator: Authenticator,
        idempotency: IdempotencyStore,
        limiter: RateLimiter,
        rates: Rates,
        clock: Clock,
        trusted_proxies: Sequence[Network],
        docs_url: str,
        audit: AuditLog,
        cors: Cors | None = None,
        one_transaction: OneTransaction = _apart,
    ) -> None:
        """`docs_url` is the page that explains the codes of errors."""
        self._table = table
        self._cors = cors or Cors()
        self._pages = pages
        self._assets = assets or {}
        self._admission = Admission(authenticator, limiter, rates)
        self._idempotency = idempotency
        self._clock = clock
        self._audit = audit
        self._one_transaction = one_transaction
        self._forwarder = Forwarder(trusted_proxies)
        self._closing = asyncio.Event()
        self.docs_url = docs_url

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Respond to one request. Every failure becomes a response in the API's envelope; a client that left gets none."""
        preflight = self._cors.preflight(request)
        if preflight is not None:
            return Response(status=204, headers={**HEADERS, **preflight})
        started = self._clock.monotonic()
        code = None
        state = RequestState(request, _request_id(request), client_address(request, self._forwarder))
        try:
            response = await self._respond(state)
        except ClientGoneError as error:
            raise ConnectionResetError(str(error)) from None
        except RouterError as error:
            response, code = _refuse(state, error, self.docs_url), error.code
        except StoreUnavailableError as error:
            _log.warning("store unavailable", request_id=state.request_id, error=str(error))
            response = _refuse(state, RouterError(errors.UNAVAILABLE), self.docs_url)
        except Exception:  # noqa: BLE001 - the outermost frame: any exception of a handler becomes a 500, with its traceback in the log
            _log.exception("api request failed", request_id=state.request_id)
            response = _refuse(state, RouterError(errors.INTERNAL_ERROR), self.docs_url)
        if state.act is not None:
            self._audit.ended(state.act, response.status, code)
        response.headers["X-Request-ID"] = state.request_id
        response.headers.update(self._cors.headers(request))
        if not request.content.at_eof():
            # The unread rest of the body would otherwise be parsed as the next request.
            response.force_close()
        _log.info(
            "api request",
            request_id=state.request_id,
            method=request.method,
            path=request.rel_url.raw_path,
            status=response.status,
            principal=state.principal.id,
            address=state.address,
            seconds=round(self._clock.monotonic() - started, 6),
        )
        return response

    def close_streams(self) -> None:
        """End every stream of events soon; those who listen come again, to another node."""
        self._closing.set()

    async def _respond(self, state: RequestState) -> StreamResponse:
        request = state.request
        page = self._pages.get(request.rel_url.raw_path)
        if page is not None:
            return await self._show(state, page)
        asset = self._assets.get(request.rel_url.raw_path)
        if asset is not None:
            return await self._show(state, asset, counted=False)
        served, places = self._find(state)
        row = served.operation
        state.principal = await self._admission.admit(state, served, places)
        raw = await read_body(request) if row.mutates else b""
        body = parse_body(row.body, raw, request.headers.get("Content-Type")) if row.body is not None else None
        query = parse_query(row.query, request.rel_url.raw_query_string) if row.query is not None else None
        last_event_id = request.headers.get("Last-Event-ID", "")
        accept = request.headers.get("Accept", "")
        client = caller_address(request, self._forwarder)
        call: Call[Any, Any] = Call(
            state.principal, places, body, query, state.request_id, last_event_id, accept, client
        )
        if row.auth is Auth.NONE:
            call = replace(call, browser=request.cookies.get(CONSOLE_COOKIE, ""))
        if row.response in {EventStream, Download}:
            return await self._stream(state, served, call)
        if row.response is Text:
            text = await self._run_text(served, call, state.act)
            headers = {**HEADERS, **state.headers, "Content-Type": text.content_type}
            return Response(status=row.status, body=text.body, headers=headers)
        key = _idempotency_key(request) if row.mutates and row.auth is not Auth.NONE else None
        if row.one_transaction:
            status, content = await self._run_in_one(state, served, call, key, raw)
        elif key is None:
            status, content, _ = await self._run(served, call, state.act)
        else:
            status, content = await self._run_once(state, served, call, key, raw)
        if row.max_age is not None:
            state.headers["Cache-Control"] = f"public, max-age={row.max_age}"
        return respond(status, content, state.headers)

    async def _stream(self, state: RequestState, served: Served, call: Call[Any, Any]) -> StreamResponse:
        request, row = state.request, served.operation
        async with asyncio.timeout(HANDLER_TIME):
            stream: Any = await served.handler(call)
        headers = {**HEADERS, **state.headers, "X-Request-ID": state.request_id, **self._cors.headers(request)}
        may_listen = partial(self._admission.still_admits, state, row)
        if isinstance(stream, Download):
            return await send_download(request, stream, headers=headers, may_read=may_listen, closing=self._closing)
        return await send_events(
            request, stream, headers=headers, shown=served.event, may_listen=may_listen, closing=self._closing
        )

    async def _show(self, state: RequestState, page: Page, *, counted: bool = True) -> Response:
        if state.request.method not in SAFE_METHODS:
            state.headers["Allow"] = "GET, HEAD"
            raise RouterError(errors.API_METHOD_NOT_ALLOWED)
        if counted:
            await self._admission.count_visit(state)
        shown = page(state.request)
        if inspect.isawaitable(shown):
            async with asyncio.timeout(HANDLER_TIME):
                shown = await shown
        response = shown
        response.headers.update(state.headers)
        return response

    def _find(self, state: RequestState) -> tuple[Served, Mapping[str, str]]:
        match = self._table.match(state.request.rel_url.raw_path)
        if match is None or (match.internal and not self._admission.internal_is_on):
            elsewhere = served_elsewhere(state.request.rel_url.raw_path)
            if elsewhere is not None:
                words = f"{elsewhere} is served by another service of the platform, not by this router."
                raise RouterError(errors.NOT_SERVED_HERE, words)
            raise RouterError(errors.NOT_FOUND)
        method = state.request.method
        served = match.methods.get("GET" if method == "HEAD" else method)
        if served is None:
            state.headers["Allow"] = match.allow
            raise RouterError(errors.API_METHOD_NOT_ALLOWED)
        return served, match.places

    async def _run(self, served: Served, call: Call[Any, Any], act: Act | None) -> tuple[int, bytes, bytes]:
        """The handler's response as status and body, and the body that may be stored under an Idempotency-Key."""
        response = await self._handle(served, call, act)
        status, body = served.render(response, call.query)
        if isinstance(response, Data) and response.kept is not None:
            return status, body, served.render(Data(response.kept), call.query)[1]
        return status, body, body

    async def _run_text(self, served: Served, call: Call[Any, Any], act: Act | None) -> Text:
        """The response of a handler that renders itself."""
        response = await self._handle(served, call, act)
        if not isinstance(response, Text):
            raise TypeError(f"{served.operation.name} declares a Text")
        return response

    async def _handle(self, served: Served, call: Call[Any, Any], act: Act | None) -> HandlerResponse:
        """What the handler returns, in time. Raises RouterError."""
        deadline = asyncio.timeout(HANDLER_TIME)
        try:
            async with deadline:
                with acting(act):
                    return await served.handler(call)
        except TimeoutError:
            if not deadline.expired():
                raise
            _log.error("handler took too long", request_id=call.request_id, endpoint=served.operation.name)
            raise RouterError(errors.UNAVAILABLE) from None
        except RouterError as error:
            if error.problem not in served.operation.all_problems():
                _log.error("undeclared problem", endpoint=served.operation.name, code=error.problem.code)
            if served.operation.auth is Auth.KEY:
                raise with_id(error, served.operation, call) from None
            raise

    async def _run_once(
        self, state: RequestState, served: Served, call: Call[Any, Any], key: str, raw: bytes
    ) -> tuple[int, bytes]:
        """As `_run`, unless this key was used before."""
        claim = await self._claimed(state, key, raw)
        if isinstance(claim, Replay):
            return claim.status, claim.body
        try:
            status, body, kept = await self._run(served, call, state.act)
        except RouterError as error:
            if error.problem.status < 500:
                await self._settle(claim, error.problem.status, problem_body(error, call.request_id, self.docs_url))
            else:
                await self._settle(claim, None, b"")
            raise
        except Exception:
            await self._settle(claim, None, b"")
            raise
        await self._settle(claim, status, kept)
        return status, body

    async def _run_in_one(
        self, state: RequestState, served: Served, call: Call[Any, Any], key: str | None, raw: bytes
    ) -> tuple[int, bytes]:
        """As `_run_once` or `_run`, but key, change and response are one transaction: all of it is stored, or nothing."""
        claim: Claimed | Replay | None = None
        refused: RouterError | None = None
        try:
            async with self._one_transaction(reading=not served.operation.mutates):
                if key is not None:
                    claim = await self._claimed(state, key, raw)
                    if isinstance(claim, Replay):
                        return claim.status, claim.body
                try:
                    status, body, kept = await self._run(served, call, state.act)
                except RouterError as error:
                    if error.problem.status >= 500:
                        raise
                    refused, status = error, error.problem.status
                    kept = body = problem_body(error, call.request_id, self.docs_url)
                if isinstance(claim, Claimed):
                    await self._idempotency.finish(claim, status, kept, self._clock.now())
        except Exception:
            if isinstance(claim, Claimed):
                await self._settle(claim, None, b"")  # it was stored, if the handler has waited for something
            raise
        if refused is not None:
            raise refused
        return status, body

    async def _claimed(self, state: RequestState, key: str, raw: bytes) -> Claimed | Replay:
        """The key, claimed, or the response that it was answered with. Raises RouterError for a key that is in use."""
        request = state.request
        same = fingerprint(request.method, request.rel_url.raw_path_qs, raw)
        claim = await self._idempotency.claim(state.principal.id, key, same, self._clock.now())
        if isinstance(claim, Running):
            raise RouterError(errors.IDEMPOTENCY_IN_PROGRESS)
        if isinstance(claim, Different):
            raise RouterError(errors.IDEMPOTENCY_KEY_REUSED)
        if isinstance(claim, Replay):
            state.headers["Idempotent-Replayed"] = "true"
            state.act = None  # it was done, and written down, the first time
        return claim

    async def _settle(self, claimed: Claimed, status: int | None, body: bytes) -> None:
        """Store the response, or free the key where `status` is None.

        The request is done by now, so a store that fails here must not change its response: the lease frees the key.
        """
        try:
            if status is None:
                await self._idempotency.release(claimed)
            else:
                await self._idempotency.finish(claimed, status, body, self._clock.now())
        except StoreUnavailableError as error:
            _log.warning("idempotency key not stored", owner=claimed.owner, error=str(error))


def _request_id(request: BaseRequest) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"


def _idempotency_key(request: BaseRequest) -> str | None:
    keys = request.headers.getall("Idempotency-Key", ())
    if not keys:
        return None
    if len(keys) > 1 or _IDEMPOTENCY_KEY.fullmatch(keys[0]) is None:
        raise RouterError(errors.INVALID_IDEMPOTENCY_KEY)
    return keys[0]


def _refuse(state: RequestState, error: RouterError, docs_url: str) -> Response:
    headers = state.headers
    if error.retry_after is not None:
        headers.setdefault("Retry-After", str(error.retry_after))
    return respond(error.problem.status, problem_body(error, state.request_id, docs_url), headers)
