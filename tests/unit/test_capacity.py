"""The formula of docs/capacity.md, and that the page has every constant of it."""

from dataclasses import astuple, replace

import pytest

from bench.capacity import BUSY, PAGE, RESERVE, Constants, Load, Needs, needs, stated

ONE = Constants(
    cpu_request=70,
    cpu_connection=140,
    worker=50 * 1024,
    control_process=100 * 1024,
    route=2,
    connection=8,
    tunnel=4,
    exchange=16,
    slow_side=32,
    spare=10 * 1024,
    log_line=500,
    record=250,
)


def test_an_idle_node() -> None:
    """It has its processes, and the descriptors that are kept for the rest."""
    idle = Load(requests=0, workers=2, routes=0)
    assert needs(idle, ONE) == Needs(cores=0, memory=100 + 2 * (50 + 10), descriptors=RESERVE, log=0, records=0)


def test_requests_take_cores_and_bytes() -> None:
    """10,000 requests a second of 70 µs are 0.7 of a core's time, and so a whole core; a tenth of them is recorded."""
    found = needs(Load(requests=10_000, recorded=0.1), ONE)
    assert found.cores == pytest.approx(0.7 / BUSY)
    assert found.log == pytest.approx(10_000 * 86_400 * 500 / 1e9)
    assert found.records == pytest.approx(found.log / 20)


def test_an_opened_connection_takes_its_own_time() -> None:
    """A thousand a second beside no request: 0.14 of a core."""
    assert needs(Load(requests=0, connections_opened=1000), ONE).cores == pytest.approx(0.14 / BUSY)


@pytest.mark.parametrize(
    ("changed", "kib"),
    [
        ({"clients": 1024}, 8),
        ({"backends": 1024}, 8),
        ({"tunnels": 1024}, 4),
        ({"exchanges": 1024}, 16),
        ({"slow": 1024}, 32),
        ({"routes": 1024}, 2 * 2),  # each worker has its own
    ],
)
def test_each_holds_memory(changed: dict[str, int], kib: int) -> None:
    """1,024 of something hold as many MiB as one holds KiB."""
    idle = Load(requests=0, workers=2, routes=0)
    more = needs(replace(idle, **changed), ONE).memory - needs(idle, ONE).memory
    assert more == pytest.approx(kib)


def test_a_tunnel_has_two_sockets() -> None:
    """And the workers share all of them."""
    assert needs(Load(requests=0, clients=100, backends=100, tunnels=100, workers=2), ONE).descriptors == RESERVE + 200


def test_the_page_states_every_constant() -> None:
    """`python -m bench.capacity` compares with them."""
    assert all(value > 0 for value in astuple(stated(PAGE.read_text())))
