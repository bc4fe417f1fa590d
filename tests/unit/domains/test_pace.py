"""How often strangers' servers are asked."""

import pytest

from router.clock import ManualClock
from router.domains.pace import Pace
from router.errors import RouterError


def waits(pace: Pace, key: str) -> int | None:
    """The seconds to wait; None where it is not too early."""
    try:
        pace.take(key)
    except RouterError as error:
        return error.retry_after
    return None


def test_one_in_so_many_seconds() -> None:
    """Each key by itself, in whole seconds; a try that is too early moves nothing."""
    clock = ManualClock()
    pace = Pace(clock, 10.0)
    assert waits(pace, "a.example") is None
    assert waits(pace, "b.example") is None
    clock.advance(0.5)
    assert waits(pace, "a.example") == 10
    clock.advance(9.0)
    assert waits(pace, "a.example") == 1
    clock.advance(0.5)
    assert waits(pace, "a.example") is None


@pytest.mark.parametrize("together", [False, True])
def test_what_is_over_is_forgotten(together: bool) -> None:
    """Memory stays bounded by what was asked in one stretch."""
    clock = ManualClock()
    pace = Pace(clock, 10.0)
    for number in range(3000):
        assert waits(pace, f"{number}.example") is None
        clock.advance(0 if together else 0.1)
    assert len(pace) == 3000 if together else len(pace) < 1200
