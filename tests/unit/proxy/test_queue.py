"""Queues for places: nobody is lost, nobody is served twice, and every bound holds, in whatever order things happen."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from router.http1.requests import RequestHead
from router.proxy.client import ClientConnection
from router.proxy.connection_limits import Share
from router.proxy.exchange import Exchange
from router.proxy.queue import EXCHANGE, QUEUED
from router.proxy.worker_state import Activity
from tests.unit.proxy.build import build_worker

PLACES, OF_RESOURCE, OF_WORKER = 2, 4, 8


@dataclass
class _Model:
    """Places of three resources of two tenants, and who has or waits for one, as a list in the plainest way."""

    activities: list[Activity] = field(default_factory=lambda: [Activity() for _ in range(3)])
    tenants: list[Share] = field(default_factory=lambda: [Share(), Share()])
    running: list[list[Exchange]] = field(default_factory=lambda: [[], [], []])
    waiting: list[list[Exchange]] = field(default_factory=lambda: [[], [], []])

    def tenant(self, place: int) -> Share:
        return self.tenants[place % 2]


WORKER = build_worker(queue_per_resource=OF_RESOURCE, queue=OF_WORKER)
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask", "end", "end", "leave"]), st.integers(0, 2), st.integers(0, 5)),
    max_size=80,
)


def _exchange(visitor: int, tenant: Share) -> Exchange:
    exchange = Exchange(WORKER, ClientConnection(WORKER), RequestHead(b"GET", b"/", 1), 0.0)
    exchange.over = True  # what comes after its place is not looked at here
    exchange.client = f"192.0.2.{visitor % 3}"
    exchange.tenant = tenant
    return exchange


def _ask(model: _Model, place: int, number: int) -> None:
    activity, tenant = model.activities[place], model.tenant(place)
    exchange = _exchange(number, tenant)
    if activity.exchanges < PLACES:
        activity.exchanges += 1
        model.running[place].append(exchange)
        return
    of_tenant = sum(len(model.waiting[other]) for other in range(3) if other % 2 == place % 2)
    room = len(model.waiting[place]) < OF_RESOURCE and of_tenant < OF_WORKER // 2
    room = room and sum(map(len, model.waiting)) < OF_WORKER
    assert WORKER.queues.join(exchange, activity, tenant, 100.0) is room
    if room:
        assert (exchange.place, exchange.incoming.deadline) == (QUEUED, 102.0)
        model.waiting[place].append(exchange)


def _end(model: _Model, place: int, number: int) -> None:
    running, waiting = model.running[place], model.waiting[place]
    if not running:
        return
    running.pop(number % len(running))
    WORKER.queues.pass_on(model.activities[place])
    if not waiting:
        return
    (served,) = [exchange for exchange in waiting if exchange.place == EXCHANGE]
    first = next(exchange for exchange in waiting if exchange.client == served.client)
    assert served is first, "a visitor's own keep their order"
    waiting.remove(served)
    running.append(served)


def _leave(model: _Model, place: int, number: int) -> None:
    waiting = model.waiting[place]
    if waiting:
        exchange = waiting.pop(number % len(waiting))
        WORKER.queues.leave(exchange, model.activities[place], model.tenant(place), "left")


STEPS: dict[str, Callable[[_Model, int, int], None]] = {"ask": _ask, "end": _end, "leave": _leave}


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_no_place_and_nobody_is_lost(operations: list[tuple[str, int, int]]) -> None:
    """Against a model that keeps lists: who asks, ends and leaves in any order."""

    async def run() -> None:
        model = _Model()
        for what, place, number in operations:
            STEPS[what](model, place, number)
            for activity, running, waiting in zip(model.activities, model.running, model.waiting, strict=True):
                assert activity.exchanges == len(running) <= PLACES
                assert (activity.queue.size if activity.queue else 0) == len(waiting)
                assert not waiting or len(running) == PLACES, "a place is free, and somebody waits"
                assert all(exchange.place == QUEUED for exchange in waiting)
            assert WORKER.queues.waiting == sum(map(len, model.waiting))
            assert sum(tenant.waiting for tenant in model.tenants) == WORKER.queues.waiting
        for place in range(3):
            while model.running[place]:
                _end(model, place, 0)
            assert model.waiting[place] == []
            assert model.activities[place].exchanges == 0
            assert model.activities[place].queue is None
        assert WORKER.queues.waiting == 0
        assert [tenant.waiting for tenant in model.tenants] == [0, 0]

    asyncio.run(run())


@given(st.lists(st.integers(0, 2), min_size=3, max_size=4))
def test_turns(visitors: list[int]) -> None:
    """As many turns as a visitor has, none is in front of another's first."""

    async def run() -> None:
        activity, tenant = Activity(), Share()
        activity.exchanges = 1
        waiting = [_exchange(visitor, tenant) for visitor in visitors]
        for exchange in waiting:
            assert WORKER.queues.join(exchange, activity, tenant, 0.0)
        order = []
        for _ in visitors:
            WORKER.queues.pass_on(activity)
            (served,) = [exchange for exchange in waiting if exchange.place == EXCHANGE]
            waiting.remove(served)
            order.append(served.client)
        first = order[: len(set(visitors))]
        assert len(set(first)) == len(first)
        WORKER.queues.pass_on(activity)
        assert activity.exchanges == 0

    asyncio.run(run())
