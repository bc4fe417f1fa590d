"""The workers, as the control process sees them."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from router.clock import Clock
from router.crew.answers import Answers, Store
from router.crew.link import Link, Message
from router.observe.gathered import Figures
from router.observe.metrics import Metrics
from router.tasks import Tasks

ACKNOWLEDGED = 0.25  # seconds for a worker to say that it knows of a change
ANSWERED = 1.0  # seconds for a worker to say anything else
_OVERLAP = 2.0  # seconds that are asked for again, since the workers' clocks are coarse
_REMEMBERED = 600.0  # seconds that a resource's last use is kept here: long enough for the store to come back

_log = structlog.get_logger("router.crew")


class _Worker:
    """One worker process. `number` is its place, which its successor has too."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.link: Link
        self.met = False  # it has said something: until then it starts, knows nothing, and answers nothing
        self.serving = False
        self.answers: Answers | None = None  # None until there is a store to answer from
        self.pending: set[asyncio.Future[Any]] = set()  # changes that it has not acknowledged yet
        self.late = False
        self.told_until = float("-inf")


class Crew:
    """The control process's side. `size` is how many workers the node should have.

    A worker that does not acknowledge a change in time is counted, and not waited for again until it has caught up:
    one that hangs must not make each call of the API slow. It can't serve what the change took away for longer than it
    hangs: what it follows itself tells it.
    """

    def __init__(self, size: int, *, metrics: Metrics, clock: Clock, on_https: Callable[[str, float], object]) -> None:
        self._size = size
        self._metrics = metrics
        self._now = clock.monotonic
        self._on_https = on_https
        self._store: Store | None = None
        self._tasks = Tasks("crew")  # answers under way
        self._workers: list[_Worker] = []  # a successor comes after those before it
        self._used: dict[str, float] = {}
        metrics.gauge("workers_serving", lambda: float(self.serving))

    async def join(self, end: socket.socket, number: int) -> None:
        """A worker is at the other end."""
        worker = _Worker(number)
        worker.link = await Link.over(end, lambda _, message: self._hear(worker, message), lambda _: self._lost(worker))
        if not worker.link.closed:
            self._workers.append(worker)
            if self._store is not None:
                self._answer(worker, self._store)

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return self._size

    @property
    def serving(self) -> int:
        """How many places have a worker that takes connections."""
        return len({worker.number for worker in self._workers if worker.serving})

    # Changes.

    def announce(self, keys: Sequence[str], number: int) -> None:
        """Tell every worker of a committed change; `settled` waits until they know."""
        message = {"do": "change", "keys": list(keys), "number": number}
        for worker in self._met():
            known = worker.link.call(message)
            worker.pending.add(known)
            known.add_done_callback(partial(self._acknowledged, worker))

    async def settled(self) -> None:
        """Until every worker knows of what has been announced so far, or is late."""
        waiting = {worker: tuple(worker.pending) for worker in self._workers if worker.pending and not worker.late}
        if not waiting:
            return
        await asyncio.wait([one for pending in waiting.values() for one in pending], timeout=ACKNOWLEDGED)
        for worker, pending in waiting.items():
            missing = sum(not one.done() for one in pending)
            if missing and not worker.late:
                worker.late = True
                self._metrics.count("announcements", "timeout", by=missing)
                _log.warning("a worker does not acknowledge changes", number=worker.number, missing=missing)

    def _acknowledged(self, worker: _Worker, known: "asyncio.Future[Any]") -> None:
        worker.pending.discard(known)
        if known.cancelled() or known.exception() is not None:
            self._metrics.count("announcements", "error")
            return
        self._metrics.count("announcements", "ok")
        if worker.late and not worker.pending:
            worker.late = False
            _log.info("a worker acknowledges changes again", number=worker.number)

    # What workers ask.

    def answer(self, store: Store) -> None:
        """Answer every worker's questions out of this store. From here on it must be told what `moved`."""
        self._store = store
        for worker in self._workers:
            self._answer(worker, store)

    def moved(self) -> None:
        """Others have committed something, or may have."""
        for worker in self._workers:
            worker.link.send({"do": "moved"})

    def _answer(self, worker: _Worker, store: Store) -> None:
        worker.answers = Answers(store, self._tasks)
        worker.link.send({"do": "ready"})

    # What workers have seen.

    def used(self, since: float) -> Mapping[str, float]:
        """When each resource was last used, where that was at or after `since`, as far as `gather` was told."""
        return {resource_id: at for resource_id, at in self._used.items() if at >= since}

    async def gather(self) -> None:
        """Ask every worker what is new."""
        now = self._now()
        asked = {
            worker.link.call({"do": "news", "since": max(0.0, worker.told_until - _OVERLAP)}): worker
            for worker in self._met()
        }
        for answer, worker in await _answers(asked):
            worker.told_until = now
            self._learn(answer)
        for resource_id in [key for key, at in self._used.items() if at < now - _REMEMBERED]:
            del self._used[resource_id]

    async def figures(self) -> list[Figures]:
        """The metrics of every worker that answers; those of one that has a successor come before the successor's."""
        asked = {worker.link.call({"do": "figures"}): worker for worker in self._met()}
        found = {id(worker): answer for answer, worker in await _answers(asked)}
        return [found[id(worker)] for worker in self._workers if id(worker) in found]

    async def close(self) -> None:
        """Leave. Before the store is closed: what is being read for a worker ends here."""
        for worker in tuple(self._workers):
            worker.link.close()
        await self._tasks.close()

    def _met(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.met]

    def _hear(self, worker: _Worker, message: Message) -> object:
        worker.met = True
        match message["do"]:
            case "serving":
                worker.serving = message["serving"]
            case "news":
                self._learn(message)
            case _ if worker.answers is not None:
                return worker.answers.to(message)
            case unknown:
                raise LookupError(f"unknown message {unknown!r}")
        return None

    def _learn(self, news: Message) -> None:
        for resource_id, at in news["used"].items():
            self._used[resource_id] = max(at, self._used.get(resource_id, at))
        for host, at in news["https"].items():
            self._on_https(host, at)

    def _lost(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)


async def _answers(asked: Mapping["asyncio.Future[Any]", _Worker]) -> Iterable[tuple[Any, _Worker]]:
    """What was answered in time, and by whom."""
    if not asked:
        return []
    done, late = await asyncio.wait(asked, timeout=ANSWERED)
    for one in late:
        one.cancel()
    for worker in (asked[one] for one in late):
        _log.warning("a worker does not answer", number=worker.number)
    return [(one.result(), asked[one]) for one in done if one.exception() is None]
