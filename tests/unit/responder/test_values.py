"""What the store says, kept for a second."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.responder.values import CurrentValues
from tests.support.responder_zone import TOKEN, VALUES

pytestmark = pytest.mark.asyncio


class Rows:
    """Counts how often it is read. `gate` holds a reading up."""

    def __init__(self) -> None:
        self.reads = 0
        self.values: Mapping[str, Sequence[str]] = VALUES
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def open_values(self) -> Mapping[str, Sequence[str]]:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.values


async def test_one_reading_a_second() -> None:
    """Whatever is asked meanwhile; and those that ask at the same time share it."""
    rows, clock = Rows(), ManualClock()
    values = CurrentValues(rows, clock)
    assert values.peek() is None
    first, second = values.read(), values.read()
    assert first is second
    assert (await first).values == VALUES
    for _ in range(10):
        clock.advance(0.09)
        known = values.peek()
        assert known is not None
        assert known.values == VALUES
    assert rows.reads == 1
    clock.advance(0.2)
    assert values.peek() is None
    await values.close()


async def test_a_second_counts_from_the_beginning_of_a_reading() -> None:
    """What the store said may be as old as that."""
    rows, clock = Rows(), ManualClock()
    rows.gate = asyncio.Event()
    values = CurrentValues(rows, clock)
    reading = values.read()
    await asyncio.sleep(0)
    clock.advance(0.9)
    rows.gate.set()
    await reading
    assert values.peek() is not None
    clock.advance(0.2)
    assert values.peek() is None
    await values.close()


@pytest.mark.parametrize("error", [StoreUnavailableError("gone"), ZeroDivisionError()])
async def test_a_store_that_is_away(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Is known to be away without waiting for it, until it answers again; it is tried once a second."""
    rows, clock = Rows(), ManualClock()
    rows.error = error
    values = CurrentValues(rows, clock)
    assert (await values.read()).values is None
    known = values.peek()
    assert known is not None
    assert (known.values, rows.reads) == (None, 1)
    clock.advance(1.1)
    rows.error = None
    known = values.peek()
    assert known is not None
    assert known.values is None
    await values.read()
    known = values.peek()
    assert known is not None
    assert (known.values, rows.reads) == (VALUES, 2)
    await values.close()


async def test_a_store_that_hangs() -> None:
    """Is away after a while, and is asked again."""
    rows, clock = Rows(), ManualClock()
    rows.gate = asyncio.Event()
    values = CurrentValues(rows, clock, within=0.01)
    assert (await values.read()).values is None
    rows.gate = None
    assert (await values.read()).values == {TOKEN: VALUES[TOKEN]}
    await values.close()
