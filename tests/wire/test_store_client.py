"""A worker without a store of its own: what it asks its control process, over real sockets in one process."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

import pytest
import pytest_asyncio

from router import errors
from router.access.ci_tokens import CiOutcome, CiVerdict
from router.base.clock import SystemClock
from router.errors import StoreUnavailableError
from router.node.ipc.control_side import ControlSide
from router.node.ipc.messages import FaultError, StoreRequest
from router.node.ipc.store_client import StoreClient
from router.node.ipc.store_server import CONCURRENCY, MAX_KEYS
from router.node.ipc.visitors_client import VisitorsClient
from router.node.ipc.wake_client import WakeClient
from router.node.ipc.wire import Message
from router.node.ipc.worker_side import WorkerSide
from router.observe.metrics import Metrics
from router.routes.changed_keys import Touched, moved_among
from router.routes.follower import OutboxFollower
from router.routes.records import Record, Snapshot, State
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Cache
from router.wake.waker import Reason
from tests.support import records as make
from tests.support.memory_store import MemoryStore
from tests.support.records import PLATFORM
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

SHOP = make.resource("shop")
HOST = f"shop.{PLATFORM}".encode()


class HeldStore(MemoryStore):
    """Reads at once what it will answer, and answers it when it is let go where `hold` was set."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self.held: list[asyncio.Event] = []
        self.stumbles_over: str | None = None

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        snapshot = await super().fetch_versioned(keys)
        if self.stumbles_over in keys:
            raise ZeroDivisionError
        if self.hold:
            go = asyncio.Event()
            self.held.append(go)
            await go.wait()
        return snapshot


class Control:
    """A control process."""

    def __init__(self, ledger: MemoryStore, size: int = 1) -> None:
        self.ledger = ledger
        self.control_side = ControlSide(size, metrics=Metrics(0), clock=SystemClock(), on_https=lambda _host, _at: None)

    async def commit(self, key: str, record: Record | None) -> None:
        """Through the API: every worker knows when this returns."""
        self.control_side.announce([key], self.ledger.commit(key, record))
        await self.control_side.settled()


class Worker:
    """What a worker has: its resolver and its follower on what it asks."""

    def __init__(self, within: float = 5.0) -> None:
        clock = SystemClock()
        self.follower: OutboxFollower | None = None
        self.worker_side = WorkerSide(
            on_change=self._changed,
            on_outbox=self._pushed,
            used=lambda _: {},
            https=lambda _: {},
            figures=list,
        )
        self.store = StoreClient(self.worker_side, clock, within=within)
        self.resolver = Resolver(
            self.store.records,
            platform_domain=PLATFORM,
            reserved_ports=frozenset(),
            limits=Cache(fetch_time=within),
            clock=clock,
        )
        self.told: list[str] = []
        self.gaps = 0

    async def meet(self, control: Control) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        await control.control_side.connect(ours, 1)
        await self.worker_side.connect(theirs)

    async def follow(self) -> None:
        await self.worker_side.until_ready(5)
        self.follower = self.store.follow(self._hear, self._gap)
        await self.follower.start()
        self.worker_side.serving(True)

    async def resolve(self, host: bytes = HOST) -> Route:
        async with asyncio.timeout(10):
            return await self.resolver.resolve(host)

    async def state(self) -> State:
        resource = (await self.resolve()).resource
        assert resource is not None
        return resource.state

    async def close(self) -> None:
        if self.follower is not None:
            await self.follower.close()
        self.worker_side.close()
        await self.resolver.close()

    def _changed(self, keys: Sequence[str], number: int) -> None:
        if self.follower is not None:
            self.follower.committed(keys, number)
        self.resolver.drop(keys)

    def _pushed(self, start: int, to: int, keys: Sequence[str]) -> bool:
        return self.follower is not None and self.follower.push(start, to, dict.fromkeys(keys, to), moved_among(keys))

    def _hear(self, keys: Sequence[str]) -> None:
        self.told += keys
        self.resolver.drop(keys)

    def _gap(self) -> None:
        self.gaps += 1
        self.resolver.drop_all()


@pytest.fixture
def ledger() -> HeldStore:
    made = HeldStore()
    made.commit("slug:shop", SHOP)
    return made


@pytest_asyncio.fixture
async def control(ledger: HeldStore) -> AsyncIterator[Control]:
    made = Control(ledger)
    made.control_side.serve_store(ledger, ledger)
    yield made
    await made.control_side.close()


@pytest_asyncio.fixture
async def worker(control: Control) -> AsyncIterator[Worker]:
    made = Worker()
    await made.meet(control)
    await made.follow()
    yield made
    await made.close()


async def test_records_come_with_their_versions(worker: Worker, ledger: HeldStore) -> None:
    """Also that there is none, and how much the store had seen: a cache needs no less from here than from the store."""
    ledger.commit("slug:shop", replace(SHOP, state=State.STOPPED))
    ledger.commit("name:shop.org", make.name("shop.org", SHOP))
    ledger.commit("zone:x.org", make.zone("x.org", make.claim("tenant", "acme")))
    ledger.commit("slug:gone", None)
    keys = ["slug:shop", "name:shop.org", "zone:x.org", "slug:gone", "slug:never"]
    snapshot = await worker.store.records.fetch_versioned(keys)
    assert snapshot == await ledger.fetch_versioned(keys)
    assert snapshot.seen == ledger.last == 5
    assert [snapshot[key][0] for key in keys] == [2, 1, 1, 1, 0]


async def test_the_outbox_comes_as_it_is(worker: Worker, ledger: HeldStore) -> None:
    """Numbers, keys and instants."""
    ledger.commit("slug:blog", make.resource("blog"))
    assert await worker.store.feed.after(0, 10) == await ledger.after(0, 10)
    assert await worker.store.feed.after(0, 1) == await ledger.after(0, 1)
    assert (await worker.store.feed.newest(), await worker.store.feed.oldest()) == (2, 1)


@pytest.mark.parametrize("through", ["this node", "another"])
async def test_an_answer_from_before_a_change_is_not_kept(
    worker: Worker, control: Control, ledger: HeldStore, through: str
) -> None:
    """It left the store before the change was committed, and arrives after the change was told."""
    ledger.hold = True
    early = asyncio.create_task(worker.state())
    await eventually(lambda: len(ledger.held) == 1, "it is read")
    stopped = replace(SHOP, state=State.STOPPED)
    if through == "this node":
        await control.commit("slug:shop", stopped)
    else:
        ledger.commit("slug:shop", stopped)
        control.control_side.outbox_moved(None, ledger.last)
        await eventually(lambda: worker.told == ["slug:shop"], "it is told")
    ledger.hold = False
    # Whoever asks now gets the change, while the old answer is still on its way and when it has come.
    assert await worker.state() is State.STOPPED
    ledger.held[0].set()
    assert await early is State.RUNNING
    assert await worker.state() is State.STOPPED
    remembered = worker.resolver.peek(HOST)
    assert remembered is not None
    assert remembered.resource is not None
    assert remembered.resource.state is State.STOPPED


class SlowStore(MemoryStore):
    """Its answers are read at one instant and leave at another."""

    chance = random.Random(11)

    async def fetch_versioned(self, keys: Sequence[str]) -> Snapshot:
        snapshot = await super().fetch_versioned(keys)
        await asyncio.sleep(self.chance.random() * 0.004)  # the same delays in each run: they make answers overtake
        return snapshot


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is to be closed, whatever comes of the test."""
    async with AsyncExitStack() as made:
        yield made


async def test_nothing_is_older_than_what_was_told(stack: AsyncExitStack) -> None:
    """Changes of one record, through this node and others, while two workers look it up after each: none is ever
    answered with less than it had been told of when it asked, and in the end both have the last."""
    ledger = SlowStore()
    control, workers = Control(ledger, 2), [Worker(), Worker()]
    stack.push_async_callback(control.control_side.close)
    for worker in workers:
        stack.push_async_callback(worker.close)
    control.control_side.serve_store(ledger, ledger)
    ledger.commit("slug:shop", replace(SHOP, version=0))
    told = [0, 0]  # the newest version that each has been told of
    for number, worker in enumerate(workers):
        await worker.meet(control)
        await worker.follow()
        hear = worker._changed

        def note(keys: Sequence[str], change: int, number: int = number, hear: object = hear) -> None:
            hear(keys, change)  # type: ignore[operator]
            told[number] = change

        worker.worker_side._on_change = note

    async def ask(number: int) -> None:
        least = told[number]
        resource = (await workers[number].resolve()).resource
        assert resource is not None
        assert resource.version >= least

    asking = []
    for _ in range(400):
        number = ledger.last + 1
        record = replace(SHOP, version=number)
        if ledger.chance.random() < 0.5:
            await control.commit("slug:shop", record)
            assert told == [number, number]
        else:
            ledger.commit("slug:shop", record)
            control.control_side.outbox_moved(None, ledger.last)
            await asyncio.sleep(
                ledger.chance.random() * 0.004
            )  # so that changes fall before, between and behind answers
        # Each begins a look-up of its own where the change has detached the one before, which is still under way.
        asking += [asyncio.create_task(ask(number)) for number in (0, 1)]
    await asyncio.gather(*asking)

    async def newest() -> bool:
        return [(await worker.resolve()).resource for worker in workers] == [record, record]

    async with asyncio.timeout(5):
        while not await newest():
            await asyncio.sleep(0.01)


async def test_what_was_told_by_the_control_process_is_not_told_again(
    worker: Worker, control: Control, ledger: HeldStore
) -> None:
    """The outbox has it too, and others' changes beside it: those are heard, once."""
    await control.commit("slug:shop", replace(SHOP, state=State.STOPPED))
    ledger.commit("slug:blog", make.resource("blog"))
    control.control_side.outbox_moved(None, ledger.last)
    await eventually(lambda: worker.told != [], "the other's is heard")
    assert worker.told == ["slug:blog"]
    assert worker.follower is not None
    assert worker.follower.position == ledger.last


async def test_without_a_control_process_it_knows_what_it_knew(
    worker: Worker, control: Control, ledger: HeldStore
) -> None:
    """Known hosts are served on, others are unavailable and never unknown; when there is one again it catches up."""
    assert await worker.state() is State.RUNNING
    await control.control_side.close()
    await eventually(lambda: not worker.worker_side._with_store, "it has gone")
    assert await worker.state() is State.RUNNING
    assert (await worker.resolve(b"other.miosa.app")).decision.problem is errors.RESOLVER_UNAVAILABLE
    worker.resolver.drop_all()
    assert await worker.state() is State.RUNNING
    ledger.commit("slug:shop", replace(SHOP, state=State.STOPPED))
    successor = Control(ledger)
    successor.control_side.serve_store(ledger, ledger)
    await worker.meet(successor)
    await eventually(lambda: worker.told == ["slug:shop"] or worker.gaps == 1, "it has caught up")
    assert await worker.state() is State.STOPPED
    assert (await worker.resolve(b"other.miosa.app")).decision.problem is errors.HOST_NOT_FOUND
    await successor.control_side.close()


async def test_a_successor_answers_before_the_one_that_goes(
    worker: Worker, control: Control, ledger: HeldStore
) -> None:
    """As soon as it can. What the other leaves unanswered it is asked again; nobody notices."""
    later = HeldStore()
    later.commit("slug:shop", replace(SHOP, state=State.PAUSED))
    successor = Control(later)
    await worker.meet(successor)
    ledger.hold = True
    asked = asyncio.create_task(worker.state())  # the successor has nothing to answer from yet
    await eventually(lambda: len(ledger.held) == 1, "it is asked of the old one")
    successor.control_side.serve_store(later, later)
    await eventually(lambda: len(worker.worker_side._with_store) == 2, "the new one answers")
    await control.control_side.close()
    assert await asked is State.PAUSED
    await successor.control_side.close()


async def test_whoever_is_there_already_is_asked(control: Control) -> None:
    """A worker that starts beside a control process which has long been ready."""
    worker = Worker()
    await worker.meet(control)
    await worker.follow()
    assert await worker.state() is State.RUNNING
    await worker.close()


async def test_a_start_in_the_middle_of_a_succession(control: Control, ledger: HeldStore) -> None:
    """Whoever starts beside a control process that is about to go waits for the one that comes; who serves does not."""
    worker, successor = Worker(), Control(ledger)
    await worker.meet(control)
    await worker.worker_side.until_ready(5)
    await control.control_side.close()
    starting = asyncio.create_task(worker.follow())
    await eventually(lambda: not worker.worker_side._with_store, "the old one has gone")
    await worker.meet(successor)
    successor.control_side.serve_store(ledger, ledger)
    async with asyncio.timeout(5):
        await starting
    assert await worker.state() is State.RUNNING
    await successor.control_side.close()
    await eventually(lambda: not worker.worker_side._with_store, "nobody is left")
    with pytest.raises(StoreUnavailableError, match="is away"):
        await worker.store.records.fetch(["slug:shop"])
    await worker.close()


async def test_nobody_to_ask(ledger: HeldStore) -> None:
    """A start without anybody who answers fails in time, also where there is one that has no store yet."""
    worker, silent = Worker(within=0.05), Control(ledger)
    with pytest.raises(StoreUnavailableError, match="did not answer"):
        await worker.store.feed.newest()
    await worker.meet(silent)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        await worker.worker_side.until_ready(0.05)
    await worker.close()
    await silent.control_side.close()


async def test_a_store_that_is_away_says_so(worker: Worker, ledger: HeldStore) -> None:
    """At once, in the store's words."""
    ledger.down = True
    with pytest.raises(StoreUnavailableError, match="switched off"):
        await worker.store.records.fetch(["slug:shop"])
    with pytest.raises(StoreUnavailableError, match="switched off"):
        await worker.store.feed.newest()


async def test_a_question_has_its_time(control: Control, ledger: HeldStore) -> None:
    """Here and there: what nobody waits for any more is not read on."""
    worker = Worker(within=0.1)
    await worker.meet(control)
    await worker.worker_side.until_ready(5)
    ledger.silent = True
    with pytest.raises(StoreUnavailableError, match=r"in time|within"):
        await worker.store.records.fetch(["slug:shop"])
    await eventually(lambda: not len(control.control_side._tasks), "it is read no more")
    ledger.silent = False
    async with asyncio.timeout(30):
        while True:
            with suppress(StoreUnavailableError):  # a tenth of a second may be over on a machine that stands still
                assert set(await worker.store.records.fetch(["slug:shop"])) == {"slug:shop"}
                break
    await worker.close()


async def test_one_record_that_can_not_be_read(worker: Worker, ledger: HeldStore) -> None:
    """It is no outage: those who asked for others at the same time get theirs."""
    ledger.stumbles_over = "slug:poison"
    with pytest.raises(FaultError, match="ZeroDivisionError"):
        await worker.store.records.fetch(["slug:poison"])
    good, bad = await asyncio.gather(worker.resolve(), worker.resolve(b"poison.miosa.app"))
    assert good.resource == SHOP
    assert bad.decision.problem is errors.RESOLVER_UNAVAILABLE


async def test_questions_do_not_pile_up(worker: Worker, control: Control, ledger: HeldStore) -> None:
    """So many of one worker at a time, each of so many keys; what is beyond fails at once."""
    ledger.hold = True
    asked = [asyncio.create_task(worker.store.records.fetch(["slug:shop"])) for _ in range(CONCURRENCY)]
    await eventually(lambda: len(ledger.held) == CONCURRENCY, "all are read")
    with pytest.raises(StoreUnavailableError, match="too many"):
        await worker.store.records.fetch(["slug:shop"])
    other = Worker()
    await other.meet(control)
    await other.worker_side.until_ready(5)
    ledger.hold = False
    assert set(await other.store.records.fetch(["slug:shop"])) == {"slug:shop"}
    for go in ledger.held:
        go.set()
    await asyncio.gather(*asked)
    with pytest.raises(FaultError, match="keys in one request"):
        await worker.store.records.fetch([f"slug:s{number}" for number in range(MAX_KEYS + 1)])
    await other.close()


async def test_what_a_token_of_a_ci_system_is_worth(worker: Worker, ledger: HeldStore) -> None:
    """Everything that was found out comes over; while nobody outside answers, records are read as ever, and what is beyond a
    few tokens fails at once."""
    good = CiVerdict(CiOutcome.ACCEPTED, (("rule-1", 1), ("rule-2", 7)), "repo:acme/shop", 12.5)
    ledger.ci_tokens["acme", "a.b.c"] = good
    client = VisitorsClient(worker.worker_side, within=5)
    assert await client.verify_ci_token("acme", "a.b.c") == good
    assert await client.verify_ci_token("rival", "a.b.c") == CiVerdict(CiOutcome.WRONG)
    ledger.may_verify.clear()
    asked = [asyncio.create_task(client.verify_ci_token("acme", "a.b.c")) for _ in range(CONCURRENCY)]
    await eventually(lambda: any(one.done() for one in asked), "some are beyond")
    assert set(await worker.store.records.fetch(["slug:shop"])) == {"slug:shop"}
    ledger.may_verify.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in answers} == {CiVerdict, StoreUnavailableError}
    assert await client.verify_ci_token("acme", "a.b.c") == good


async def test_a_link_is_used_up_once(worker: Worker, control: Control, ledger: HeldStore) -> None:
    """Of all workers' visitors that come at the same time one is the first."""
    ledger.links = {"once", "other"}
    other = Worker()
    await other.meet(control)
    await other.follow()
    clients = [VisitorsClient(one.worker_side, within=5) for one in (worker, other)]
    results = await asyncio.gather(*(client.use_up("once") for client in clients for _ in range(5)))
    assert sorted(results) == [False] * 9 + [True]
    assert ledger.links == {"other"}
    await other.close()


async def test_a_link_can_not_be_used_up_without_the_store(control: Control, ledger: HeldStore) -> None:
    """Whether the store is away, does not answer in time, or there is nobody to ask: an error, and neither yes nor no."""
    ledger.links = {"once"}
    worker = Worker()
    client = VisitorsClient(worker.worker_side, within=0.3)
    worker.worker_side.serving(True)
    with pytest.raises(StoreUnavailableError, match="away"):
        await client.use_up("once")
    await worker.meet(control)
    await worker.follow()
    ledger.down = True
    with pytest.raises(StoreUnavailableError, match="switched off"):
        await client.use_up("once")
    ledger.down, ledger.silent = False, True
    with pytest.raises(StoreUnavailableError, match=r"within 0\.3 s|in time"):
        await client.use_up("once")
    assert ledger.links == {"once"}
    await worker.close()


async def test_a_wake_is_asked_for_by_way_of_the_control_process(control: Control, ledger: HeldStore) -> None:
    """With all that the platform is told. Where the control process has nobody to ask, or is away, it is an error."""
    asked = list[tuple[str, int, Reason, str]]()

    class Noted:
        async def ask(self, resource_id: str, port: int, reason: Reason, request_id: str) -> None:
            asked.append((resource_id, port, reason, request_id))

    worker = Worker()
    client = WakeClient(worker.worker_side, within=5)
    worker.worker_side.serving(True)
    with pytest.raises(StoreUnavailableError, match="away"):
        await client.ask("id", 3000, Reason.WEBSOCKET, "req-1")
    await worker.meet(control)
    await worker.follow()
    with pytest.raises(StoreUnavailableError, match="nobody to ask"):
        await client.ask("id", 3000, Reason.WEBSOCKET, "req-1")
    control.control_side.serve_wakes(Noted())
    other = Worker()
    await other.meet(control)
    await other.follow()
    await WakeClient(other.worker_side, within=5).ask("id", 3000, Reason.WEBSOCKET, "req-1")
    assert asked == [("id", 3000, Reason.WEBSOCKET, "req-1")]
    await worker.close()
    await other.close()


async def test_whoever_gives_up_leaves_nothing(worker: Worker, ledger: HeldStore) -> None:
    """An answer that comes too late is nobody's."""
    ledger.hold = True
    asked = asyncio.create_task(worker.store.records.fetch(["slug:shop"]))
    await eventually(lambda: len(ledger.held) == 1, "it is read")
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    ledger.hold = False
    ledger.held[0].set()
    assert set(await worker.store.records.fetch(["slug:shop"])) == {"slug:shop"}
    assert [link._calls for link in worker.worker_side._channels] == [{}]


async def test_large_answers_arrive_whole(worker: Worker, ledger: HeldStore) -> None:
    """A logo may have 64 KiB, and a round trip some thirty records."""
    records = [
        make.resource(f"s{number}", branding={"logo": "x" * 65536, "accent": str(number)}) for number in range(36)
    ]
    for record in records:
        ledger.commit(f"slug:{record.slug}", record)
    keys = [f"slug:{record.slug}" for record in records]
    assert await worker.store.records.fetch_versioned(keys) == await ledger.fetch_versioned(keys)


async def test_a_change_of_another_node_reaches_workers_with_its_keys(
    worker: Worker, control: Control, ledger: HeldStore
) -> None:
    """One message to each worker: no worker asks back, and the store is not read again for it."""
    assert worker.follower is not None
    asked = count_requests(control)
    control.control_side.outbox_moved(None, ledger.last)
    await eventually(lambda: asked == ["after"], "it looks where it is not known what changed")
    await eventually(lambda: not len(control.control_side._tasks), "it has its answer")
    worker.follower._watch._poll_at = float("inf")  # type: ignore[attr-defined]  # its look once in a second comes later
    asked.clear()
    for slug in ("blog", "docs"):
        number = ledger.commit(f"slug:{slug}", make.resource(slug))
        control.control_side.outbox_moved(Touched([f"slug:{slug}"], [f"slug:{slug}"]), number)
    await eventually(lambda: worker.told == ["slug:blog", "slug:docs"], "both are told")
    assert worker.follower.position == ledger.last
    assert asked == []


async def test_a_worker_that_missed_something_asks(worker: Worker, control: Control, ledger: HeldStore) -> None:
    """The keys of a later change alone would hide the one before it."""
    control.control_side.outbox_moved(None, ledger.last)
    ledger.commit("slug:blog", make.resource("blog"))
    control.control_side._outbox = ledger.last  # one message is lost
    number = ledger.commit("slug:docs", make.resource("docs"))
    control.control_side.outbox_moved(Touched(["slug:docs"]), number)
    await eventually(lambda: worker.told == ["slug:blog", "slug:docs"], "both are told")


def count_requests(control: Control) -> list[str]:
    """The requests that workers send from now on."""
    asked: list[str] = []
    for one in control.control_side._workers:
        assert one.server is not None
        answer = one.server.answer

        def note(request: StoreRequest[Message], answer: object = answer) -> object:
            asked.append(request.do)
            return answer(request)  # type: ignore[operator]

        one.server.answer = note  # type: ignore[assignment, method-assign]
    return asked
