"""An API on a free port of loopback, with stand-ins for what lies outside it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from router.api.admission import Authenticator
from router.api.cors import Cors
from router.api.docs import pages
from router.api.listener import Api, OneTransaction, Page
from router.api.openapi import document
from router.api.operations import Handlers
from router.api.principal import PLATFORM, Principal
from router.api.rates import RateLimiter
from router.api.server import ApiServer
from router.api.table import Table
from router.audit.log import AuditLog
from router.base.clock import Clock, ManualClock
from router.base.idempotency import IdempotencyStore, MemoryIdempotency
from router.node.sockets import listen
from router.settings import Rates, Settings
from tests.support.memory_audit import MemoryAudit

DOCS_URL = "https://docs.miosa.ai/errors"


class KnownCredentials:
    """An Authenticator that knows the principals it was given, by their bearer words."""

    def __init__(self, principals: Mapping[str, Principal], *, internal: str | None = None) -> None:
        self._principals = principals
        self._internal = internal

    @property
    def internal_is_on(self) -> bool:
        return self._internal is not None

    def internal(self, authorization: str) -> Principal | None:
        return PLATFORM if authorization == f"Bearer {self._internal}" else None

    async def acting_for(self, principal: Principal, tenant: str) -> Principal:
        raise AssertionError(f"{principal.id} works for nobody else, nor for {tenant}")

    async def tenant(self, authorization: str) -> Principal | None:
        return self._principals.get(authorization.removeprefix("Bearer "))


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer, read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def fields(self) -> Mapping[str, list[str]]:
        found: Mapping[str, list[str]] = self.json["error"]["fields"]
        return found


class ApiClient:
    """Talks to one API as the holder of `key`, unless a call says otherwise."""

    def __init__(self, session: aiohttp.ClientSession, port: int, key: str | None) -> None:
        self._session = session
        self.port = port
        self.key = key

    async def __call__(
        self, method: str, path: str, *, key: str | None = "", headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answered:
        """Send a request. `key` None sends no Authorization."""
        sent = dict(headers or {})
        bearer = self.key if key == "" else key
        if bearer is not None:
            sent.setdefault("Authorization", f"Bearer {bearer}")
        if path.endswith("/stream"):
            sent.setdefault("Last-Event-ID", "0")  # from the beginning
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self._session.request(method, url, headers=sent, **options) as response:
            streamed = response.content_type == "text/event-stream" and method != "HEAD"
            body = await _first_event(response) if streamed else await response.read()
            return Answered(response.status, response.headers, body)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes, read until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()


async def _first_event(response: aiohttp.ClientResponse) -> bytes:
    """A stream up to the end of its first event, or until it says that there is none."""
    read = b""
    async with asyncio.timeout(10):
        while not (b"\ndata: " in read and read.endswith(b"\n\n")) and b": nothing new" not in read:
            read += await response.content.readline()
    return read


_PAGES: dict[tuple[type, ...], Mapping[str, Page]] = {}


def _pages_of(table: Table, resources: Sequence[Handlers]) -> Mapping[str, Page]:
    """The pages that show the table. They take a while, and depend on the handlers' classes only."""
    kinds = tuple(map(type, resources))
    if kinds not in _PAGES:
        _PAGES[kinds] = pages(lambda: document(table, version="0"), version="0")
    return _PAGES[kinds]


@asynccontextmanager
async def serving(
    resources: Sequence[Handlers],
    authenticator: Authenticator,
    *,
    key: str | None = None,
    clock: Clock | None = None,
    idempotency: IdempotencyStore | None = None,
    rates: Rates | None = None,
    cors: Cors | None = None,
    audit: AuditLog | None = None,
    one_transaction: OneTransaction | None = None,
) -> AsyncIterator[ApiClient]:
    """An API that serves `resources` while the block runs. Without `audit` nobody hears what acts became of."""
    clock = clock or ManualClock()
    table = Table(resources)
    options = {} if one_transaction is None else {"one_transaction": one_transaction}
    api = Api(
        table,
        pages=_pages_of(table, resources),
        authenticator=authenticator,
        idempotency=idempotency or MemoryIdempotency(),
        limiter=RateLimiter(clock),
        rates=rates or Rates(),
        clock=clock,
        trusted_proxies=Settings().trusted_proxies,
        docs_url=DOCS_URL,
        audit=audit or AuditLog(MemoryAudit(), clock, max_entries=1),
        cors=cors,
        **options,
    )
    server = ApiServer(api, drain=2.0)
    listening = listen("api", "127.0.0.1:0")
    await server.start(listening)
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield ApiClient(session, listening.getsockname()[1], key)
    finally:
        await server.close()
