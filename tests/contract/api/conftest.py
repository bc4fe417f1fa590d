"""The whole API on an SQLite file and a free port, with two tenants; asked with the key of the first, Acme."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime

import miosa
import pytest
import pytest_asyncio

from router.api.auth import Credentials
from router.api.endpoint import Endpoint
from router.api.table import Table
from router.api.tokens import Tokens
from router.clock import ManualClock
from router.domains.memory import MemoryFetch, MemoryLookup
from router.probe import HttpProbe
from router.settings import Rates, Settings, load
from router.store import Store
from router.surface import resources_on
from router.verbs import Verbs, verbs_on
from tests.support.accounts import Account, open_account
from tests.support.api import ApiClient, serving
from tests.support.routes import Routes, routes_of

INTERNAL_TOKEN = "the-platform"


class NoActivity:
    """An Activity of a node without a proxy."""

    async def activity(self, since: datetime | None) -> Mapping[str, datetime]:
        return {}


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
async def verbs(
    store: Store, settings: Settings, clock: ManualClock, dns: MemoryLookup, web: MemoryFetch
) -> AsyncIterator[Verbs]:
    async with HttpProbe() as probe:
        opened = verbs_on(store, settings, clock, lookup=dns, fetch=web, probe=probe)
        yield opened
        await opened.publishing.close()


@pytest_asyncio.fixture
async def acme(verbs: Verbs) -> Account:
    return await open_account(verbs, "Acme")


@pytest_asyncio.fixture
async def globex(verbs: Verbs) -> Account:
    """Another tenant: whatever Acme asks for, nothing of Globex may show."""
    return await open_account(verbs, "Globex")


@pytest.fixture
def table(verbs: Verbs, settings: Settings) -> list[Endpoint]:
    """Every row that is served, for tests that are about all of them."""
    return list(Table(resources_on(verbs, settings, NoActivity())))


@pytest.fixture
def rates() -> Rates:
    return Rates(workspace=10_000)


@pytest_asyncio.fixture
async def api(
    store: Store, verbs: Verbs, settings: Settings, clock: ManualClock, rates: Rates, acme: Account
) -> AsyncIterator[ApiClient]:
    credentials = Credentials(
        keys=verbs.keys,
        tokens=Tokens(settings.jwt, clock),
        tenants=verbs.tenants,
        workspaces=verbs.workspaces,
        projects=verbs.projects,
        internal_token=INTERNAL_TOKEN,
    )
    resources = resources_on(verbs, settings, NoActivity())
    async with serving(
        resources, credentials, key=acme.key, clock=clock, idempotency=store.idempotency, rates=rates
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
