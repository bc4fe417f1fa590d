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
from router.clock import SystemClock
from router.crew import AskedStore, Crew, Membership
from router.crew.answers import AT_ONCE, MOST_KEYS
from router.crew.member import FaultError
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.routes.follower import OutboxFollower
from router.routes.records import Record, Snapshot, State
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Cache
from tests.support import records as make
from tests.support.ledger import Ledger
from tests.support.records import PLATFORM
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio

SHOP = make.resource("shop")
HOST = f"shop.{PLATFORM}".encode()


class HeldLedger(Ledger):
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

    def __init__(self, ledger: Ledger, size: int = 1) -> None:
        self.ledger = ledger
        self.crew = Crew(size, metrics=Metrics(0), clock=SystemClock(), on_https=lambda _host, _at: None)

    async def commit(self, key: str, record: Record | None) -> None:
        """Through the API: every worker knows when this returns."""
        self.crew.announce([key], self.ledger.commit(key, record))
        await self.crew.settled()


class Worker:
    """What a worker has: its resolver and its follower on what it asks."""

    def __init__(self, within: float = 5.0) -> None:
        clock = SystemClock()
        self.follower: OutboxFollower | None = None
        self.membership = Membership(
            on_change=self._changed, used=lambda _: {}, https=lambda _: {}, figures=lambda: None
        )
        self.store = AskedStore(self.membership, clock, within=within)
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
        await control.crew.join(ours, 1)
        await self.membership.join(theirs)

    async def follow(self) -> None:
        await self.membership.met(5)
        self.follower = self.store.follow(self._hear, self._gap)
        await self.follower.start()
        self.membership.serving(True)

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
        self.membership.close()
        await self.resolver.close()

    def _changed(self, keys: Sequence[str], number: int) -> None:
        if self.follower is not None:
            self.follower.committed(keys, number)
        self.resolver.drop(keys)

    def _hear(self, keys: Sequence[str]) -> None:
        self.told += keys
        self.resolver.drop(keys)

    def _gap(self) -> None:
        self.gaps += 1
        self.resolver.drop_all()


@pytest.fixture
def ledger() -> HeldLedger:
    made = HeldLedger()
    made.commit("slug:shop", SHOP)
    return made


@pytest_asyncio.fixture
async def control(ledger: HeldLedger) -> AsyncIterator[Control]:
    made = Control(ledger)
    made.crew.answer(ledger)
    yield made
    await made.crew.close()


@pytest_asyncio.fixture
async def worker(control: Control) -> AsyncIterator[Worker]:
    made = Worker()
    await made.meet(control)
    await made.follow()
    yield made
    await made.close()


async def test_records_come_with_their_versions(worker: Worker, ledger: HeldLedger) -> None:
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


async def test_the_outbox_comes_as_it_is(worker: Worker, ledger: HeldLedger) -> None:
    """Numbers, keys and instants."""
    ledger.commit("slug:blog", make.resource("blog"))
    assert await worker.store.feed.after(0, 10) == await ledger.after(0, 10)
    assert await worker.store.feed.after(0, 1) == await ledger.after(0, 1)
    assert (await worker.store.feed.newest(), await worker.store.feed.oldest()) == (2, 1)


@pytest.mark.parametrize("through", ["this node", "another"])
async def test_an_answer_from_before_a_change_is_not_kept(
    worker: Worker, control: Control, ledger: HeldLedger, through: str
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
        control.crew.moved()
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


class SlowLedger(Ledger):
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
    ledger = SlowLedger()
    control, workers = Control(ledger, 2), [Worker(), Worker()]
    stack.push_async_callback(control.crew.close)
    for worker in workers:
        stack.push_async_callback(worker.close)
    control.crew.answer(ledger)
    ledger.commit("slug:shop", replace(SHOP, version=0))
    told = [0, 0]  # the newest version that each has been told of
    for number, worker in enumerate(workers):
        await worker.meet(control)
        await worker.follow()
        hear = worker._changed

        def note(keys: Sequence[str], change: int, number: int = number, hear: object = hear) -> None:
            hear(keys, change)  # type: ignore[operator]
            told[number] = change

        worker.membership._on_change = note

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
            control.crew.moved()
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
    worker: Worker, control: Control, ledger: HeldLedger
) -> None:
    """The outbox has it too, and others' changes beside it: those are heard, once."""
    await control.commit("slug:shop", replace(SHOP, state=State.STOPPED))
    ledger.commit("slug:blog", make.resource("blog"))
    control.crew.moved()
    await eventually(lambda: worker.told != [], "the other's is heard")
    assert worker.told == ["slug:blog"]
    assert worker.follower is not None
    assert worker.follower.position == ledger.last


async def test_without_a_control_process_it_knows_what_it_knew(
    worker: Worker, control: Control, ledger: HeldLedger
) -> None:
    """Known hosts are served on, others are unavailable and never unknown; when there is one again it catches up."""
    assert await worker.state() is State.RUNNING
    await control.crew.close()
    await eventually(lambda: not worker.membership._answering, "it has gone")
    assert await worker.state() is State.RUNNING
    assert (await worker.resolve(b"other.miosa.app")).decision.problem is errors.RESOLVER_UNAVAILABLE
    worker.resolver.drop_all()
    assert await worker.state() is State.RUNNING
    ledger.commit("slug:shop", replace(SHOP, state=State.STOPPED))
    successor = Control(ledger)
    successor.crew.answer(ledger)
    await worker.meet(successor)
    await eventually(lambda: worker.told == ["slug:shop"] or worker.gaps == 1, "it has caught up")
    assert await worker.state() is State.STOPPED
    assert (await worker.resolve(b"other.miosa.app")).decision.problem is errors.HOST_NOT_FOUND
    await successor.crew.close()


async def test_a_successor_answers_before_the_one_that_goes(
    worker: Worker, control: Control, ledger: HeldLedger
) -> None:
    """As soon as it can. What the other leaves unanswered it is asked again; nobody notices."""
    later = HeldLedger()
    later.commit("slug:shop", replace(SHOP, state=State.PAUSED))
    successor = Control(later)
    await worker.meet(successor)
    ledger.hold = True
    asked = asyncio.create_task(worker.state())  # the successor has nothing to answer from yet
    await eventually(lambda: len(ledger.held) == 1, "it is asked of the old one")
    successor.crew.answer(later)
    await eventually(lambda: len(worker.membership._answering) == 2, "the new one answers")
    await control.crew.close()
    assert await asked is State.PAUSED
    await successor.crew.close()


async def test_whoever_is_there_already_is_asked(control: Control) -> None:
    """A worker that starts beside a control process which has long been ready."""
    worker = Worker()
    await worker.meet(control)
    await worker.follow()
    assert await worker.state() is State.RUNNING
    await worker.close()


async def test_a_start_in_the_middle_of_a_succession(control: Control, ledger: HeldLedger) -> None:
    """Whoever starts beside a control process that is about to go waits for the one that comes; who serves does not."""
    worker, successor = Worker(), Control(ledger)
    await worker.meet(control)
    await worker.membership.met(5)
    await control.crew.close()
    starting = asyncio.create_task(worker.follow())
    await eventually(lambda: not worker.membership._answering, "the old one has gone")
    await worker.meet(successor)
    successor.crew.answer(ledger)
    async with asyncio.timeout(5):
        await starting
    assert await worker.state() is State.RUNNING
    await successor.crew.close()
    await eventually(lambda: not worker.membership._answering, "nobody is left")
    with pytest.raises(StoreUnavailableError, match="is away"):
        await worker.store.records.fetch(["slug:shop"])
    await worker.close()


async def test_nobody_to_ask(ledger: HeldLedger) -> None:
    """A start without anybody who answers fails in time, also where there is one that has no store yet."""
    worker, silent = Worker(within=0.05), Control(ledger)
    with pytest.raises(StoreUnavailableError, match="did not answer"):
        await worker.store.feed.newest()
    await worker.meet(silent)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        await worker.membership.met(0.05)
    await worker.close()
    await silent.crew.close()


async def test_a_store_that_is_away_says_so(worker: Worker, ledger: HeldLedger) -> None:
    """At once, in the store's words."""
    ledger.down = True
    with pytest.raises(StoreUnavailableError, match="switched off"):
        await worker.store.records.fetch(["slug:shop"])
    with pytest.raises(StoreUnavailableError, match="switched off"):
        await worker.store.feed.newest()


async def test_a_question_has_its_time(control: Control, ledger: HeldLedger) -> None:
    """Here and there: what nobody waits for any more is not read on."""
    worker = Worker(within=0.1)
    await worker.meet(control)
    await worker.membership.met(5)
    ledger.silent = True
    with pytest.raises(StoreUnavailableError, match=r"in time|within"):
        await worker.store.records.fetch(["slug:shop"])
    await eventually(lambda: not len(control.crew._tasks), "it is read no more")
    ledger.silent = False
    assert set(await worker.store.records.fetch(["slug:shop"])) == {"slug:shop"}
    await worker.close()


async def test_one_record_that_can_not_be_read(worker: Worker, ledger: HeldLedger) -> None:
    """It is no outage: those who asked for others at the same time get theirs."""
    ledger.stumbles_over = "slug:poison"
    with pytest.raises(FaultError, match="ZeroDivisionError"):
        await worker.store.records.fetch(["slug:poison"])
    good, bad = await asyncio.gather(worker.resolve(), worker.resolve(b"poison.miosa.app"))
    assert good.resource == SHOP
    assert bad.decision.problem is errors.RESOLVER_UNAVAILABLE


async def test_questions_do_not_pile_up(worker: Worker, control: Control, ledger: HeldLedger) -> None:
    """So many of one worker at a time, each of so many keys; what is beyond fails at once."""
    ledger.hold = True
    asked = [asyncio.create_task(worker.store.records.fetch(["slug:shop"])) for _ in range(AT_ONCE)]
    await eventually(lambda: len(ledger.held) == AT_ONCE, "all are read")
    with pytest.raises(StoreUnavailableError, match="too many"):
        await worker.store.records.fetch(["slug:shop"])
    other = Worker()
    await other.meet(control)
    await other.membership.met(5)
    ledger.hold = False
    assert set(await other.store.records.fetch(["slug:shop"])) == {"slug:shop"}
    for go in ledger.held:
        go.set()
    await asyncio.gather(*asked)
    with pytest.raises(FaultError, match="keys in one question"):
        await worker.store.records.fetch([f"slug:s{number}" for number in range(MOST_KEYS + 1)])
    await other.close()


async def test_whoever_gives_up_leaves_nothing(worker: Worker, ledger: HeldLedger) -> None:
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
    assert [link._calls for link in worker.membership._links] == [{}]


async def test_large_answers_arrive_whole(worker: Worker, ledger: HeldLedger) -> None:
    """A logo may have 64 KiB, and a round trip some thirty records."""
    records = [
        make.resource(f"s{number}", branding={"logo": "x" * 65536, "accent": str(number)}) for number in range(36)
    ]
    for record in records:
        ledger.commit(f"slug:{record.slug}", record)
    keys = [f"slug:{record.slug}" for record in records]
    assert await worker.store.records.fetch_versioned(keys) == await ledger.fetch_versioned(keys)
