"""The whole API on an SQLite file and a free port, with two tenants; asked with the key of the first, Acme.

What the store does on PostgreSQL, its own contracts show. Here what walks through every operation asks both (`on_both`).
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import miosa
import pytest
import pytest_asyncio

from router.api.operations import Operation
from router.api.table import Table
from router.base.clock import ManualClock
from router.base.secret_box import SecretBox
from router.node.rest import credentials_of, handlers_of
from router.node.services import Services, build_services
from router.outbound.health import HttpHealthCheck
from router.records.kept import KeptRecords
from router.settings import Rates, Settings, load
from router.store import Store
from router.store.request_records_sqlite import SqliteRecords
from tests.support.accounts import Account, open_account
from tests.support.api import ApiClient, serving
from tests.support.database import Databases
from tests.support.memory_dns import MemoryFetch, MemoryLookup
from tests.support.request_records import row
from tests.support.routes import Routes, routes_of
from tests.support.walk import INTERNAL_TOKEN


class NoActivity:
    """An Activity of a node without a proxy."""

    async def activity(self, since: datetime | None) -> tuple[Mapping[str, datetime], Mapping[str, datetime]]:
        return {}, {}


async def platform_status() -> Mapping[str, Any]:
    """How a node without anything is."""
    return {
        "node": "here",
        "version": "1",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "status": "degraded",
        "workers": None,
        "degradations": [{"check": "redis", "detail": "it is away", "remedy": "See whether Redis runs."}],
        "nodes": None,
        "stores": [{"name": "Database", "error": "it is away"}],
        "hosts": None,
        "certificates_near_end": None,
        "budgets": None,
        "traffic": {"seconds": 0, "requests_per_second": 0.0, "errors_per_second": 0.0, "p99_ms": None, "tunnels": 0},
        "busiest_hosts": [],
        "refusals": [],
    }


@pytest_asyncio.fixture
async def database(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[str]:
    """The URL of a database that nobody else uses."""
    async with databases.new(getattr(request, "param", "sqlite")) as url:
        yield url


@pytest.fixture
def settings() -> Settings:
    return load(environ={"MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN, "MIOSA_ROUTER_BACKEND_NETWORKS": "10.0.0.0/8"})


@pytest.fixture
def dns() -> MemoryLookup:
    """What DNS says to the API: nothing, until a test puts records in."""
    return MemoryLookup()


@pytest.fixture
def web() -> MemoryFetch:
    """Who answers for the hosts behind a CDN: nobody, until a test says so."""
    return MemoryFetch()


@pytest_asyncio.fixture
async def kept(settings: Settings, clock: ManualClock, tmp_path: Path) -> AsyncIterator[KeptRecords]:
    """Where requests are recorded."""
    opened = SqliteRecords(tmp_path / "requests", settings.records, clock)
    yield opened
    await opened.close()


class Carried:
    """records.replays.Carrier of a node whose proxy answers every replay with `answer`, and records it. `orders` are what it got."""

    def __init__(self, kept: KeptRecords) -> None:
        self._kept = kept
        self.orders: list[Mapping[str, Any]] = []
        self.answer: dict[str, Any] = {
            "refused": "",
            "in_time": True,
            "status": 204,
            "ending": "--",
            "error": "",
            "response": {"status": 204, "headers": [], "body": "", "body_size": 0, "body_whole": True},
        }

    async def __call__(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        self.orders.append(order)
        if not self.answer["refused"]:
            tenant, resource = UUID(order["tenant"]).bytes, UUID(order["resource"]).bytes
            await self._kept.append([row(tenant=tenant, resource=resource, request_id=order["request_id"])], [])
        return self.answer


@pytest.fixture
def carried(kept: KeptRecords) -> Carried:
    return Carried(kept)


@pytest_asyncio.fixture
async def services(
    store: Store,
    settings: Settings,
    clock: ManualClock,
    dns: MemoryLookup,
    web: MemoryFetch,
    kept: KeptRecords,
    carried: Carried,
) -> AsyncIterator[Services]:
    async with HttpHealthCheck() as probe:
        named = settings.model_copy(update={"special_domains": ("internal", "onion")})  # tests have all other kinds
        box = SecretBox([bytes(32)])
        opened = build_services(
            store, named, clock, lookup=dns, fetch=web, probe=probe, box=box, kept=kept, carrier=carried
        )
        opened.request_logs._listeners_per_tenant = 100  # who walks the table ends one stream after the other
        yield opened
        await opened.publishing.close()


@pytest_asyncio.fixture
async def acme(services: Services) -> Account:
    return await open_account(services, "Acme")


@pytest_asyncio.fixture
async def globex(services: Services) -> Account:
    """Another tenant: whatever Acme asks for, nothing of Globex may show."""
    return await open_account(services, "Globex")


@pytest.fixture
def table(services: Services, settings: Settings, clock: ManualClock, routes: Routes) -> list[Operation]:
    """Every row that is served, for tests that are about all of them."""
    return list(Table(handlers_of(services, settings, NoActivity(), clock, routes.explain, platform_status)))


@pytest.fixture
def rates() -> Rates:
    return Rates(workspace=10_000)


@pytest_asyncio.fixture
async def api(
    store: Store,
    services: Services,
    settings: Settings,
    clock: ManualClock,
    rates: Rates,
    acme: Account,
    routes: Routes,
) -> AsyncIterator[ApiClient]:
    resources = handlers_of(services, settings, NoActivity(), clock, routes.explain, platform_status)
    async with serving(
        resources,
        credentials_of(services, settings, clock),
        key=acme.key,
        clock=clock,
        idempotency=store.idempotency,
        rates=rates,
        audit=services.audit,
        one_transaction=store.ambient,
    ) as client:
        yield client


@pytest_asyncio.fixture
async def routes(store: Store, settings: Settings, clock: ManualClock) -> AsyncIterator[Routes]:
    """Where hosts lead, as a proxy of this node sees it."""
    async with routes_of(store, settings, clock) as opened:
        yield opened


@pytest.fixture
def client(api: ApiClient) -> Iterator[miosa.Miosa]:
    """The official client. It blocks: call it in a thread."""
    with miosa.Miosa(api_key=str(api.key), base_url=f"http://127.0.0.1:{api.port}/api/v1", max_retries=0) as opened:
        yield opened


@pytest_asyncio.fixture
async def async_client(api: ApiClient) -> AsyncIterator[miosa.AsyncMiosa]:
    """The official client's other half."""
    async with miosa.AsyncMiosa(
        api_key=str(api.key), base_url=f"http://127.0.0.1:{api.port}/api/v1", max_retries=0
    ) as opened:
        yield opened
