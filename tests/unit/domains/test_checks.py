"""The schedule of looks, and what each look makes of a domain: tables of before and after."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.clock import ManualClock
from router.domains.checks import (
    ASK_EVERY,
    FAILED_TIME,
    REASONS,
    UP_EVERY,
    UP_UNKNOWN,
    WAITING_TIME,
    CheckState,
    Method,
    Move,
    Phase,
    after,
    asked,
    begin,
    failed,
    luck_of,
    succeeded,
    too_soon,
    wait,
)
from router.domains.pointing import Finding

NOW = ManualClock().now()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
VALID, MISSING, WRONG = Finding.VALID, Finding.MISSING, Finding.WRONG
UNKNOWN, PROPAGATING = Finding.UNKNOWN, Finding.PROPAGATING


@pytest.mark.parametrize(
    ("checks", "seconds"),
    [
        (0, 60.0),
        (1, 63.0),
        (2, 66.15),
        (9, 60 * 1.05**9),
        (10, 60 * 1.15**10),
        (20, 60 * 1.15**20),
        (39, 60 * 1.15**39),
        (40, 14400.0),
        (10**6, 14400.0),
    ],
)
def test_while_waiting(checks: int, seconds: float) -> None:
    """A minute, a little more each time, then much more, and four hours at most."""
    assert wait(checks).total_seconds() == pytest.approx(seconds)


def test_a_week_of_waiting() -> None:
    """All the looks of a domain whose records never come: about 75, the last of which fails it."""
    state, now, looks = begin(NOW), NOW, 0
    move = None
    while move is None:
        now = state.next_check_at
        state, move = after(state, Phase.WAITING, MISSING, now, luck=0.5)
        looks += 1
    assert move is Move.FAILED
    assert WAITING_TIME <= now - NOW < WAITING_TIME + 4 * HOUR
    assert 60 < looks < 90
    assert state.waiting_since == now


def state(**changes: Any) -> CheckState:
    return replace(CheckState(next_check_at=NOW), **changes)


UP = state(method=Method.CNAME)
OLD = NOW - DAY


@pytest.mark.parametrize(
    ("says", "phase", "before", "finding", "move", "changes"),
    [
        ("it is there", Phase.WAITING, begin(OLD), VALID, Move.UP, {"waiting_since": None, "not_pointing": False}),
        ("not yet", Phase.WAITING, begin(OLD), MISSING, None, {"checks": 1, "not_pointing": True}),
        ("elsewhere", Phase.WAITING, begin(OLD), WRONG, None, {"checks": 1, "not_pointing": True}),
        ("nobody knows", Phase.WAITING, begin(OLD), UNKNOWN, None, {"checks": 1, "not_pointing": False}),
        ("on its way", Phase.WAITING, begin(OLD), PROPAGATING, None, {"checks": 1, "not_pointing": False}),
        ("an hour before the end", Phase.WAITING, begin(NOW - 7 * DAY + HOUR), MISSING, None, {}),
        ("a week", Phase.WAITING, begin(NOW - 7 * DAY), MISSING, Move.FAILED, {"waiting_since": NOW}),
        ("a week, and nobody knows", Phase.WAITING, begin(NOW - 9 * DAY), UNKNOWN, None, {}),
        ("nobody said since when", Phase.WAITING, state(), MISSING, None, {"waiting_since": NOW}),
        ("all is well", Phase.UP, UP, VALID, None, {"failures": 0, "failing_since": None}),
        ("gone once", Phase.UP, UP, MISSING, None, {"failures": 1, "failing_since": NOW, "not_pointing": True}),
        (
            "gone thrice, in a minute",
            Phase.UP,
            state(failures=2, failing_since=NOW - timedelta(minutes=1)),
            MISSING,
            None,
            {"failures": 3, "next_check_at": NOW + 6 * HOUR},
        ),
        ("gone twice, for a day", Phase.UP, state(failures=1, failing_since=OLD), WRONG, None, {"failures": 2}),
        (
            "gone, and the day is over before the next look",
            Phase.UP,
            state(failures=3, failing_since=OLD + HOUR),
            WRONG,
            None,
            {"next_check_at": NOW + HOUR},
        ),
        (
            "gone thrice, for a day",
            Phase.UP,
            state(failures=2, failing_since=OLD),
            WRONG,
            Move.FAILED,
            {"failures": 0, "failing_since": None, "waiting_since": NOW, "next_check_at": NOW + wait(0), "checks": 0},
        ),
        (
            "nobody knows, however often",
            Phase.UP,
            state(failures=2, failing_since=OLD),
            UNKNOWN,
            None,
            {"failures": 2, "next_check_at": NOW + timedelta(seconds=UP_UNKNOWN)},
        ),
        (
            "back before it failed",
            Phase.UP,
            state(failures=2, failing_since=OLD, not_pointing=True),
            VALID,
            None,
            {"failures": 0, "failing_since": None, "not_pointing": False},
        ),
        ("failed, and back", Phase.FAILED, failed(UP, OLD), VALID, Move.UP, {"waiting_since": None, "checks": 0}),
        ("failed, and still is", Phase.FAILED, failed(UP, OLD), WRONG, None, {"checks": 1, "waiting_since": OLD}),
        ("failed for a week", Phase.FAILED, failed(UP, NOW - 7 * DAY), MISSING, Move.REMOVED, {}),
        ("failed for a week, nobody knows", Phase.FAILED, failed(UP, NOW - 8 * DAY), UNKNOWN, None, {}),
    ],
)
def test_one_look(
    says: str, phase: Phase, before: CheckState, finding: Finding, move: Move | None, changes: dict[str, Any]
) -> None:
    """What it makes of a domain, and what is remembered of it."""
    found, moved = after(before, phase, finding, NOW, luck=0.5)
    assert moved is move, says
    assert (found.checked_at, found.finding) == (NOW, finding)
    assert {name: getattr(found, name) for name in changes} == changes, says
    assert found.next_check_at > NOW


def test_how_it_leads_here_is_a_success_s() -> None:
    """And stays known while looks come to nothing."""
    seen, _ = after(begin(OLD), Phase.WAITING, VALID, NOW, luck=0.0, method=Method.PROXIED)
    assert seen.method is Method.PROXIED
    assert after(seen, Phase.UP, UNKNOWN, NOW, luck=0.0)[0].method is Method.PROXIED
    assert after(seen, Phase.UP, VALID, NOW, luck=0.0, method=Method.CNAME)[0].method is Method.CNAME
    assert succeeded(seen, NOW, luck=0.0).method is Method.PROXIED


@given(some.floats(0, 1, exclude_max=True))
def test_those_that_are_up_spread_out(luck: float) -> None:
    """Six hours, give or take a tenth, each its own."""
    due = succeeded(UP, NOW, luck=luck).next_check_at - NOW
    assert 0.9 * UP_EVERY <= due.total_seconds() <= 1.1 * UP_EVERY
    assert 0 <= luck_of("ffffffff-0000-4000-8000-000000000000") < 1


@given(
    some.sampled_from(Phase),
    some.lists(some.tuples(some.sampled_from([UNKNOWN, PROPAGATING]), some.floats(0, 40 * 86400)), max_size=20),
)
def test_what_is_not_definitive_moves_nothing(phase: Phase, looks: list[tuple[Finding, float]]) -> None:
    """However often and however long."""
    found = {Phase.WAITING: begin(NOW), Phase.UP: UP, Phase.FAILED: failed(UP, NOW)}[phase]
    pointing = found.not_pointing
    now = NOW
    for finding, later in looks:
        now += timedelta(seconds=later)
        found, move = after(found, phase, finding, now, luck=0.0)
        assert move is None
        assert (found.failures, found.not_pointing) == (0, pointing)


@pytest.mark.parametrize(
    ("asked_at", "left"),
    [
        (None, None),
        (NOW - timedelta(seconds=ASK_EVERY), None),
        (NOW - timedelta(seconds=1), ASK_EVERY - 1),
        (NOW, ASK_EVERY),
        (NOW + HOUR, None),  # another node's clock was wrong: that must lock nobody out
    ],
)
def test_who_asks_too_soon(asked_at: datetime | None, left: float | None) -> None:
    """Is told how long to wait."""
    assert too_soon(state(asked_at=asked_at), NOW) == left


def test_asking_begins_anew() -> None:
    """The backoff, and the days of waiting where it waits; what a domain that is up has against it stays."""
    waiting = asked(replace(begin(OLD), checks=30), NOW)
    assert (waiting.checks, waiting.waiting_since, waiting.asked_at) == (0, NOW, NOW)
    failing = asked(state(failures=2, failing_since=OLD), NOW)
    assert (failing.failures, failing.failing_since, failing.waiting_since) == (2, OLD, None)


def test_the_first_look() -> None:
    """A minute after the registration, or at once where the owner is known to wait for it."""
    assert begin(NOW).next_check_at == NOW + wait(0)
    assert begin(NOW, at_once=True).next_check_at == NOW


def test_reasons_and_times_are_the_contract_s() -> None:
    """Codes for programs; a week each."""
    assert dict(REASONS) == {Phase.WAITING: "never_verified", Phase.UP: "dns_moved"}
    assert (WAITING_TIME, FAILED_TIME) == (7 * DAY, 7 * DAY)
