"""One API request's story, in the order in which things happen: `Api.handle`, `Api._answer`. Read it first.

find the row (404, 405) → who calls (401), how often (429), with what reach (403) → read and check body and query (400,
408, 413, 415, 422) → once per Idempotency-Key (409, 422) → the handler → one renderer. Every answer, whatever went
wrong, leaves with its request id and in the API's envelope.
"""

import asyncio
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiohttp.web import BaseRequest, Response, StreamResponse

from router import errors
from router.api.address import client_address
from router.api.answers import problem_body, respond
from router.api.endpoint import SAFE_METHODS, Auth, Call, Endpoint, Rate, Reply
from router.api.intake import ClientGoneError, fingerprint, parse_body, parse_query, read_body
from router.api.principal import ANYBODY, Principal
from router.api.rates import Limiter
from router.api.table import Served, Table
from router.clock import Clock
from router.errors import RouterError, StoreUnavailableError
from router.idempotency import Claimed, Different, IdempotencyStore, Replay, Running
from router.settings import Network, Rates

HANDLER_TIME = 60.0  # seconds; shorter than an idempotency lease

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=-]{0,127}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

_log = structlog.get_logger("router.api")


class Authenticator(Protocol):
    """Tells who stands behind a credential."""

    async def tenant(self, authorization: str) -> Principal | None:
        """The principal of an Authorization header with a key or a token; None where it is not valid."""

    def internal(self, authorization: str) -> Principal | None:
        """The platform, where the header carries the internal token."""

    @property
    def internal_is_on(self) -> bool:
        """Whether there is an internal token at all."""


Page = Callable[[BaseRequest], Response]  # a page beside the table: the documentation, its JSON


@dataclass(slots=True)
class _Exchange:
    """One request on its way through, and what every answer to it carries."""

    request: BaseRequest
    request_id: str
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    principal: Principal = ANYBODY


class Api:
    """Serves a table, and the pages beside it."""

    def __init__(
        self,
        table: Table,
        *,
        pages: Mapping[str, Page],
        authenticator: Authenticator,
        idempotency: IdempotencyStore,
        limiter: Limiter,
        rates: Rates,
        clock: Clock,
        trusted_proxies: Sequence[Network],
    ) -> None:
        self._table = table
        self._pages = pages
        self._authenticator = authenticator
        self._idempotency = idempotency
        self._limiter = limiter
        self._rates = rates
        self._clock = clock
        self._trusted_proxies = trusted_proxies

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Answer one request. Whatever happens, the answer is one of ours; a client that left gets none."""
        started = self._clock.monotonic()
        exchange = _Exchange(request, _request_id(request), client_address(request, self._trusted_proxies))
        try:
            response = await self._answer(exchange)
        except ClientGoneError as error:
            raise ConnectionResetError(str(error)) from None
        except RouterError as error:
            response = _refuse(exchange, error)
        except StoreUnavailableError as error:
            _log.warning("store unavailable", request_id=exchange.request_id, error=str(error))
            response = _refuse(exchange, RouterError(errors.UNAVAILABLE))
        except Exception:  # noqa: BLE001 - the outermost frame: whatever a handler raises becomes a 500 with its traceback in the log
            _log.exception("api request failed", request_id=exchange.request_id)
            response = _refuse(exchange, RouterError(errors.INTERNAL_ERROR))
        response.headers["X-Request-ID"] = exchange.request_id
        if not request.content.at_eof():
            # What nobody read of a body would otherwise be taken for the next request.
            response.force_close()
        _log.info(
            "api request",
            request_id=exchange.request_id,
            method=request.method,
            path=request.rel_url.raw_path,
            status=response.status,
            principal=exchange.principal.id,
            address=exchange.address,
            seconds=round(self._clock.monotonic() - started, 6),
        )
        return response

    async def _answer(self, exchange: _Exchange) -> Response:
        request = exchange.request
        page = self._pages.get(request.rel_url.raw_path)
        if page is not None:
            return await self._show(exchange, page)
        served, places = self._find(exchange)
        row = served.endpoint
        exchange.principal = await self._admit(exchange, row)
        raw = await read_body(request) if row.mutates else b""
        body = parse_body(row.body, raw, request.headers.get("Content-Type")) if row.body is not None else None
        query = parse_query(row.query, request.rel_url.raw_query_string) if row.query is not None else None
        call: Call[Any, Any] = Call(exchange.principal, places, body, query, exchange.request_id)
        key = _idempotency_key(request) if row.mutates and row.auth is not Auth.NONE else None
        if key is None:
            status, answer, _ = await self._run(served, call)
        else:
            status, answer = await self._run_once(exchange, served, call, key, raw)
        return respond(status, answer, exchange.headers)

    async def _show(self, exchange: _Exchange, page: Page) -> Response:
        if exchange.request.method not in SAFE_METHODS:
            exchange.headers["Allow"] = "GET, HEAD"
            raise RouterError(errors.API_METHOD_NOT_ALLOWED)
        await self._count(exchange, f"address:{exchange.address}", self._rates.anonymous)
        response = page(exchange.request)
        response.headers.update(exchange.headers)
        return response

    def _find(self, exchange: _Exchange) -> tuple[Served, Mapping[str, str]]:
        match = self._table.match(exchange.request.rel_url.raw_path)
        if match is None or (match.internal and not self._authenticator.internal_is_on):
            raise RouterError(errors.NOT_FOUND)
        method = exchange.request.method
        served = match.methods.get("GET" if method == "HEAD" else method)
        if served is None:
            exchange.headers["Allow"] = match.allow
            raise RouterError(errors.API_METHOD_NOT_ALLOWED)
        return served, match.places

    async def _admit(self, exchange: _Exchange, row: Endpoint) -> Principal:
        """Who calls: known, within the rate, and with enough reach."""
        principal: Principal | None = ANYBODY
        headers = exchange.request.headers.getall("Authorization", ())
        if row.auth is Auth.INTERNAL:
            principal = self._authenticator.internal(headers[0]) if len(headers) == 1 else None
        elif row.auth is Auth.KEY:
            principal = await self._authenticator.tenant(headers[0]) if len(headers) == 1 else None
        if principal is None:
            await self._count(exchange, f"address:{exchange.address}", self._rates.anonymous)
            exchange.headers["WWW-Authenticate"] = "Bearer"
            raise RouterError(errors.UNAUTHORIZED)
        if row.auth is not Auth.INTERNAL:
            await self._count(exchange, *self._bucket(exchange, principal, row.rate))
        if principal.reach < row.reach:
            raise RouterError(errors.FORBIDDEN)
        return principal

    def _bucket(self, exchange: _Exchange, principal: Principal, rate: Rate) -> tuple[str, int]:
        if rate is Rate.AUTH:
            who = exchange.address if principal is ANYBODY else principal.id
            return f"auth:{who}", self._rates.auth
        if principal is ANYBODY:
            return f"address:{exchange.address}", self._rates.anonymous
        return f"owner:{principal.workspace_id or principal.tenant_id}", self._rates.workspace

    async def _count(self, exchange: _Exchange, bucket: str, limit: int) -> None:
        allowance = await self._limiter.take(bucket, limit)
        exchange.headers.update(allowance.headers())
        if not allowance.allowed:
            raise RouterError(errors.RATE_LIMITED)

    async def _run(self, served: Served, call: Call[Any, Any]) -> tuple[int, bytes, bytes]:
        """The handler's answer as status and body, and the body that may be kept."""
        deadline = asyncio.timeout(HANDLER_TIME)
        try:
            async with deadline:
                answer = await served.handler(call)
        except TimeoutError:
            if not deadline.expired():
                raise
            _log.error("handler took too long", request_id=call.request_id, endpoint=served.endpoint.name)
            raise RouterError(errors.UNAVAILABLE) from None
        except RouterError as error:
            if error.problem not in served.endpoint.all_problems():
                _log.error("undeclared problem", endpoint=served.endpoint.name, code=error.problem.code)
            raise
        status, body = served.render(answer, call.query)
        if isinstance(answer, Reply) and answer.kept is not None:
            return status, body, served.render(Reply(answer.kept), call.query)[1]
        return status, body, body

    async def _run_once(
        self, exchange: _Exchange, served: Served, call: Call[Any, Any], key: str, raw: bytes
    ) -> tuple[int, bytes]:
        """As `_run`, unless this key was used before."""
        request = exchange.request
        same = fingerprint(request.method, request.rel_url.raw_path_qs, raw)
        claim = await self._idempotency.claim(exchange.principal.id, key, same, self._clock.now())
        if isinstance(claim, Replay):
            exchange.headers["Idempotent-Replayed"] = "true"
            return claim.status, claim.body
        if isinstance(claim, Running):
            raise RouterError(errors.IDEMPOTENCY_IN_PROGRESS)
        if isinstance(claim, Different):
            raise RouterError(errors.IDEMPOTENCY_KEY_REUSED)
        try:
            status, body, kept = await self._run(served, call)
        except RouterError as error:
            if error.problem.status < 500:
                await self._settle(claim, error.problem.status, problem_body(error, call.request_id))
            else:
                await self._settle(claim, None, b"")
            raise
        except Exception:
            await self._settle(claim, None, b"")
            raise
        await self._settle(claim, status, kept)
        return status, body

    async def _settle(self, claimed: Claimed, status: int | None, body: bytes) -> None:
        """Keep the answer, or free the key where `status` is None.

        The request is done by now, so a store that fails here must not change its answer: the lease frees the key.
        """
        try:
            if status is None:
                await self._idempotency.release(claimed)
            else:
                await self._idempotency.finish(claimed, status, body, self._clock.now())
        except StoreUnavailableError as error:
            _log.warning("idempotency key not settled", owner=claimed.owner, error=str(error))


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


def _refuse(exchange: _Exchange, error: RouterError) -> Response:
    headers = exchange.headers
    if error.retry_after is not None:
        headers.setdefault("Retry-After", str(error.retry_after))
    return respond(error.problem.status, problem_body(error, exchange.request_id), headers)
