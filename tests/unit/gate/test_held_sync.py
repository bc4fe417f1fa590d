"""Memory follows the store's held certificates."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.base.secret_box import SecretBox
from router.errors import StoreUnavailableError
from router.gate import held_sync
from router.gate.handover import HandOver
from router.gate.held_sync import HeldSync
from router.gate.held_table import HeldTable
from router.observe.metrics import Metrics
from tests.support.held_table import BOX, MemoryHeldLog, a_row, removed
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio


class Following:
    """A sync with all that it needs at hand."""

    def __init__(self, box: SecretBox = BOX) -> None:
        self.clock = ManualClock()
        self.log = MemoryHeldLog()
        self.table = HeldTable(box, self.clock)
        self.handover = HandOver(self.table, self.clock)
        self.metrics = Metrics()
        self.sync = HeldSync(
            log=self.log, table=self.table, handover=self.handover, metrics=self.metrics, clock=self.clock
        )

    def metric(self, name: str) -> list[str]:
        lines = self.metrics.render("")[0].decode().splitlines()
        return [line.removeprefix("miosa_router_") for line in lines if line.startswith(f"miosa_router_{name}")]


@pytest_asyncio.fixture
async def following(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Following]:
    monkeypatch.setattr(held_sync, "POLL_INTERVAL", 0.005)
    made = Following()
    yield made
    await made.sync.close()


async def test_everything_is_there_when_the_start_is_over(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in parts, and only what was not removed."""
    monkeypatch.setattr(held_sync, "PART", 7)
    for number in range(25):
        following.log.put(a_row(f"z{number}.org", following.clock.now()))
    following.log.put(removed(a_row("gone.org", following.clock.now())))
    await following.sync.start()
    assert (len(following.table), following.handover.complete) == (25, True)
    assert following.log.reads == 4
    assert following.metric("held_certificates{") == [
        'held_certificates{origin="managed"} 25.0',
        'held_certificates{origin="uploaded"} 0.0',
    ]


async def test_changes_are_followed(following: Following) -> None:
    """A new one, a renewed one, and one that was removed: dropped at the next read."""
    await following.sync.start()
    row = a_row("z.org", following.clock.now())
    following.log.put(row)
    await eventually(lambda: following.table.has("a.z.org"), "it is there")
    following.log.put(a_row("z.org", following.clock.now(), not_after=following.clock.now() - timedelta(days=1)))
    await eventually(lambda: not following.table.has("a.z.org"), "another is in its place")
    following.log.put(row)
    await eventually(lambda: following.table.has("a.z.org"), "and another")
    following.log.put(removed(row))
    await eventually(lambda: len(following.table) == 0, "it is gone")


async def test_a_store_that_is_away_takes_nothing_away(following: Following) -> None:
    """What is known goes on being served; the log says so once, and once when it is back."""
    following.log.put(a_row("z.org", following.clock.now()))
    await following.sync.start()
    with capture_logs() as lines:
        following.log.error = StoreUnavailableError("gone")
        reads = following.log.reads
        await eventually(lambda: following.log.reads > reads + 3, "it was tried again and again")
        assert following.table.has("a.z.org")
        following.log.put(a_row("y.org", following.clock.now()))
        following.log.error = None
        await eventually(lambda: following.table.has("a.y.org"), "it goes on")
    assert [line["event"] for line in lines] == ["held certificates not read", "held certificates read again"]


async def test_a_start_without_a_store_serves_nothing_and_begins_nothing(following: Following) -> None:
    """Until the store has been read no host gets a certificate of its own: its zone's may be there."""
    following.log.error = StoreUnavailableError("gone")
    following.log.put(a_row("z.org", following.clock.now()))
    await following.sync.start()
    assert (len(following.table), following.handover.complete) == (0, False)
    following.log.error = None
    await eventually(lambda: following.handover.complete, "it was read")
    assert following.table.has("a.z.org")


async def test_a_start_waits_for_a_slow_store_only_so_long(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes on where it was broken off."""
    monkeypatch.setattr(held_sync, "_START_TIMEOUT", 0.01)
    read, slow = following.log.changes_since, asyncio.Event()

    async def slowly(*given: object) -> object:
        await slow.wait()
        return await read(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(following.log, "changes_since", slowly)
    following.log.put(a_row("z.org", following.clock.now()))
    await following.sync.start()
    assert not following.handover.complete
    slow.set()
    await eventually(lambda: following.table.has("a.z.org"), "it was read")


async def test_a_key_that_this_node_lacks_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one line without the key, and by the metric; the others are served, and the line comes again after all could be opened."""
    monkeypatch.setattr(held_sync, "POLL_INTERVAL", 0.005)
    following = Following()
    other = SecretBox([b"another key, of as many bytes !!"])
    lost = [a_row(f"lost{number}.org", following.clock.now(), box=other) for number in range(3)]
    with capture_logs() as lines:
        for row in lost:
            following.log.put(row)
        following.log.put(a_row("z.org", following.clock.now()))
        await following.sync.start()
        assert following.metric("held_certificates_unreadable") == ["held_certificates_unreadable 3.0"]
        assert following.table.has("a.z.org")
        assert not following.table.has("a.lost0.org")
        assert [following.handover.lacks_key(zone) for zone in ("lost0.org", "z.org")] == [True, False]
        assert [(line["event"], line["domain"]) for line in lines] == [
            ("key of a held certificate can't be opened: it is not served", "lost0.org")
        ]
        assert lost[0].sealed_key not in str(lines)
        for row in lost:
            following.log.put(removed(row))
        await eventually(
            lambda: following.metric("held_certificates_unreadable") == ["held_certificates_unreadable 0.0"], "all open"
        )
        following.log.put(lost[0])
        await eventually(lambda: len(lines) == 2, "it is said again")
    await following.sync.close()


@pytest.mark.parametrize("wrong", ["clock", "database"])
async def test_a_clock_that_jumps_has_everything_read_again(following: Following, wrong: str) -> None:
    """What was removed meanwhile is not among it, and is dropped."""
    row = a_row("z.org", following.clock.now())
    following.log.put(row)
    following.log.put(a_row("y.org", following.clock.now()))
    await following.sync.start()
    following.log.rows = [one for one in following.log.rows if one[1] is not row]
    if wrong == "clock":
        following.clock.set_ahead(3600)
    else:
        following.log.now -= 600
    await eventually(lambda: not following.table.has("a.z.org"), "it is dropped")
    assert following.table.has("a.y.org")
