"""How often deadlines are looked at, and what a pass does."""

import pytest

from router.clock import ManualClock
from router.proxy.sweep import pause_of, run
from router.settings import Limits
from tests.unit.proxy.build import aborted, build_edge, connect, record, route

PAUSES = [
    ({}, 0.4),  # a fifth of half_close
    ({"half_close": 60.0}, 0.5),
    ({"half_close": 60.0, "head_time": 1.0}, 0.2),
    ({"half_close": 60.0, "client_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "backend_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "body_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "tunnel_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "tunnel_lifetime": 1.0}, 0.2),
    ({"half_close": 1.0}, 0.2),
    ({"half_close": 0.1}, 0.02),
    ({"half_close": 0.01}, 0.01),
    ({"half_close": 0.000001}, 0.01),
    ({"dial": 0.01, "dial_window": 0.01}, 0.4),  # kept by whoever dials
]


@pytest.mark.parametrize(("limits", "pause"), PAUSES)
def test_pause(limits: dict[str, float], pause: float) -> None:
    """A fifth of the shortest limit that the sweep keeps, between 10 ms and half a second."""
    assert pause_of(Limits().model_copy(update=limits)) == pytest.approx(pause)


def test_a_pass_sets_the_coarse_clock() -> None:
    """What is under way sets its deadlines from the last pass."""
    clock = ManualClock()
    edge = build_edge(clock=clock)
    clock.advance(5)
    assert edge.now == 0
    run(edge)
    assert edge.now == 5


def test_a_pass_closes_what_has_been_idle_too_long() -> None:
    """Kept connections to backends last `backend_idle` seconds without use."""
    clock = ManualClock()
    edge = build_edge(clock=clock, backend_idle=30.0)
    pool = edge.prepare(route(record())).pool
    old, new = connect(edge, pool), connect(edge, pool)
    pool.give(old, edge.now)
    clock.advance(20)
    run(edge)
    pool.give(new, edge.now)
    clock.advance(10)
    run(edge)
    assert not aborted(old)
    clock.advance(1)
    run(edge)
    assert aborted(old)
    assert not aborted(new)
    assert pool.idle == [new]


def test_a_pass_forgets_resources_that_nobody_uses() -> None:
    """A resource's load is remembered for an hour after its last use, and while something is in flight."""
    clock = ManualClock()
    edge = build_edge(clock=clock)
    clock.advance(10_000)
    run(edge)
    routes = [route(record(slug=slug)) for slug in ("idle", "used", "busy")]
    idle, used, busy = [edge.prepare(way).load for way in routes]
    idle.active_at, used.active_at, busy.active_at = 6_459.0, 6_460.0, 0.0
    busy.exchanges = 1
    clock.advance(60)
    run(edge)
    assert list(edge.loads) == ["id-of-used", "id-of-busy"]
