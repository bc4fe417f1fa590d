"""Those that wait for one resource, one or ten thousand, without sockets."""

import asyncio
import gc
import tracemalloc
from typing import Final

import pytest

from router.proxy import sweep
from router.proxy.client import ClientConnection
from router.proxy.wakes import Wakes
from router.routes.records import State
from router.routes.wakes import Wake
from tests.support.records import resource
from tests.support.sleeper import FakeWaker
from tests.support.still_loop import turns
from tests.support.transcript import FakeTransport, Stage, run

COUNT: Final = 10_000
EACH: Final = 8_000  # bytes for one that waits, with its connection and its request's head
GET: Final = b"GET /a HTTP/1.1\r\nHost: asleep.miosa.app\r\n\r\n"
WATCH: Final = b"GET /.well-known/miosa/wake HTTP/1.1\r\nHost: asleep.miosa.app\r\n\r\n"
LIMITS: Final = dict.fromkeys(
    ("connections", "connections_per_address", "exchanges_per_address", "held", "held_per_resource"), 4 * COUNT
)


def stage_of_sleep() -> tuple[Stage, Wakes]:
    stage = Stage(resource("asleep", state=State.PAUSED, endpoint=None, wake=Wake.ANY), **LIMITS)
    assert stage.worker.wakes is not None
    return stage, stage.worker.wakes


def connect(stage: Stage, request: bytes) -> list[FakeTransport]:
    """A crowd sends the same request."""
    clients = []
    for _ in range(COUNT):
        client = FakeTransport(ClientConnection(stage.worker), "192.0.2.9")
        client.receive(request)
        clients.append(client)
    return clients


async def close(stage: Stage) -> None:
    await stage.worker.tasks.close()
    await stage.worker.resolver.close()


def test_ten_thousand_wait() -> None:
    """They are one wake and one task, and hold no more than their connections do; who leaves is forgotten."""
    stage, wakes = stage_of_sleep()

    async def act() -> None:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        clients = connect(stage, GET)
        await turns(COUNT // 10)
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert wakes.held == COUNT
        waker = wakes.config.waker
        assert isinstance(waker, FakeWaker)
        assert len(waker.asked) == 1
        assert len(stage.worker.tasks) == 1
        assert held < COUNT * EACH
        for client in clients:
            client.reset()
        await turns()
        assert (wakes.held, wakes.bytes, len(stage.worker.clients)) == (0, 0, 0)
        await turns()
        assert len(stage.worker.tasks) == 0
        await close(stage)

    run(stage, act())


def test_ten_thousand_hear_that_it_takes_longer() -> None:
    """Each of them, and once."""
    stage, wakes = stage_of_sleep()

    async def act() -> None:
        clients = connect(stage, GET)
        await turns(COUNT // 10)
        stage.clock.advance(11)
        sweep.run(stage.worker)
        async with asyncio.timeout(60):
            while wakes.held or any(not client.sent for client in clients):
                await turns(100)
        assert {client.sent[:12] for client in clients} == {b"HTTP/1.1 503"}
        assert {client.sent.count(b"HTTP/1.1") for client in clients} == {1}
        await close(stage)

    run(stage, act())


def test_ten_thousand_pages_watch() -> None:
    """Who does not read gets no more than it was sent at first, whatever happens."""
    stage, wakes = stage_of_sleep()

    async def act() -> None:
        clients = connect(stage, WATCH)
        await turns(COUNT // 10)
        assert wakes.held == COUNT
        slow = clients[0]
        slow.taking = False
        for state in (State.STARTING, State.PAUSED, State.STARTING):
            stage.put(resource("asleep", state=state, endpoint=None, wake=Wake.ANY, version=2))
            await turns(2 * COUNT // 64 + 20)
        assert slow.get_write_buffer_size() < 500
        assert {client.sent.count(b'"starting"') for client in clients[1:]} == {2}
        await close(stage)

    run(stage, act())


@pytest.mark.parametrize("gap", range(1, 8))
def test_changes_that_overtake_a_look_up(gap: int) -> None:
    """However closely one change follows another, the last is heard of without waiting for the next look by time."""
    stage, _ = stage_of_sleep()

    async def act() -> None:
        client = FakeTransport(ClientConnection(stage.worker), "192.0.2.9")
        client.receive(WATCH)
        await turns()
        for number in range(2, 7):
            state = State.STARTING if number % 2 else State.STOPPING
            stage.put(resource("asleep", state=state, endpoint=None, wake=Wake.ANY, version=number))
            await turns(gap)
        stage.put(resource("asleep", state=State.ERROR, endpoint=None, wake=Wake.ANY, version=7))
        await turns(200)
        assert b"wake_failed" in client.sent
        await close(stage)

    run(stage, act())
