"""What all kinds of tests may ask for: servers that are started once, when the first test needs them."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import Postgres
from tests.support.redis import Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("redis")) as server:
        yield server
