"""Intervals of use in buckets: compared with the same counted bucket by bucket."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from router.tenancy.usage import Interval, _spread

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)

instants = st.integers(-5 * 3_600_000_000, 15 * 3_600_000_000).map(lambda number: START + number * MICROSECOND)
edges = st.integers(-5, 15).map(lambda number: START + number * HOUR)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    begin, end = sorted((draw(instants | edges), draw(instants | edges)))
    return Interval(draw(st.sampled_from(["small", "large", None])), begin, draw(st.sampled_from([end, None])))


def counted(some: list[Interval], size: str | None, now: datetime, begin: datetime) -> int:
    """Microseconds that machines of that size ran in the hour from `begin` on."""
    total = timedelta()
    for one in some:
        if one.size == size:
            ran = min(one.ended_at or now, now, begin + HOUR) - max(one.started_at, begin)
            total += max(ran, timedelta())
    return total // MICROSECOND


@given(st.lists(intervals(), max_size=6), st.integers(1, 12), st.integers(0, 3_600_000_000))
def test_spread_over_buckets(some: list[Interval], count: int, into_the_last: int) -> None:
    """Each bucket has just what was used in it, up to now, however the intervals lie."""
    now = START + (count - 1) * HOUR + into_the_last * MICROSECOND
    spread = _spread(some, START, now, HOUR, count)
    for size in ("small", "large", None):
        expected = [counted(some, size, now, START + number * HOUR) for number in range(count)]
        assert spread.get(size, [0] * count) == expected
