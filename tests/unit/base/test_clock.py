"""The clocks: one for durations, one for dates, and a twin that stands still."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from router.base.clock import Clock, ClockWatch, ManualClock, SystemClock, iso


def test_the_system_clock_reads_the_machine() -> None:
    """Durations never go back; dates are the machine's, in UTC."""
    clock: Clock = SystemClock()
    before, now, after = time.monotonic(), clock.monotonic(), time.monotonic()
    assert before <= now <= after
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_manual_clock_moves_both_hands_when_told() -> None:
    """It stands still in between."""
    clock: ManualClock = ManualClock(datetime(2026, 5, 17, 10, tzinfo=UTC))
    start = clock.monotonic()
    assert clock.now() == clock.now() == datetime(2026, 5, 17, 10, tzinfo=UTC)
    clock.advance(1.5)
    clock.advance(0)
    assert clock.monotonic() - start == 1.5
    assert clock.now() == datetime(2026, 5, 17, 10, 0, 1, 500_000, tzinfo=UTC)


def test_a_manual_clock_does_not_go_back() -> None:
    """Code under test may rely on time that only grows."""
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-0.1)


@pytest.mark.parametrize(
    ("instant", "shown"),
    [
        (datetime(2026, 5, 17, 10, tzinfo=UTC), "2026-05-17T10:00:00Z"),
        (datetime(2026, 5, 17, 10, 0, 0, 999_999, tzinfo=UTC), "2026-05-17T10:00:00Z"),
        (datetime(2026, 5, 17, 1, tzinfo=timezone(timedelta(hours=2))), "2026-05-16T23:00:00Z"),
        (datetime(99, 12, 18, 8, tzinfo=UTC), "0099-12-18T08:00:00Z"),
    ],
)
def test_times_are_shown_in_utc(instant: datetime, shown: str) -> None:
    """Whole seconds, UTC, with a Z."""
    assert iso(instant) == shown


def test_a_time_without_a_zone_is_not_shown() -> None:
    """Nobody could say which instant it is."""
    with pytest.raises(ValueError, match="naive"):
        iso(datetime(2026, 5, 17))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize("seconds", [3 * 3600.0, 100 * 86400.0, -600.0])
def test_a_jump_of_the_date_is_noticed(seconds: float) -> None:
    """By whoever looks next, and it is in doubt for a day; time that passes is no jump, nor is a correction of seconds."""
    clock = ManualClock()
    watch = ClockWatch(clock)
    clock.advance(1e6)
    clock.set_ahead(2)
    assert not watch.look()
    assert watch.doubt is None
    clock.set_ahead(seconds)
    assert f"{seconds:+.0f} s" in (watch.doubt or "")
    assert watch.since == clock.now()
    assert not watch.look()
    clock.advance(86401)
    assert watch.doubt is None
