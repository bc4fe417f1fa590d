"""The control process's side of its workers: it announces changes, collects what they have seen, and answers them."""

import asyncio
import socket
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import structlog

from router.access.visitors import Visitors
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.node.ipc.channel import Channel
from router.node.ipc.messages import (
    TO_CONTROL,
    Change,
    ErrorSeen,
    FiguresRequest,
    HostRefused,
    OperatorEvent,
    OperatorRequest,
    OutboxMoved,
    ReplayRequest,
    RequestCaptured,
    RequestRecords,
    Serving,
    Stats,
    StatsRequest,
    StoreReady,
    StoreRequest,
)
from router.node.ipc.store_server import StoreServer
from router.node.ipc.wire import Message
from router.observe.figures import Figures
from router.observe.metrics import Metrics
from router.records.keeper import Keeper
from router.records.packing import FORM
from router.routes.changed_keys import moved_among
from router.routes.error_notes import ErrorNote, ErrorNotes
from router.routes.feed import RecordStore
from router.routes.host_notes import HostNote, HostNotes
from router.wake.waker import Waker

A = TypeVar("A")

ACKNOWLEDGE_TIMEOUT = 0.25  # seconds for a worker to say that it knows of a change
_REPLAY_TIMEOUT = 40.0  # seconds: a replay has its own, which is shorter
_ANSWER_TIMEOUT = 1.0  # seconds for a worker to answer anything else
_OVERLAP = 2.0  # seconds that are asked for again, since the workers' clocks are coarse
_USED_KEPT = (
    600.0  # seconds that a resource's or secret's last use is kept here: long enough for the store to come back
)

_log = structlog.get_logger("router.node.ipc")


class _Worker:
    """One worker process. `number` is its slot's; a successor has the same."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.channel: Channel
        self.heard = False  # it has sent something; until then it is starting, knows nothing, and answers nothing
        self.serving = False
        self.server: StoreServer | None = None  # None until there is a store to answer from
        self.pending: set[asyncio.Future[bool]] = set()  # changes that it has not acknowledged yet
        self.late = False
        self.seen_until = float("-inf")  # the instant up to which its stats are known


class ControlSide:
    """All workers of a node, which should be `size`.

    A worker that does not acknowledge a change in time is counted, and not waited for again until it has caught up: one
    that hangs must not make every call of the API slow. It follows the outbox or the bus too, so it cannot serve what
    the change took away for longer than it hangs.
    """

    def __init__(
        self,
        size: int,
        *,
        metrics: Metrics,
        clock: Clock,
        on_https: Callable[[str, float], object],
        host_notes: HostNotes | None = None,
        error_notes: ErrorNotes | None = None,
    ) -> None:
        self._size = size
        self._metrics = metrics
        self._now = clock.monotonic
        self._on_https = on_https
        self._host_notes = host_notes or HostNotes()
        self._error_notes = error_notes or ErrorNotes()
        self._store: tuple[RecordStore, Visitors] | None = None
        self._waker: Waker | None = None
        self._keeper: Keeper | None = None
        self._replays = 0  # so far: workers take turns
        self._outbox: int | None = None  # the row up to which the workers know the outbox from us
        self._tasks = Tasks("control side")  # requests of workers that are being answered
        self._workers: list[_Worker] = []  # a successor comes after those before it
        self._on_operator_event: Callable[[int, str, Mapping[str, Any]], object] | None = None
        self._on_serving: list[Callable[[], object]] = []
        self._used: dict[str, float] = {}
        self._secrets: dict[str, float] = {}
        metrics.gauge("workers_serving", lambda: float(self.serving))

    async def connect(self, end: socket.socket, number: int) -> None:
        """Talk to the worker at the other end."""
        worker = _Worker(number)
        worker.channel = await Channel.over(
            end, TO_CONTROL, lambda _, message: self._hear(worker, message), lambda _: self._lost(worker)
        )
        if not worker.channel.closed:
            self._workers.append(worker)
            for note in self._host_notes.all():
                worker.channel.send(HostRefused(**asdict(note)))
            if self._store is not None:
                self._serve_store(worker, *self._store)

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return self._size

    @property
    def serving(self) -> int:
        """How many slots have a worker that takes connections."""
        return len({worker.number for worker in self._workers if worker.serving})

    # Changes.

    def announce(self, keys: Sequence[str], number: int) -> None:
        """Tell every worker of a change that this process has committed; `settled` waits until they know."""
        change = Change(keys=list(keys), number=number, moved=sorted(moved_among(keys)))
        for worker in self._active():
            known = worker.channel.call(change)
            worker.pending.add(known)
            known.add_done_callback(partial(self._acknowledged, worker))

    async def settled(self) -> None:
        """Wait until every worker knows of what has been announced so far, or is late."""
        waiting = {worker: tuple(worker.pending) for worker in self._workers if worker.pending and not worker.late}
        if not waiting:
            return
        await asyncio.wait([one for pending in waiting.values() for one in pending], timeout=ACKNOWLEDGE_TIMEOUT)
        for worker, pending in waiting.items():
            missing = sum(not one.done() for one in pending)
            if missing and not worker.late:
                worker.late = True
                self._metrics.count("announcements", "timeout", by=missing)
                _log.warning("worker not acknowledging changes", number=worker.number, missing=missing)

    def outbox_moved(self, keys: Sequence[str] | None, to: int) -> None:
        """Other processes have committed rows of the outbox, up to `to`, which changed `keys`; None: it is not known what,
        and every worker reads the outbox itself. What this process commits is announced, and left out here."""
        if keys is None or self._outbox is None:
            message = OutboxMoved()
        else:
            message = OutboxMoved(start=self._outbox, to=to, keys=list(keys), moved=sorted(moved_among(keys)))
        self._outbox = to
        for worker in self._workers:
            worker.channel.send(message)

    def _acknowledged(self, worker: _Worker, known: "asyncio.Future[bool]") -> None:
        worker.pending.discard(known)
        if known.cancelled() or known.exception() is not None:
            self._metrics.count("announcements", "error")
            return
        self._metrics.count("announcements", "ok")
        if worker.late and not worker.pending:
            worker.late = False
            _log.info("worker acknowledges changes again", number=worker.number)

    # What workers ask.

    def serve_wakes(self, waker: Waker) -> None:
        """Have resources woken that workers ask for. To be called before `serve_store`."""
        self._waker = waker

    def keep_records(self, keeper: Keeper) -> None:
        """Keep the records of requests that workers send."""
        self._keeper = keeper

    def serve_store(self, store: RecordStore, visitors: Visitors) -> None:
        """Answer every worker's requests from this store, and with what `visitors` need. From here on `outbox_moved`
        must be called."""
        self._store = store, visitors
        for worker in self._workers:
            self._serve_store(worker, store, visitors)

    def _serve_store(self, worker: _Worker, store: RecordStore, visitors: Visitors) -> None:
        worker.server = StoreServer(store, self._tasks, visitors)
        worker.server.waker = self._waker
        worker.channel.send(StoreReady())

    # What workers have seen.

    def used(self, since: float) -> Mapping[str, float]:
        """When each resource was last used, where that was at or after `since`, as of the last `gather`."""
        return {resource_id: at for resource_id, at in self._used.items() if at >= since}

    def secret_uses(self, since: float) -> Mapping[str, float]:
        """When each secret let somebody in, as `used`."""
        return {secret: at for secret, at in self._secrets.items() if at >= since}

    async def gather(self) -> None:
        """Ask every worker for its stats."""
        now = self._now()
        asked = {
            worker.channel.call(StatsRequest(max(0.0, worker.seen_until - _OVERLAP))): worker
            for worker in self._active()
        }
        for stats, worker in await _answers(asked):
            worker.seen_until = now
            self._learn(stats)
        for uses in (self._used, self._secrets):
            for name in [name for name, at in uses.items() if at < now - _USED_KEPT]:
                del uses[name]

    async def figures(self, exemplars: bool = False) -> list[Figures]:
        """The metrics of every worker that answers; those of one that has a successor come before the successor's."""
        asked = {worker.channel.call(FiguresRequest(exemplars)): worker for worker in self._active()}
        found = {id(worker): figures for figures, worker in await _answers(asked)}
        return [found[id(worker)] for worker in self._workers if id(worker) in found]

    async def replay(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have a worker send a request that was captured once more. Raises ConnectionError where none serves, TimeoutError."""
        serving = [worker for worker in self._workers if worker.serving]
        if not serving:
            raise ConnectionError("no worker serves")
        self._replays += 1
        async with asyncio.timeout(_REPLAY_TIMEOUT):
            told = await serving[self._replays % len(serving)].channel.call(ReplayRequest(order))
        if told is None:
            raise ConnectionError("the worker does not carry traffic yet")
        found: Mapping[str, Any] = told
        return found

    # Operators' tools.

    async def ask_operator(self, question: str, arguments: Mapping[str, Any]) -> tuple[Sequence[tuple[int, Any]], int]:
        """What every worker answers to an operator's question, with its number; and how many gave no answer in time."""
        asked = {worker.channel.call(OperatorRequest(question, arguments)): worker for worker in self._active()}
        found = [(worker.number, value) for value, worker in await _answers(asked)]
        return sorted(found, key=lambda one: one[0]), len(asked) - len(found)

    def on_operator_event(self, hear: Callable[[int, str, Mapping[str, Any]], object]) -> None:
        """Have `hear(number, event, about)` called with what workers report to operators' tools."""
        self._on_operator_event = hear

    def on_serving(self, hear: Callable[[], object]) -> None:
        """Have `hear()` called when a worker begins to serve: it knows nothing of what the others were told."""
        self._on_serving.append(hear)

    async def close(self) -> None:
        """Close every channel, and end the reads for workers. Call it before the store is closed."""
        for worker in tuple(self._workers):
            worker.channel.close()
        await self._tasks.close()

    def _active(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.heard]

    def _hear(self, worker: _Worker, message: Message) -> object:
        worker.heard = True
        match message:
            case Serving():
                worker.serving = message.serving
                if message.serving:
                    for hear in self._on_serving:
                        hear()
            case Stats():
                self._learn(message)
            case HostRefused():
                self._host_notes.add(HostNote(**asdict(message)))
                for other in self._workers:
                    if other is not worker:
                        other.channel.send(message)
            case ErrorSeen():
                self._error_notes.add(ErrorNote(**asdict(message)))
            case RequestRecords():
                self._keep(message)
            case OperatorEvent():
                if self._on_operator_event is not None:
                    self._on_operator_event(worker.number, message.event, message.about)
            case RequestCaptured():
                if self._keeper is not None and not self._keeper.take_capture(message.told):
                    self._metrics.count("request_captures", "lost")
            case StoreRequest() if worker.server is not None:
                return worker.server.answer(message)
            case _:
                raise LookupError(f"unexpected message {message.do!r}")
        return None

    def _keep(self, message: RequestRecords) -> None:
        if self._keeper is None:
            return
        self._keeper.lose({(bytes.fromhex(tenant), bytes.fromhex(of)): number for tenant, of, number in message.lost})
        if message.pack and message.form == FORM:  # else it is of another version, which ends soon
            self._keeper.take(b64decode(message.pack))

    def _learn(self, stats: Stats) -> None:
        for resource_id, at in stats.used.items():
            self._used[resource_id] = max(at, self._used.get(resource_id, at))
        for secret, at in stats.secrets.items():
            self._secrets[secret] = max(at, self._secrets.get(secret, at))
        for host, at in stats.https.items():
            self._on_https(host, at)

    def _lost(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)


async def _answers(asked: Mapping["asyncio.Future[A]", _Worker]) -> Iterable[tuple[A, _Worker]]:
    """The answers that came in time, each with its worker."""
    if not asked:
        return []
    done, late = await asyncio.wait(asked, timeout=_ANSWER_TIMEOUT)
    for one in late:
        one.cancel()
    for worker in (asked[one] for one in late):
        _log.warning("worker not responding", number=worker.number)
    return [(one.result(), asked[one]) for one in done if one.exception() is None]
