"""What a node sees of its store, clock, disk and certificates, as metrics."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.node.surroundings import Surroundings
from router.observe.metrics import Metrics

pytestmark = pytest.mark.asyncio


class Database:
    """Its clock, 5 s behind ours, and one failed name."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.down = False
        self.counted = 0

    async def time(self) -> float:
        if self.down:
            raise StoreUnavailableError("switched off")
        return self._clock.now().timestamp() - 5.0

    async def count_by_state(self, now: float) -> Mapping[str, int]:
        self.counted += 1
        return {"failed": 1}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def shown(metrics: Metrics, name: str) -> str:
    """The value of a series."""
    lines = metrics.render("")[0].decode().splitlines()
    (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(f"miosa_router_{name} ")]
    return value


async def test_store_that_is_away_is_shown_until_it_is_back(metrics: Metrics) -> None:
    """And the offset of the clock stays what it was."""
    clock = ManualClock()
    database = Database(clock)
    surroundings = Surroundings(database, database, folders=(), metrics=metrics, clock=clock)
    await surroundings.look()
    assert shown(metrics, "store_available") == "1.0"
    assert shown(metrics, "clock_offset_seconds") == "5.0"
    database.down = True
    await surroundings.look()
    assert shown(metrics, "store_available") == "0.0"
    assert shown(metrics, "clock_offset_seconds") == "5.0"
    database.down = False
    await surroundings.look()
    assert shown(metrics, "store_available") == "1.0"


async def test_certificates_are_counted_seldom(metrics: Metrics) -> None:
    """Every five minutes, since each count reads all of them."""
    clock = ManualClock()
    database = Database(clock)
    surroundings = Surroundings(database, database, folders=(), metrics=metrics, clock=clock)
    for _ in range(3):
        await surroundings.look()
        clock.advance(149.0)
    assert database.counted == 1
    clock.advance(2.0)
    await surroundings.look()
    assert database.counted == 2
    assert shown(metrics, 'certificates{state="failed"}') == "1.0"


async def test_folder_without_room_is_shown(metrics: Metrics, tmp_path: Path) -> None:
    """One that is gone is none with room."""
    clock = ManualClock()
    surroundings = Surroundings(Database(clock), None, folders=[tmp_path], metrics=metrics, clock=clock)
    await surroundings.look()
    assert shown(metrics, "disk_low") == "0.0"
    tmp_path.rmdir()
    clock.advance(5.0)
    await surroundings.look()
    assert shown(metrics, "disk_low") == "1.0"
