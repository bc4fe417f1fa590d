"""The processes of one node among themselves, over real sockets in one process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.node.ipc.channel import Channel
from router.node.ipc.control_side import ControlSide
from router.node.ipc.messages import TO_WORKER, Change, RequestRecords, Serving
from router.node.ipc.wire import Message
from router.node.ipc.worker_side import WorkerSide
from router.observe.metrics import Metrics
from router.operator.processes import Answers
from router.records.keeper import Keeper
from router.records.packing import FORM, pack
from router.routes.error_notes import ErrorNote, ErrorNotes
from tests.support.figures import sample
from tests.support.memory_store import MemoryStore
from tests.support.request_records import ACME, SHOP, MemoryKept, exchange
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


class Worker:
    """A worker's side, and what it was told."""

    def __init__(self, number: int) -> None:
        self.metrics = Metrics(number)
        self.changes: list[tuple[Sequence[str], int]] = []
        self.used: dict[str, float] = {}
        self.https: dict[str, float] = {}
        self.secrets: dict[str, float] = {}
        self.answers = Answers()
        self.worker_side = WorkerSide(
            on_change=lambda keys, change: self.changes.append((keys, change)),
            on_outbox=lambda _start, _to, _keys: False,
            used=lambda since: {key: at for key, at in self.used.items() if at >= since},
            https=lambda since: {key: at for key, at in self.https.items() if at >= since},
            figures=self.metrics.figures,
            secrets=lambda since: {key: at for key, at in self.secrets.items() if at >= since},
            operator=self.answers.answer,
        )


class Node:
    """A control process with its workers."""

    def __init__(self) -> None:
        self.metrics = Metrics(0)
        self.https: dict[str, float] = {}
        self.error_notes = ErrorNotes()
        self.control_side = ControlSide(
            2,
            metrics=self.metrics,
            clock=SystemClock(),
            on_https=self.https.__setitem__,
            error_notes=self.error_notes,
        )
        self.workers: list[Worker] = []

    async def hire(self, number: int) -> Worker:
        worker = Worker(number)
        self.workers.append(worker)
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        await self.control_side.connect(ours, number)
        await worker.worker_side.connect(theirs)
        worker.worker_side.serving(True)
        await eventually(lambda: self.control_side._workers[-1].serving, "it serves")
        return worker

    def count(self, outcome: str) -> float:
        return sample(self.metrics, "miosa_router_announcements_total", result=outcome, worker="0")


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    yield made
    for worker in made.workers:
        worker.worker_side.close()
    await made.control_side.close()
    await eventually(lambda: not made.control_side._workers, "every link is closed")


async def test_a_settled_change_is_known_to_all(node: Node) -> None:
    """In the order of the changes, with their numbers."""
    workers = [await node.hire(1), await node.hire(2)]
    node.control_side.announce(["slug:a"], 7)
    node.control_side.announce(["slug:b", "zone:c"], 9)
    await node.control_side.settled()
    for worker in workers:
        assert worker.changes == [(("slug:a",), 7), (("slug:b", "zone:c"), 9)]
    assert (node.count("ok"), node.count("timeout")) == (4, 0)


@pytest.mark.realtime
async def test_a_worker_that_hangs_is_waited_for_once(node: Node) -> None:
    """It is counted, not waited for again, and believed again when it has caught up."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    await node.control_side.connect(ours, 1)
    heard: list[Message] = []
    channel = await Channel.over(theirs, TO_WORKER, lambda _, message: heard.append(message) or True, lambda _: None)  # type: ignore[func-returns-value]
    channel.send(Serving(True))
    await eventually(lambda: node.control_side.serving == 1, "it serves")
    transport = channel._transport
    assert transport is not None
    transport.pause_reading()
    node.control_side.announce(["slug:a"], 1)
    await node.control_side.settled()
    assert node.count("timeout") == 1
    loop = asyncio.get_running_loop()
    node.control_side.announce(["slug:b"], 2)
    before = loop.time()
    await node.control_side.settled()
    assert loop.time() - before < 0.1
    transport.resume_reading()
    await eventually(lambda: node.count("ok") == 2, "it has caught up")
    assert heard == [Change(["slug:a"], 1, []), Change(["slug:b"], 2, [])]
    assert not node.control_side._workers[0].late
    channel.close()


async def test_a_worker_that_dies_holds_nobody_up(node: Node) -> None:
    """What it had not acknowledged counts as an error, and it counts no more."""
    await node.hire(1)
    dying = await node.hire(2)
    node.control_side.announce(["slug:a"], 1)
    for link in dying.worker_side._channels:
        assert link._transport is not None
        link._transport.abort()
    await node.control_side.settled()
    await eventually(lambda: node.control_side.serving == 1, "one is left")
    assert node.count("ok") + node.count("error") == 2


async def test_what_workers_saw_is_gathered(node: Node) -> None:
    """The last use of each resource and secret, names reached by https, and what is left of that when one leaves."""
    one, other = await node.hire(1), await node.hire(2)
    now = SystemClock().monotonic()
    one.used, other.used = {"a": now - 5, "b": now}, {"a": now - 1}
    other.https = {"shop.example": now - 1}
    one.secrets, other.secrets = {"link": now - 2, "key:00": now - 1}, {"link": now - 700, "old": now - 700}
    await node.control_side.gather()
    assert node.control_side.used(0) == {"a": now - 1, "b": now}
    assert node.https == {"shop.example": now - 1}
    assert node.control_side.secret_uses(0) == {"link": now - 2, "key:00": now - 1}
    assert node.control_side.secret_uses(now - 1) == {"key:00": now - 1}
    other.used, other.secrets = {"c": now}, {"link": now}
    other.worker_side.close()
    await eventually(lambda: "c" in node.control_side.used(0), "the last word arrives")
    assert node.control_side.secret_uses(now)["link"] == now


async def test_errors_of_all_workers_are_counted_together(node: Node) -> None:
    """From the first to the last time that any of them saw one; the words are those of the last."""
    one, other = await node.hire(1), await node.hire(2)
    one.worker_side.error_seen(ErrorNote("a", 80, "bad_backend_response", None, "why", 1.5, 2.5, 3))
    await eventually(lambda: bool(node.error_notes.of("a", 80)), "the first arrives")
    other.worker_side.error_seen(ErrorNote("a", 80, "bad_backend_response", None, "why not", 3.5, 3.5))
    await eventually(lambda: node.error_notes.of("a", 80)[0].count == 4, "the second arrives")
    (note,) = node.error_notes.of("a", 80)
    assert note == ErrorNote("a", 80, "bad_backend_response", None, "why not", 1.5, 3.5, 4)


async def test_metrics_of_all_are_one_page(node: Node) -> None:
    """Every series carries its worker; a family stands once. Where a worker and its successor share a number, their
    gauges are added up and the counters are the successor's."""
    first, second, successor = await node.hire(1), await node.hire(2), await node.hire(1)
    for worker, tunnels in ((first, 3.0), (second, 1.0), (successor, 4.0)):
        worker.metrics.gauge("tunnels", lambda tunnels=tunnels: tunnels)  # type: ignore[misc]
        worker.metrics.count("retries", by=int(tunnels))
    text = node.metrics.render("", await node.control_side.figures())[0].decode()
    assert text.count("# TYPE miosa_router_tunnels gauge") == 1
    assert 'miosa_router_tunnels{worker="1"} 7.0' in text
    assert 'miosa_router_tunnels{worker="2"} 1.0' in text
    assert 'miosa_router_retries_total{worker="1"} 4.0' in text
    assert 'miosa_router_workers_serving{worker="0"} 2.0' in text
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))
    assert all('worker="' in one for one in series)


async def test_long_messages_arrive_whole(node: Node) -> None:
    """Whatever the pieces that the socket hands over."""
    worker = await node.hire(1)
    keys = [f"name:{number}.example" for number in range(100_000)]
    node.control_side.announce(keys, 1)
    await eventually(lambda: bool(worker.changes), "it arrives")
    assert worker.changes == [(tuple(keys), 1)]


async def test_records_of_requests_arrive(node: Node) -> None:
    """At the control process that has a store; what comes before that is lost, and said with the next that gets through."""
    kept = MemoryKept()
    keeper = Keeper(kept, 1000, SystemClock(), node.metrics)
    node.control_side.keep_records(keeper)
    worker = await node.hire(1)
    worker.worker_side.keep_records(pack([exchange(), exchange()]))
    store = MemoryStore()
    node.control_side.serve_store(store, store)
    await worker.worker_side.until_ready(5)
    worker.worker_side.keep_records(pack([exchange(id=b"a")]))
    await eventually(lambda: keeper._packs, "the pack has arrived")
    await keeper.flush()
    assert kept.records[0][4] == "a"
    assert kept.lost() == {SHOP.bytes: 2}


async def test_records_of_a_version_to_come_are_lost(node: Node) -> None:
    """During a reload processes of two versions talk to each other: what is packed otherwise is not misread."""
    kept = MemoryKept()
    keeper = Keeper(kept, 1000, SystemClock(), node.metrics)
    node.control_side.keep_records(keeper)
    node.control_side._keep(RequestRecords("AAAA", FORM + 1))
    node.control_side._keep(RequestRecords("", FORM, [(ACME.hex, SHOP.hex, 3)]))
    await keeper.flush()
    assert kept.lost() == {SHOP.bytes: 3}
