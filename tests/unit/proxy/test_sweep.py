"""How often deadlines are looked at, and what a pass does."""

import asyncio

import pytest
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.proxy.client import ClientConnection
from router.proxy.sweep import pause_of, run, sweep
from router.settings import Limits
from tests.support.waiting import eventually
from tests.unit.proxy.build import Line, aborted, build_worker, connect, record, route

PAUSES = [
    ({}, 0.4),  # a fifth of half_close
    ({"half_close": 60.0}, 0.4),  # of queue_time
    ({"half_close": 60.0, "queue_time": 0.0}, 0.5),
    ({"half_close": 60.0, "head_time": 1.0}, 0.2),
    ({"half_close": 60.0, "client_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "backend_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "backend_idle_unsaid": 1.0}, 0.2),
    ({"half_close": 60.0, "body_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "tunnel_idle": 1.0}, 0.2),
    ({"half_close": 60.0, "tunnel_lifetime": 1.0}, 0.2),
    ({"half_close": 60.0, "queue_time": 1.0}, 0.2),
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
    worker = build_worker(clock=clock)
    clock.advance(5)
    assert worker.now == 0
    run(worker)
    assert worker.now == 5


@pytest.mark.asyncio
async def test_passes_are_seldom_while_nothing_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """One a second, or as often as the shortest limit; what is open is looked at as often as it needs."""
    waits: list[float] = []

    def at_once(every: float) -> float:
        waits.append(every)
        return 0.001

    monkeypatch.setattr("router.proxy.sweep.until_tick", at_once)
    for limits, rest in (({}, 1.0), ({"half_close": 0.1}, 0.1)):
        worker = build_worker(**limits)
        waits.clear()
        sweeping = asyncio.ensure_future(sweep(worker))
        await eventually(lambda: len(waits) >= 2, "passes while nothing is open")
        assert waits[0] == pytest.approx(rest)
        assert not worker.open
        client = ClientConnection(worker)
        client.connection_made(Line(peer="192.0.2.1"))
        assert worker.open
        sweeping.cancel()
        client.finish()


@pytest.mark.asyncio
async def test_a_pass_closes_what_has_been_idle_too_long() -> None:
    """Kept connections to backends last `backend_idle` seconds without use."""
    clock = ManualClock()
    worker = build_worker(clock=clock, backend_idle=30.0, backend_idle_unsaid=30.0)
    pool = worker.prepare(route(record())).pool
    old, new = connect(worker, pool), connect(worker, pool)
    pool.give(old, worker.now)
    clock.advance(20)
    run(worker)
    pool.give(new, worker.now)
    clock.advance(10)
    run(worker)
    assert not aborted(old)
    clock.advance(1)
    run(worker)
    assert aborted(old)
    assert not aborted(new)
    assert pool.idle == [new]


def test_a_pass_forgets_resources_that_nobody_uses() -> None:
    """A resource's activity is remembered for an hour after its last use, and while something is in flight."""
    clock = ManualClock()
    worker = build_worker(clock=clock)
    clock.advance(10_000)
    run(worker)
    routes = [route(record(slug=slug)) for slug in ("idle", "used", "busy")]
    idle, used, busy = [worker.prepare(way).activity for way in routes]
    idle.active_at, used.active_at, busy.active_at = 6_459.0, 6_460.0, 0.0
    busy.exchanges = 1
    clock.advance(60)
    run(worker)
    assert list(worker.activities) == ["id-of-used", "id-of-busy"]


class Asked(Line):
    """A transport that notes when somebody wants to know about its socket."""

    asked = 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        self.asked += name == "socket"
        return super().get_extra_info(name, default)


def test_what_the_kernel_has_is_not_asked_for_at_a_close() -> None:
    """A connection of which all is sent closes without a system call for what its client has taken; where some still waits, it
    has to be known, since a client that takes it is given time."""
    worker = build_worker()
    sent, waiting = Asked(peer="192.0.2.1"), Asked(held=5, peer="192.0.2.1")
    for line in (sent, waiting):
        client = ClientConnection(worker)
        client.connection_made(line)
        client.finish()
    assert (sent.closed, waiting.closed) == (True, True)
    assert (sent.asked, waiting.asked) == (0, 1)


class Faulty(Line):
    """A transport that cannot be closed in order."""

    def close(self) -> None:
        raise RuntimeError("a fault of ours")


def test_a_bad_connection_does_not_end_the_sweep() -> None:
    """It is logged and closed; those behind it are still ended when they are due, in the same pass."""
    clock = ManualClock()
    worker = build_worker(clock=clock, head_time=10.0)
    lines = [Line(peer="192.0.2.1"), Faulty(peer="192.0.2.2"), Line(peer="192.0.2.3")]
    for line in lines:
        ClientConnection(worker).connection_made(line)
    clock.advance(11)
    with capture_logs() as logs:
        run(worker)
    assert [line.aborted or line.closed for line in lines] == [True, True, True]
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "sweep failed for a connection, closing it")
    ]


@pytest.mark.asyncio
async def test_a_pass_that_fails_is_followed_by_the_next() -> None:
    """Deadlines are kept after any fault in a pass."""
    clock = ManualClock()
    worker = build_worker(clock=clock, half_close=0.05)
    failures = iter((RuntimeError("a fault of ours"), None))

    def check(_connections: int) -> bool:
        error = next(failures, None)
        if error is not None:
            raise error
        done.set()
        return False

    done = asyncio.Event()
    worker.heap.check = check  # type: ignore[method-assign]
    sweeping = asyncio.create_task(sweep(worker))
    with capture_logs() as logs:
        await asyncio.wait_for(done.wait(), 5)
    sweeping.cancel()
    assert [line["event"] for line in logs] == ["sweep failed, next one follows"]
