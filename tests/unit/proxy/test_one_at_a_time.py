"""Servers that handle so many connections at once and no more: kept connections of ours must not be what a request waits for.

A server here is a model: it takes connections in the order in which they were made, holds each until that is closed, and
answers each request after some time. Pools of several workers dial it, each of which knows only its own connections.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.proxy.backend import BackendConnection
from router.proxy.pool import Keeping, Pool, Timer
from tests.unit.proxy.build import Line, build_worker, connect

WORKER = build_worker()
UNPROVEN = 0.1


class _Timer:
    def __init__(self) -> None:
        self.off = False

    def cancel(self) -> None:
        self.off = True


class Scene:
    """Time, a server of `places` threads, and `workers` pools that lead to it."""

    def __init__(self, places: int, workers: int = 1, *, seconds: float = 0.3) -> None:
        self.now = 0.0
        self.seconds = seconds
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._places = places
        self._taken: set[BackendConnection] = set()
        self._queue: deque[BackendConnection] = deque()
        self._asked: dict[BackendConnection, list[Callable[[], None]]] = {}
        self.answers: list[float] = []
        self.dials = 0
        keeping = Keeping(30.0, 4.0, UNPROVEN, self.later)
        self.pools = [Pool("127.0.0.1", 3000, "boot-1", keeping=keeping) for _ in range(workers)]

    def later(self, delay: float, step: Callable[[], None]) -> Timer:
        timer = _Timer()
        heapq.heappush(self._events, (self.now + delay, next(self._order), lambda: None if timer.off else step()))
        return timer

    def ask(self, worker: int = 0, at: float = 0.0, pause: float | None = None, times: int = 1) -> None:
        """A client of that worker: `times` requests, `pause` seconds from a response to the next of them."""

        def go() -> None:
            pool = self.pools[worker]
            backend = pool.take()
            if backend is None:
                self.dials += 1
                made = backend = BackendConnection(WORKER, pool)
                backend.connection_made(_Line(lambda: self.closed(made)))
                pool.sent(backend)
                self._queue.append(backend)
            self._asked[backend] = [lambda: self._answered(backend, worker, pause, times)]
            self._serve(backend)

        self.later(at - self.now if at else 0.0, go)

    def _answered(self, backend: BackendConnection, worker: int, pause: float | None, times: int) -> None:
        pool = self.pools[worker]
        self.answers.append(self.now)
        pool.answered(backend, self.now)
        pool.give(backend, self.now)
        if times > 1:
            self.ask(worker, self.now + (pause or 0.0), pause, times - 1)

    def _serve(self, backend: BackendConnection | None = None) -> None:
        while self._queue and len(self._taken) < self._places:
            first = self._queue.popleft()
            if not first.closing:
                self._taken.add(first)
                self._respond(first)
        if backend is not None and backend in self._taken:
            self._respond(backend)

    def _respond(self, backend: BackendConnection) -> None:
        for step in self._asked.pop(backend, []):
            self.later(self.seconds, step)

    def closed(self, backend: BackendConnection) -> None:
        """The server sees the end of a connection of ours."""

        def seen() -> None:
            backend.connection_lost(None)
            self._taken.discard(backend)
            self._serve()

        self.later(0.001, seen)

    def run(self, until: float = 1_000.0) -> None:
        """Everything that happens up to an instant; idle connections that are due are closed twice a second."""
        swept = self.now
        while self._events and self._events[0][0] <= until:
            due = self._events[0][0]
            while swept + 0.5 < due:
                swept += 0.5
                for pool in self.pools:
                    pool.close_idle(swept)
            _, _, step = heapq.heappop(self._events)
            self.now = max(self.now, due)
            step()


class _Line(Line):
    """A connection whose end the server sees."""

    def __init__(self, ended: Callable[[], None]) -> None:
        super().__init__()
        self._ended = ended

    def abort(self) -> None:
        if not self.aborted:
            super().abort()
            self._ended()


def test_three_at_once_and_a_server_of_one() -> None:
    """Each waits for those before it, and for a moment of grace the first time; not until idle connections are closed."""
    scene = Scene(1)
    for _ in range(3):
        scene.ask()
    scene.run()
    assert scene.answers == pytest.approx([0.3, 0.6, 0.9], abs=0.05)


def test_forty_at_once() -> None:
    """What was learned once is not learned again each time: a grace for each second, not for each request."""
    scene = Scene(1, seconds=0.01)
    for _ in range(40):
        scene.ask()
    scene.run()
    assert len(scene.answers) == 40
    assert scene.answers[-1] < 0.01 * 40 + 0.2


def test_a_connection_of_another_worker() -> None:
    """It is kept for a tenth of a second only, while its backend was not seen to serve two at once."""
    scene = Scene(1, 2)
    scene.ask(0)
    scene.ask(1, at=0.1)
    scene.run()
    assert scene.answers == pytest.approx([0.3, 0.7], abs=0.05)


def test_a_busy_connection_of_another_worker() -> None:
    """A client that never pauses leaves room for others once a second."""
    scene = Scene(1, 2, seconds=0.02)
    scene.ask(0, pause=0.01, times=200)
    scene.ask(1, at=0.5)
    scene.run(3.0)
    assert len([instant for instant in scene.answers if instant < 2.0]) > 50
    assert scene.pools[1].idle == []
    assert not scene.pools[1].unanswered


@pytest.mark.parametrize("places", [2, 4])
def test_a_pool_of_threads(places: int) -> None:
    """A dozen requests at once go through it in about the time that a client without kept connections takes."""
    scene = Scene(places, seconds=0.2)
    for _ in range(12):
        scene.ask()
    scene.run()
    assert scene.answers[-1] < 0.2 * 12 / places + 0.4
    assert len(scene.answers) == 12


def test_half_of_the_threads_are_left_to_others() -> None:
    """Four threads: when nothing happens two connections are kept, of any one worker."""
    scene = Scene(4)
    for _ in range(4):
        scene.ask()
    scene.run(1.0)
    assert len(scene.pools[0].idle) == 2


@pytest.mark.parametrize("seconds", [0.001, 0.1, 1.0])
def test_a_server_without_such_a_limit(seconds: float) -> None:
    """Thirty clients have thirty connections, and keep them: it is learned within the first answers."""
    scene = Scene(1_000, seconds=seconds)
    for _ in range(30):
        scene.ask(pause=0.0005, times=20)
    scene.run(seconds * 25 + 1)
    assert len(scene.answers) == 600
    assert scene.dials <= 40
    assert scene.pools[0].width >= 30


def test_a_long_poll_is_not_waited_for() -> None:
    """A request that a later one has overtaken is in the backend's hands: nothing is closed for its sake."""
    scene = Scene(10, seconds=100.0)
    scene.ask()
    scene.run(0.5)
    scene.seconds = 0.01
    scene.ask(at=1.0, pause=0.05, times=50)
    scene.run(10.0)
    assert len(scene.answers) == 50
    assert scene.dials <= 5  # one a second, as long as the backend was seen to serve only two


def test_another_program_is_another_width() -> None:
    """Where everything has closed, what listens next may be a server of one."""
    pool = Pool("127.0.0.1", 3000, "boot-1", keeping=Keeping(call_later=lambda _delay, _step: _Timer()))
    made = []
    for _ in range(3):
        backend = BackendConnection(WORKER, pool)
        backend.connection_made(Line())
        pool.sent(backend)
        made.append(backend)
    pool.answered(made[2], 0.0)
    assert (pool.held, pool.width) == (3, 3)
    for backend in made:
        backend.connection_lost(None)
        backend.leave()  # twice does no harm
    assert (pool.held, pool.width) == (0, 0)


CLIENTS = st.lists(
    st.tuples(st.integers(0, 2), st.floats(0, 2), st.sampled_from([0.0, 0.005, 0.03, 0.2, 1.0]), st.integers(1, 6)),
    min_size=1,
    max_size=15,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([1, 1, 2, 4, 9]), st.sampled_from([0.001, 0.05, 0.3]), CLIENTS)
def test_every_request_is_answered(places: int, seconds: float, clients: list[tuple[int, float, float, int]]) -> None:
    """Whatever the number of threads, workers and requests: none waits for a connection that nobody uses, but for moments;
    and the counts end where they began."""
    scene = Scene(places, 3, seconds=seconds)
    for worker, at, pause, times in clients:
        scene.ask(worker, at, pause, times)
    asked = sum(times for _, _, _, times in clients)
    thought = max(at + pause * times for _, at, pause, times in clients)
    # Each request may cost its time, and the longest that an idle connection of another worker is kept beside it.
    scene.run(thought + asked * (seconds + 0.5) + 5.0)
    assert len(scene.answers) == asked
    scene.run()
    for pool in scene.pools:
        pool.close_idle(1e9)
    scene.run()
    assert [(pool.held, pool.width, len(pool.unanswered), pool.idle) for pool in scene.pools] == [(0, 0, 0, [])] * 3


def test_timers_end_with_the_pool() -> None:
    """A pool that is retired leaves no timer behind."""
    timers: list[_Timer] = []

    def later(_delay: float, _step: Callable[[], None]) -> Timer:
        timers.append(_Timer())
        return timers[-1]

    pool = Pool("127.0.0.1", 3000, "boot-1", keeping=Keeping(call_later=later))
    first, second = (BackendConnection(WORKER, pool) for _ in range(2))
    for backend in (first, second):
        backend.connection_made(Line())
        pool.sent(backend)
    pool.answered(first, 0.0)
    pool.give(first, 0.0)
    pool.retire()
    assert len(timers) == 2
    assert all(timer.off for timer in timers)


@pytest.mark.parametrize(("said", "left"), [(0, 0), (5, 1)])
def test_one_connection_stays_with_a_backend_that_says_how_long_it_keeps_them(said: int, left: int) -> None:
    """It expects idle connections, so it serves more than one: the others are left to others, and the last one used stays. Of a
    backend that does not say it none stays."""
    scene = Scene(1)
    (pool,) = scene.pools
    backends = [connect(WORKER, pool) for _ in range(2)]
    for backend in backends:
        pool.sent(backend)
        pool.answered(backend, 0.0, said)
        pool.give(backend, 0.0)
        assert pool.take() is backend  # so that the second one has to be made
        pool.width = 1  # as if nobody had ever seen two at once
    for backend in backends:
        pool.give(backend, 0.0)
    scene.run()
    assert pool.idle == backends[2 - left :]
    assert [backend.closing for backend in backends] == [True, not left]


def test_a_backend_that_says_how_long_it_keeps_connections_needs_no_timer_for_one() -> None:
    """A host that is visited now and then costs no timer for each request."""
    scene = Scene(1)
    (pool,) = scene.pools
    backend = connect(WORKER, pool)
    pool.sent(backend)
    pool.answered(backend, 0.0, 5)
    pool.give(backend, 0.0)
    assert scene._events == []


@pytest.mark.asyncio
async def test_the_loop_keeps_the_time() -> None:
    """Without another clock, timers are the running loop's."""
    pool = Pool("127.0.0.1", 3000, "boot-1", keeping=Keeping(unproven=0.01))
    backend = BackendConnection(WORKER, pool)
    backend.connection_made(Line())
    pool.sent(backend)
    pool.answered(backend, 0.0)
    pool.give(backend, 0.0)
    async with asyncio.timeout(10):
        while pool.idle:
            await asyncio.sleep(0.005)
    assert backend.closing
