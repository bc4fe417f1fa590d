"""The shelf, served; asked with a tenant's key unless a test says otherwise."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from tests.support.api import ApiClient, KnownCredentials, serving
from tests.unit.api.shelf import PRINCIPALS, InnerApi, PublicApi, ShelfApi

INTERNAL_TOKEN = "the-platform"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shelf() -> ShelfApi:
    return ShelfApi()


@pytest_asyncio.fixture
async def api(shelf: ShelfApi, clock: ManualClock) -> AsyncIterator[ApiClient]:
    known = KnownCredentials(PRINCIPALS, internal=INTERNAL_TOKEN)
    async with serving([shelf, PublicApi(), InnerApi()], known, key="tenant", clock=clock) as client:
        yield client
