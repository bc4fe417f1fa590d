"""How often strangers' servers are asked."""

import pytest

from router.base.clock import ManualClock
from router.domains.checks.cooldown import ConcurrencyLimit, Cooldown
from router.errors import RATE_LIMITED, RouterError


def waits(cooldown: Cooldown, key: str) -> int | None:
    """The seconds to wait; None where it is not too early."""
    try:
        cooldown.take(key)
    except RouterError as error:
        return error.retry_after
    return None


def test_one_in_so_many_seconds() -> None:
    """Each key by itself, in whole seconds; a try that is too early moves nothing."""
    clock = ManualClock()
    cooldown = Cooldown(clock, 10.0)
    assert waits(cooldown, "a.example") is None
    assert waits(cooldown, "b.example") is None
    clock.advance(0.5)
    assert waits(cooldown, "a.example") == 10
    clock.advance(9.0)
    assert waits(cooldown, "a.example") == 1
    clock.advance(0.5)
    assert waits(cooldown, "a.example") is None


def test_what_is_over_is_forgotten() -> None:
    """Memory is bounded by what was asked within the time."""
    clock = ManualClock()
    cooldown = Cooldown(clock, 10.0)
    for number in range(3000):
        assert waits(cooldown, f"{number}.example") is None
        clock.advance(0.1)
    assert len(cooldown) <= 101


def test_memory_is_bounded() -> None:
    """Whatever is asked at once; the oldest is forgotten first."""
    cooldown = Cooldown(ManualClock(), 10.0, max_keys=100)
    for number in range(3000):
        assert waits(cooldown, f"{number}.example") is None
    assert len(cooldown) == 100
    assert waits(cooldown, "2999.example") == 10
    assert waits(cooldown, "0.example") is None


def test_so_many_at_once() -> None:
    """Each key by itself; a slot is free again however its check ends."""
    limit = ConcurrencyLimit(2)
    with limit.take("acme"):
        with pytest.raises(ZeroDivisionError), limit.take("acme"):
            raise ZeroDivisionError
        with limit.take("acme"):
            with pytest.raises(RouterError) as refused, limit.take("acme"):
                pytest.fail("a third was let in")
            assert (refused.value.problem, refused.value.retry_after) == (RATE_LIMITED, 2)
            with limit.take("globex"):
                pass
    with limit.take("acme"), limit.take("acme"):
        pass
