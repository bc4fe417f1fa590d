"""What the limit of open files leaves for connections."""

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from router.base import descriptors
from router.proxy.connection_limits import fit
from router.settings import Limits


@pytest.fixture(params=[130, 200, 1024, 15_000])
def open_files(request: pytest.FixtureRequest) -> Iterator[int]:
    """The limit of this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (request.param, before[1]))
    yield request.param
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_fit_into_the_descriptors(open_files: int) -> None:
    """Two for each, and some for the rest of the process; whoever set more is told. No address and no tenant has more
    than half."""
    with capture_logs() as logs:
        limits = fit(Limits())
    assert open_files - 2 * limits.connections >= 64
    assert limits.connections >= open_files // 4
    shares = (limits.connections_per_address, limits.exchanges_per_address, limits.exchanges_per_tenant)
    assert all(1 <= share <= limits.connections // 2 for share in shares)
    assert [(line["log_level"], line["connections"]) for line in logs] == [("warning", limits.connections)]


@pytest.mark.usefixtures("open_files")
def test_limits_that_fit_stay_as_they_are() -> None:
    """Without a word."""
    limits = Limits(connections=30)
    with capture_logs() as logs:
        assert fit(limits) is limits
    assert logs == []


@pytest.mark.usefixtures("open_files")
def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """What it was set to for programs that can't use more does not matter to this one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors.raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert descriptors.limit() == hard
