"""The moves of a domain: each pair of states is either in this table or refused, whatever a check finds."""

from dataclasses import replace

import pytest

from router.base.clock import ManualClock
from router.domains.checks.apply import next_state
from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.schedule import CheckState
from router.domains.states import MOVES, check_move, may_move
from router.errors import CONFLICT, RouterError
from router.routes.records import DomainStatus
from tests.support.checks import about_to_fail

ALLOWED = {
    ("pending", "verified"),
    ("pending", "failed"),
    ("pending", "removed"),
    ("verified", "active"),
    ("verified", "failed"),
    ("verified", "removed"),
    ("active", "failed"),
    ("active", "removed"),
    ("failed", "verified"),
    ("failed", "removed"),
}


@pytest.mark.parametrize("old", list(DomainStatus))
@pytest.mark.parametrize("new", list(DomainStatus))
def test_every_pair(old: DomainStatus, new: DomainStatus) -> None:
    """What is not listed as a move is none, staying included."""
    assert may_move(old, new) is ((old.value, new.value) in ALLOWED)
    if may_move(old, new):
        check_move(old, new)
        return
    with pytest.raises(RouterError, match=f"a domain that is {old} can't become {new}") as caught:
        check_move(old, new)
    assert caught.value.problem is CONFLICT


def test_every_state_has_its_row() -> None:
    """A new state can't be forgotten in the table."""
    assert set(MOVES) == set(DomainStatus)


def test_every_state_can_be_removed_and_none_comes_back() -> None:
    """`removed` is reachable from all others and final."""
    others = set(DomainStatus) - {DomainStatus.REMOVED}
    assert all(may_move(state, DomainStatus.REMOVED) for state in others)
    assert not MOVES[DomainStatus.REMOVED]


def test_what_routes_was_verified_first() -> None:
    """No state that routes is entered from one that does not, except through `verified`."""
    for old, targets in MOVES.items():
        for new in targets:
            if new.routes and not old.routes:
                assert new is DomainStatus.VERIFIED


NOW = ManualClock().now()
YOUNG = CheckState(next_check_at=NOW, waiting_since=NOW)
OLD = about_to_fail(YOUNG, NOW)
VALID, WRONG, MISSING = CheckResult.VALID, CheckResult.WRONG, CheckResult.MISSING

# Where a result moves a domain, by its state: at once, or once enough time has passed. All that is not here stays.
BY_RESULT = {
    (DomainStatus.PENDING, VALID): (DomainStatus.VERIFIED, DomainStatus.VERIFIED),
    (DomainStatus.FAILED, VALID): (DomainStatus.VERIFIED, DomainStatus.VERIFIED),
    **{(DomainStatus.PENDING, result): (None, DomainStatus.FAILED) for result in (WRONG, MISSING)},
    **{(DomainStatus.VERIFIED, result): (None, DomainStatus.FAILED) for result in (WRONG, MISSING)},
    **{(DomainStatus.ACTIVE, result): (None, DomainStatus.FAILED) for result in (WRONG, MISSING)},
    **{(DomainStatus.FAILED, result): (None, DomainStatus.REMOVED) for result in (WRONG, MISSING)},
}


@pytest.mark.parametrize("status", [status for status in DomainStatus if status is not DomainStatus.REMOVED])
@pytest.mark.parametrize("result", list(CheckResult))
def test_every_state_and_every_result(status: DomainStatus, result: CheckResult) -> None:
    """Where the result of a check moves a domain, the table of moves lets it; a clock in doubt ends nothing."""
    check = Check(result=result, records=(), caa=CaaFinding(CaaVerdict.ALLOWED))

    def moves(state: CheckState, *, in_doubt: bool = False) -> DomainStatus | None:
        new, to = next_state(state, status, check, NOW, jitter=0.5, in_doubt=in_doubt)
        assert to is None or to in MOVES[status]
        assert (new.checked_at, new.result) == (NOW, result)
        return to

    assert (moves(YOUNG), moves(OLD)) == BY_RESULT.get((status, result), (None, None))
    assert moves(OLD, in_doubt=True) in (None, DomainStatus.VERIFIED)


def test_a_removed_domain_is_moved_by_nothing() -> None:
    """No check may be applied to it; if one were, the table would refuse the move."""
    check = Check(result=VALID, records=(), caa=CaaFinding(CaaVerdict.ALLOWED))
    with pytest.raises(RouterError, match="can't become verified"):
        next_state(replace(YOUNG), DomainStatus.REMOVED, check, NOW, jitter=0.5, in_doubt=False)
