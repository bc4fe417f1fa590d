"""The keeper: packs into a store, whatever happens to that."""

import uuid
from base64 import b64encode

import pytest

from router.base.clock import ManualClock
from router.base.secret_box import SecretBox
from router.observe.metrics import Metrics
from router.records import keeper as keeping
from router.records import lost as lost_records
from router.records.captures import CaptureCodec
from router.records.keeper import Keeper
from router.records.masking import Masks
from router.records.packing import pack
from router.records.record import CAPTURED, REPLAY
from router.records.totals import WHOLE
from tests.support.request_records import ACME, DESK, SHOP, MemoryKept, exchange, led, told
from tests.support.waiting import eventually
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
    assert sum(one.requests for one in kept.numbers if one.route != WHOLE) == 3
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
    assert sum({one.part: one.requests for one in kept.numbers if one.route != WHOLE}.values()) == 3
    assert value(metrics, 'request_records_total{result="lost"}') == 0


async def test_a_fault_of_ours_ends_no_recording(
    keeper: Keeper, kept: MemoryKept, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is given up and counted; what comes next is stored, behind a gap that says how much is missing."""
    monkeypatch.setattr(keeping, "STORE_EVERY", 0.01)
    store = kept.append

    async def broken(*_: object) -> None:
        kept.append = store  # type: ignore[method-assign]
        raise AttributeError("a driver's fault")

    kept.append = broken  # type: ignore[method-assign,assignment]
    keeper.take(pack([exchange(id=b"a"), exchange(id=b"b")]))
    keeper.start()
    await eventually(lambda: kept.append == store, "the first batch was tried")
    keeper.take(pack([exchange(id=b"c")]))
    await eventually(lambda: "c" in [one[4] for one in kept.records], "the next one is stored")
    await keeper.close()
    assert kept.lost() == {SHOP.bytes: 2}
    assert value(metrics, 'request_records_total{result="lost"}') == 2


async def test_a_keeper_rests_while_nothing_comes(
    keeper: Keeper, kept: MemoryKept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks when it starts, when something has come, and at the end."""
    monkeypatch.setattr(keeping, "STORE_EVERY", 0.001)
    rounds, work = 0, keeper._round

    async def count() -> None:
        nonlocal rounds
        rounds += 1
        await work()

    monkeypatch.setattr(keeper, "_round", count)
    keeper.start()
    await eventually(lambda: rounds == 1, "it has looked")
    for number in range(1, 4):
        keeper.take(pack([exchange(id=b"%d" % number)]))
        await eventually(lambda number=number: len(kept.records) == number, "it is stored")
        assert rounds == 1 + number
    await keeper.close()
    assert rounds == 5


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
    assert sum(one.requests for one in kept.numbers if one.route != WHOLE) == 1


async def test_many_resources_that_lose_records_are_counted_together() -> None:
    """So that an outage takes no memory by their number."""
    lost: lost_records.Lost = {}
    for number in range(lost_records._MAX_LOST + 5):
        lost_records.add_lost(lost, {(ACME.bytes, uuid.UUID(int=number).bytes): 1})
    assert len(lost) == lost_records._MAX_LOST + 1
    assert lost[b"", b""] == 5


@pytest.fixture
def capturing(kept: MemoryKept, clock: ManualClock, metrics: Metrics) -> Keeper:
    return Keeper(kept, 1000, clock, metrics, CaptureCodec(Masks(), SecretBox()))


async def test_captures_are_stored_without_secrets(capturing: Keeper, kept: MemoryKept, metrics: Metrics) -> None:
    """What can't be read is counted, and keeps nothing else from being stored."""
    assert capturing.take_capture(told())
    assert capturing.take_capture({"tenant": "nobody"})
    assert capturing.take_capture(told(request_id="b"))
    await capturing.flush()
    assert [one.request_id for one in kept.captures] == ["req-0", "b"]
    assert "hush" not in str(kept.captures)
    assert b64encode(b"hush").decode()[:5] not in str(kept.captures)
    assert value(metrics, 'request_captures_total{result="stored"}') == 2
    assert value(metrics, 'request_captures_total{result="lost"}') == 1


async def test_captures_wait_for_the_store_up_to_a_bound(capturing: Keeper, kept: MemoryKept) -> None:
    """What comes on top is not taken; records and captures are stored when it is back, once."""
    kept.away = True
    taken = 0
    while capturing.take_capture(told(request_id=str(taken))):
        taken += 1
    assert taken == keeping._MAX_CAPTURES
    await capturing.flush()
    await capturing.flush()
    assert kept.captures == []
    kept.away = False
    capturing.take(pack([exchange(id=b"a")]))
    await capturing.flush()
    assert [one.request_id for one in kept.captures] == [str(number) for number in range(taken)]
    assert [one[4] for one in kept.records] == ["a"]


async def test_captures_that_nobody_wants(keeper: Keeper) -> None:
    """Without what masks them none is taken."""
    assert not keeper.take_capture(told())


async def test_what_was_captured_is_never_sampled_out(kept: MemoryKept, clock: ManualClock, metrics: Metrics) -> None:
    """Its record says where the capture is; the same of a replay."""
    flooded = Keeper(kept, 1, clock, metrics)
    marks = [0, 0, 0, CAPTURED, 0, REPLAY, 0]
    flooded.take(pack([exchange(id=b"%d" % number, marks=mark) for number, mark in enumerate(marks)]))
    await flooded.flush()
    assert [one[4] for one in kept.records] == ["0", "3", "5"]
