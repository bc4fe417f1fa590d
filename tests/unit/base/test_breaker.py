"""The circuit breaker, move by move."""

import pytest

from router.base.breaker import Breaker
from router.base.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker(failures=3, pause=1.0, clock=clock)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admits()
        breaker.failed()


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    """A success between them starts the count anew."""
    fail(breaker, 2)
    assert breaker.admits()
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.closed
    fail(breaker, 1)
    assert not breaker.closed
    assert not breaker.admits()


def test_after_the_pause_one_tries(breaker: Breaker, clock: ManualClock) -> None:
    """The others wait for what becomes of it."""
    fail(breaker, 3)
    clock.advance(0.99)
    assert not breaker.admits()
    clock.advance(0.01)
    assert [breaker.admits(), breaker.admits()] == [True, False]
    breaker.succeeded()
    assert breaker.closed
    assert [breaker.admits(), breaker.admits()] == [True, True]


def test_a_try_that_fails_pauses_again(breaker: Breaker, clock: ManualClock) -> None:
    """For as long as the first time."""
    fail(breaker, 3)
    clock.advance(1)
    fail(breaker, 1)
    assert not breaker.admits()
    clock.advance(1)
    assert breaker.admits()


def test_a_try_that_nobody_waits_for_lets_the_next_one_try(breaker: Breaker, clock: ManualClock) -> None:
    """A visitor who goes away must not keep it open for ever."""
    fail(breaker, 3)
    clock.advance(1)
    assert breaker.admits()
    breaker.released()
    assert not breaker.closed
    assert breaker.admits()


def test_those_under_way_when_it_opened_change_little(breaker: Breaker, clock: ManualClock) -> None:
    """A late failure begins the pause anew, a late success ends it."""
    assert [breaker.admits() for _ in range(5)] == [True] * 5
    for _ in range(4):
        breaker.failed()
    breaker.succeeded()
    assert breaker.closed
