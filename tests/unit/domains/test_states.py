"""The moves of a custom domain: each pair of states is either in this table or refused."""

import pytest

from router.domains.states import MOVES, may_move
from router.routes.records import DomainStatus

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
