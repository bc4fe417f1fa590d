"""Pool, dials and queue together, without sockets: whatever happens in whatever order, nobody is lost.

Clients ask and leave, dials are accepted and refused, the backend responds, hangs up and speaks out of turn, time passes.
In the end everybody who has stayed has one response to each request, and nothing is held any more.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router.proxy import sweep
from router.proxy.client import ClientConnection
from tests.support.records import resource
from tests.support.still_loop import StillLoop, turns
from tests.support.transcript import FakeTransport, Stage

GET = b"GET / HTTP/1.1\r\nHost: %s.miosa.app\r\n\r\n"
OFFER = b"GET / HTTP/1.1\r\nHost: %s.miosa.app\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: %s.miosa.app\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SLUGS = (b"shop", b"blog")
MOST, WAITING = 3, 4


class _Dial:
    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory
        self.future: asyncio.Future[FakeTransport] = asyncio.get_running_loop().create_future()


class Crowd(Stage):
    """A worker with many clients, and dials that stay half open until a test says what comes of them."""

    def __init__(self) -> None:
        records = [resource(slug.decode()) for slug in SLUGS]
        limits = {"exchanges_per_resource": MOST, "tunnels_per_resource": 2, "queue_per_resource": WAITING}
        super().__init__(*records, **limits, backend_idle_unproven=0.1)
        self.half_open: list[_Dial] = []
        self.backends: list[FakeTransport] = []
        self.clients: list[FakeTransport] = []
        self.asked: list[int] = []
        self.gone: set[int] = set()
        self.most_half_open = 0

    async def connect(self, factory: Callable[[], Any]) -> tuple[FakeTransport, Any]:
        dial = _Dial(factory)
        self.half_open.append(dial)
        self.most_half_open = max(self.most_half_open, len(self.half_open))
        try:
            transport = await dial.future
            return transport, transport._protocol
        finally:
            if dial in self.half_open:
                self.half_open.remove(dial)

    # What may happen.

    def ask(self, number: int) -> None:
        """A client sends a request, unless a response has said that there will be no further one; every third one is new."""
        if not self.clients or number % 3 == 0:
            self.clients.append(FakeTransport(ClientConnection(self.worker), f"192.0.2.{number % 4}"))
            self.asked.append(0)
        who = number % len(self.clients)
        client = self.clients[who]
        ended = client.is_closing() or b"\r\nConnection: close\r\n" in client.sent
        if who not in self.gone and not ended and self.answers(who) == self.asked[who]:
            kind = OFFER if number % 11 == 10 else POST if number % 5 == 4 else GET
            self.asked[who] += 1
            client.receive(kind % SLUGS[number % 2])

    def leave(self, number: int) -> None:
        if self.clients:
            who = number % len(self.clients)
            self.gone.add(who)
            self.clients[who].reset()

    def accept(self, number: int) -> None:
        if self.half_open:
            dial = self.half_open.pop(number % len(self.half_open))
            if not dial.future.done():
                transport = FakeTransport(dial.factory(), "127.0.0.1")
                self.backends.append(transport)
                dial.future.set_result(transport)

    def refuse(self, number: int) -> None:
        if self.half_open:
            dial = self.half_open.pop(number % len(self.half_open))
            if not dial.future.done():
                dial.future.set_exception(ConnectionRefusedError())

    def respond(self, number: int) -> None:
        asked = [backend for backend in self.backends if b"\r\n\r\n" in backend.sent and not backend.is_closing()]
        if asked:
            backend = asked[number % len(asked)]
            backend.sent = b""
            backend.receive(OK)

    def hang_up(self, number: int) -> None:
        alive = [backend for backend in self.backends if not backend.is_closing()]
        if alive:
            alive[number % len(alive)].end()

    def speak(self, number: int) -> None:
        idle = [backend for backend in self.backends if b"\r\n\r\n" not in backend.sent and not backend.is_closing()]
        if idle:
            idle[number % len(idle)].receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    def wait(self, number: int) -> None:
        self.clock.advance((0.05, 0.11, 0.5, 3.0)[number % 4])
        sweep.run(self.worker)

    # What must hold.

    def answers(self, who: int) -> int:
        return self.clients[who].sent.count(b"HTTP/1.1 ")

    def check(self) -> None:
        """The caps hold, and a place is free only where nobody waits for it."""
        waiting = 0
        for activity in self.worker.activities.values():
            size = 0 if activity.queue is None else activity.queue.size
            assert activity.exchanges <= MOST
            assert activity.tunnels <= 2
            assert size <= WAITING
            assert not size or activity.exchanges == MOST
            waiting += size
        assert self.worker.queues.waiting == waiting
        for pool in self.worker.pools:
            assert 0 <= pool.held <= len(self.worker.backends)

    async def finish(self) -> None:
        """All dials are accepted and all requests responded to, until nothing happens any more."""
        for _ in range(400):
            for _ in range(len(self.half_open)):
                self.accept(0)
            for _ in range(len(self.backends)):
                self.respond(0)
            await turns(8)
            if all(client.exchange is None for client in self.worker.clients) and not self.half_open:
                break
            self.wait(1)
        for who in range(len(self.clients)):
            if who not in self.gone:
                assert self.answers(who) == self.asked[who], (who, self.clients[who].sent)
        for activity in self.worker.activities.values():
            assert (activity.exchanges, activity.tunnels, activity.queue) == (0, 0, None)
        for pool in self.worker.pools:
            assert pool.callers is None
            assert not pool.unanswered
        kept = sum(not backend.closing for pool in self.worker.pools for backend in pool.idle)
        await turns()
        assert len(self.worker.backends) == kept
        assert not self.worker.tunnels


class _Loop(StillLoop):
    def __init__(self, stage: Crowd) -> None:
        super().__init__(stage.clock)
        self._stage = stage

    async def create_connection(self, factory: Callable[[], Any], *_: object, **__: object) -> Any:
        return await self._stage.connect(factory)


WHAT = (
    "ask",
    "ask",
    "ask",
    "ask",
    "leave",
    "accept",
    "accept",
    "refuse",
    "respond",
    "respond",
    "hang_up",
    "speak",
    "wait",
)
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 60), st.integers(0, 6)), max_size=60)


def act(steps: list[tuple[str, int, int]]) -> Crowd:
    """Do all of that, each followed by some turns of the loop."""
    stage = Crowd()

    async def run() -> None:
        for what, number, pause in steps:
            getattr(stage, what)(number)
            await turns(pause)
            stage.check()
        await stage.finish()
        stage.worker.pools.close()
        await stage.worker.tasks.close()
        await stage.worker.resolver.close()

    with capture_logs() as logs, asyncio.Runner(loop_factory=lambda: _Loop(stage)) as runner:
        faults: list[dict[str, Any]] = []
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        runner.run(run())
    assert not faults, faults
    assert not [line for line in logs if line["log_level"] in ("error", "critical")]
    return stage


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_nobody_is_lost(steps: list[tuple[str, int, int]]) -> None:
    """Each request has one response or a client that has left; every place, connection and dial is given back."""
    act(steps)


def test_a_client_that_was_told_to_close_is_asked_no_more() -> None:
    """A refused dial ends a POST's connection: what its client sends right behind that response is nobody's to answer."""
    act([("ask", 4, 2), ("ask", 0, 6), ("refuse", 0, 0), ("wait", 3, 1), ("ask", 0, 0)])


@pytest.mark.parametrize("limit", [MOST])
def test_half_open_dials_are_few(limit: int) -> None:
    """So many requests as have a place; of a burst no more than a short queue takes are dialled at once."""
    stage = act([("ask", 3 * number * 2, 0) for number in range(20)])
    assert stage.most_half_open <= limit
