"""The schedule of checks, and what each result makes of a domain: tables of before and after."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.base.clock import ManualClock
from router.domains.checks.pointing import CheckResult
from router.domains.checks.schedule import (
    ASK_EVERY,
    FAILED_TIME,
    UP_EVERY,
    UP_UNKNOWN,
    WAITING_TIME,
    WHOLE,
    CheckState,
    Method,
    Slice,
    after,
    asked,
    begin,
    failed,
    failure_reason,
    jitter_of,
    succeeded,
    too_soon,
    wait,
)
from router.routes.records import DomainStatus

PENDING, ACTIVE, FAILED = DomainStatus.PENDING, DomainStatus.ACTIVE, DomainStatus.FAILED
VERIFIED, REMOVED = DomainStatus.VERIFIED, DomainStatus.REMOVED
NOW = ManualClock().now()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
VALID, MISSING, WRONG = CheckResult.VALID, CheckResult.MISSING, CheckResult.WRONG
UNKNOWN, PROPAGATING = CheckResult.UNKNOWN, CheckResult.PROPAGATING


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
    """All the checks of a domain whose records never come: about 75, the last of which fails it."""
    state, now, checks = begin(NOW), NOW, 0
    move = None
    while move is None:
        now = state.next_check_at
        state, move = after(state, PENDING, MISSING, now, jitter=0.5)
        checks += 1
    assert move is FAILED
    assert WAITING_TIME <= now - NOW < WAITING_TIME + 4 * HOUR
    assert 60 < checks < 90
    assert state.waiting_since == now


def state(**changes: Any) -> CheckState:
    return replace(CheckState(next_check_at=NOW), **changes)


UP = state(method=Method.CNAME)
OLD = NOW - DAY


@pytest.mark.parametrize(
    ("says", "status", "before", "finding", "to", "changes"),
    [
        ("it is there", PENDING, begin(OLD), VALID, VERIFIED, {"waiting_since": None, "not_pointing": False}),
        ("not yet", PENDING, begin(OLD), MISSING, None, {"checks": 1, "not_pointing": True}),
        ("elsewhere", PENDING, begin(OLD), WRONG, None, {"checks": 1, "not_pointing": True}),
        ("nobody knows", PENDING, begin(OLD), UNKNOWN, None, {"checks": 4, "not_pointing": False}),
        ("on its way", PENDING, begin(OLD), PROPAGATING, None, {"checks": 1, "not_pointing": False}),
        ("an hour before the end", PENDING, begin(NOW - 7 * DAY + HOUR), MISSING, None, {}),
        ("a week", PENDING, begin(NOW - 7 * DAY), MISSING, FAILED, {"waiting_since": NOW}),
        ("a week, and nobody knows", PENDING, begin(NOW - 9 * DAY), UNKNOWN, None, {}),
        ("nobody said since when", PENDING, state(), MISSING, None, {"waiting_since": NOW}),
        ("all is well", ACTIVE, UP, VALID, None, {"failures": 0, "failing_since": None}),
        ("gone once", ACTIVE, UP, MISSING, None, {"failures": 1, "failing_since": NOW, "not_pointing": True}),
        (
            "gone thrice, in a minute",
            ACTIVE,
            state(failures=2, failing_since=NOW - timedelta(minutes=1)),
            MISSING,
            None,
            {"failures": 3, "next_check_at": NOW + 6 * HOUR},
        ),
        ("gone twice, for a day", ACTIVE, state(failures=1, failing_since=OLD), WRONG, None, {"failures": 2}),
        (
            "gone, and the day is over before the next check",
            ACTIVE,
            state(failures=3, failing_since=OLD + HOUR),
            WRONG,
            None,
            {"next_check_at": NOW + HOUR},
        ),
        (
            "gone thrice, for a day",
            ACTIVE,
            state(failures=2, failing_since=OLD),
            WRONG,
            FAILED,
            {"failures": 0, "failing_since": None, "waiting_since": NOW, "next_check_at": NOW + wait(0), "checks": 0},
        ),
        (
            "nobody knows, however often",
            ACTIVE,
            state(failures=2, failing_since=OLD),
            UNKNOWN,
            None,
            {"failures": 2, "next_check_at": NOW + timedelta(seconds=UP_UNKNOWN)},
        ),
        (
            "back before it failed",
            ACTIVE,
            state(failures=2, failing_since=OLD, not_pointing=True),
            VALID,
            None,
            {"failures": 0, "failing_since": None, "not_pointing": False},
        ),
        ("failed, and back", FAILED, failed(UP, OLD), VALID, VERIFIED, {"waiting_since": None, "checks": 0}),
        ("failed, and still is", FAILED, failed(UP, OLD), WRONG, None, {"checks": 1, "waiting_since": OLD}),
        ("failed for a week", FAILED, failed(UP, NOW - 7 * DAY), MISSING, REMOVED, {}),
        ("failed for a week, nobody knows", FAILED, failed(UP, NOW - 8 * DAY), UNKNOWN, None, {}),
    ],
)
def test_one_result(
    says: str,
    status: DomainStatus,
    before: CheckState,
    finding: CheckResult,
    to: DomainStatus | None,
    changes: dict[str, Any],
) -> None:
    """What it makes of a domain, and what is remembered of it."""
    found, moved = after(before, status, finding, NOW, jitter=0.5)
    assert moved is to, says
    assert (found.checked_at, found.result) == (NOW, finding)
    assert {name: getattr(found, name) for name in changes} == changes, says
    assert found.next_check_at > NOW


def test_how_it_leads_here_is_a_success_s() -> None:
    """And stays known while checks come to nothing."""
    seen, _ = after(begin(OLD), PENDING, VALID, NOW, jitter=0.0, method=Method.PROXIED)
    assert seen.method is Method.PROXIED
    assert after(seen, ACTIVE, UNKNOWN, NOW, jitter=0.0)[0].method is Method.PROXIED
    assert after(seen, ACTIVE, VALID, NOW, jitter=0.0, method=Method.CNAME)[0].method is Method.CNAME
    assert succeeded(seen, NOW, jitter=0.0).method is Method.PROXIED


@given(some.floats(0, 1, exclude_max=True))
def test_those_that_are_up_spread_out(jitter: float) -> None:
    """Six hours, give or take a tenth, each its own."""
    due = succeeded(UP, NOW, jitter=jitter).next_check_at - NOW
    assert 0.9 * UP_EVERY <= due.total_seconds() <= 1.1 * UP_EVERY
    assert 0 <= jitter_of("ffffffff-0000-4000-8000-000000000000") < 1


@given(
    some.sampled_from([PENDING, VERIFIED, ACTIVE, FAILED]),
    some.lists(some.tuples(some.sampled_from([UNKNOWN, PROPAGATING]), some.floats(0, 40 * 86400)), max_size=20),
)
def test_what_is_not_definitive_moves_nothing(status: DomainStatus, checks: list[tuple[CheckResult, float]]) -> None:
    """However often and however long."""
    found = {PENDING: begin(NOW), FAILED: failed(UP, NOW)}.get(status, UP)
    pointing = found.not_pointing
    now = NOW
    for finding, later in checks:
        now += timedelta(seconds=later)
        found, move = after(found, status, finding, now, jitter=0.0)
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


def test_the_first_check() -> None:
    """A minute after the registration, or at once where the owner is known to wait for it."""
    assert begin(NOW).next_check_at == NOW + wait(0)
    assert begin(NOW, at_once=True).next_check_at == NOW


def test_reasons_and_times_are_the_contract_s() -> None:
    """Codes for programs; a week each."""
    assert [failure_reason(status) for status in (PENDING, VERIFIED, ACTIVE)] == [
        "never_verified",
        "dns_moved",
        "dns_moved",
    ]
    assert (WAITING_TIME, FAILED_TIME) == (7 * DAY, 7 * DAY)


@pytest.mark.parametrize("status", [PENDING, FAILED])
def test_a_name_that_never_answers_backs_off(status: DomainStatus) -> None:
    """A quarter as many checks as one that answers without leading to us, in the first hours; but one asked for begins anew."""

    def times(finding: CheckResult) -> int:
        now, seen, count = NOW, begin(NOW), 0
        while now < NOW + timedelta(hours=3):
            now = seen.next_check_at
            seen, _ = after(seen, status, finding, now, jitter=0.5)
            count += 1
        return count

    assert times(UNKNOWN) * 2 < times(MISSING)
    silent, _ = after(begin(NOW), status, UNKNOWN, NOW, jitter=0.5)
    assert asked(silent, NOW).checks == 0


def test_what_is_up_and_never_answers_backs_off() -> None:
    """A quarter of an hour, then twice as long each time, until it is checked as often as everything that is up."""
    seen, waits = UP, []
    for _ in range(8):
        seen, move = after(seen, ACTIVE, UNKNOWN, NOW, jitter=0.5)
        assert move is None
        waits.append((seen.next_check_at - NOW).total_seconds() / 900)
    assert waits == [1, 2, 4, 8, 16, 24, 24, 24]
    back, _ = after(seen, ACTIVE, VALID, NOW, jitter=0.5)
    again, _ = after(back, ACTIVE, UNKNOWN, NOW, jitter=0.5)
    assert again.next_check_at == NOW + timedelta(seconds=UP_UNKNOWN)


def test_slices_are_all_ids() -> None:
    """Each begins where the one before it ends; the last has no end."""
    bounds = [Slice(number, 4).bounds for number in range(4)]
    assert bounds == [("0", "4"), ("4", "8"), ("8", "c"), ("c", None)]
    assert WHOLE.bounds == ("0", None)
