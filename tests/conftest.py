"""What all kinds of tests may ask for: servers that are started once, when the first test needs them."""

import logging
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from router.observe import logs
from tests.support.postgres import Postgres
from tests.support.redis import Server

# How long an example takes says more about the machine than about us; and CI tries the same examples every time, so
# that a red run is about the change. At a desk each run tries new ones.
hypothesis.settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("suite")


def pytest_configure() -> None:
    """Python prefers what was compiled of a module, and would test the code of yesterday.

    Python looks at nothing that another version has left there, and neither do we.
    """
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for compiled in (Path(__file__).parent.parent / "router").rglob(f"*{suffix}"):
        source = compiled.with_name(compiled.name.removesuffix(suffix) + ".py")
        if compiled.name.startswith("compiled__"):
            continue  # what all of them share
        sources = [source, *source.parent.glob(f"{source.stem}.c")]
        if not all(one.exists() and one.stat().st_mtime <= compiled.stat().st_mtime for one in sources):
            pytest.exit(f"{source} is newer than what was compiled of it: run `make install`", returncode=3)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging is the process's: what a test configures, or a command that it runs, is taken back."""
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    yield
    if structlog.get_config() != config:
        logs.set_levels({})
        logging.captureWarnings(False)
        structlog.configure(**config)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("redis")) as server:
        yield server
