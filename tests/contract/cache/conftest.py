"""Real Redis servers, started once for all tests that leave them as they found them; each test has keys of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from router.settings import Redis
from tests.support.member import QUICK
from tests.support.memory_store import MemoryStore
from tests.support.redis import Cluster, Sentinels, Server

_OF_SENTINELS = "of-the-sentinels"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(scope="session")
def server(redis_server: Server) -> Server:
    return redis_server


@pytest.fixture(scope="session")
def sentinels(folder: Path) -> Iterator[Sentinels]:
    with Sentinels(folder, password="of-the-servers", sentinel_password=_OF_SENTINELS) as started:
        yield started


@pytest.fixture(scope="session")
def cluster(folder: Path) -> Iterator[Cluster]:
    with Cluster(folder, password="of-the-nodes") as started:
        yield started


@pytest.fixture(params=["server", "sentinels", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """Each layout in turn."""
    layout: Server | Sentinels | Cluster = request.getfixturevalue(request.param)
    return layout.url


@pytest.fixture
def short_limits() -> Redis:
    """Settings with a prefix that no other test has, for tests of a Redis that does not answer."""
    return QUICK.model_copy(update={"prefix": f"t{next(_numbers)}:", "sentinel_password": SecretStr(_OF_SENTINELS)})


@pytest.fixture
def limits(short_limits: Redis) -> Redis:
    """The same for a Redis that answers: a machine that stalls for a moment is no outage here."""
    return short_limits.model_copy(update={"operation_time": 5.0, "silence": 5.0})


@pytest.fixture
def ledger() -> MemoryStore:
    return MemoryStore()
