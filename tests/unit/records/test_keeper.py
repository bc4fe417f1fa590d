"""The keeper: packs into a store, whatever happens to that."""

import uuid

import pytest

from router.base.clock import ManualClock
from router.observe.metrics import Metrics
from router.records import keeper as keeping
from router.records.keeper import Keeper
from router.records.packing import pack
from tests.support.request_records import ACME, DESK, SHOP, MemoryKept, exchange, led
from tests.unit.observe.test_recorder import value

pytestmark = pytest.mark.asyncio


@pytest.fixture
def kept() -> MemoryKept:
    return MemoryKept()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keeper(kept: MemoryKept, clock: ManualClock, metrics: Metrics) -> Keeper:
    return Keeper(kept, 1000, clock, metrics)


async def test_packs_become_records_and_numbers(keeper: Keeper, kept: MemoryKept, metrics: Metrics) -> None:
    """In the order in which they came; the numbers are exact whatever is sampled."""
    keeper.take(pack([exchange(id=b"a"), exchange(id=b"b")]))
    keeper.take(pack([exchange(id=b"c")]))
    await keeper.flush()
    assert [one[4] for one in kept.records] == ["a", "b", "c"]
    assert sum(one.requests for one in kept.numbers) == 3
    assert value(metrics, 'request_records_total{result="stored"}') == 3


async def test_an_outage_loses_nothing_at_first(
    keeper: Keeper, kept: MemoryKept, clock: ManualClock, metrics: Metrics
) -> None:
    """What came before and during it is stored when the store is back, once."""
    kept.away = True
    for number in range(3):
        keeper.take(pack([exchange(id=b"%d" % number)]))
        await keeper.flush()
    assert kept.records == []
    kept.away = False
    clock.advance(10)
    await keeper.flush()
    assert [one[4] for one in kept.records] == ["0", "1", "2"]
    assert sum({one.part: one.requests for one in kept.numbers}.values()) == 3
    assert value(metrics, 'request_records_total{result="lost"}') == 0


async def test_a_long_outage_leaves_a_gap(
    keeper: Keeper, kept: MemoryKept, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: what is lost is counted, and told to whom it belonged."""
    first = pack([exchange(id=b"kept")])
    monkeypatch.setattr(keeping, "_MAX_WAITING", len(first))
    keeper.take(first)
    keeper.take(pack([exchange(), exchange(), exchange(route=led(DESK))]))
    await keeper.flush()
    assert kept.records[0][4] == "kept"
    assert kept.lost() == {SHOP.bytes: 2, DESK.bytes: 1}
    assert {one[0] for one in kept.records} == {ACME.bytes}
    assert value(metrics, 'request_records_total{result="lost"}') == 3


async def test_what_a_worker_lost_is_a_gap_too(keeper: Keeper, kept: MemoryKept) -> None:
    """It says so with the first pack that gets through."""
    keeper.lose({(ACME.bytes, SHOP.bytes): 5})
    await keeper.flush()
    assert kept.lost() == {SHOP.bytes: 5}


async def test_a_pack_that_cannot_be_read_is_counted(keeper: Keeper, kept: MemoryKept, metrics: Metrics) -> None:
    """The others are stored."""
    keeper.take(b"no pack")
    keeper.take(pack([exchange(id=b"a")]))
    await keeper.flush()
    assert [one[4] for one in kept.records] == ["a"]
    assert value(metrics, 'request_records_total{result="lost"}') == 1


async def test_closing_stores_what_waits(keeper: Keeper, kept: MemoryKept) -> None:
    """The last requests before a restart are there after it, with their numbers."""
    keeper.start()
    keeper.take(pack([exchange(id=b"last")]))
    await keeper.close()
    assert [one[4] for one in kept.records] == ["last"]
    assert sum(one.requests for one in kept.numbers) == 1


async def test_many_resources_that_lose_records_are_counted_together() -> None:
    """So that an outage takes no memory by their number."""
    lost: keeping.Lost = {}
    for number in range(keeping._MAX_LOST + 5):
        keeping.add_lost(lost, {(ACME.bytes, uuid.UUID(int=number).bytes): 1})
    assert len(lost) == keeping._MAX_LOST + 1
    assert lost[b"", b""] == 5
