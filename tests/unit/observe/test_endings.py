"""The two letters of an ending."""

import pytest

from router.observe import endings
from router.observe.endings import COMBINATIONS, PHASES, WHO


def test_every_combination_is_who_and_phase() -> None:
    """The table has no letters of its own, and one ending with dashes."""
    letters = {who + phase for who in WHO for phase in PHASES}
    assert set(COMBINATIONS) - letters == {endings.COMPLETE}


def test_constants_are_named_by_who_and_phase() -> None:
    """A name tells its letters: EDGE_IN_DIAL is EDGE + DIAL; each is in the table."""
    named = {name: value for name, value in vars(endings).items() if "_IN_" in name}
    assert named
    for name, value in named.items():
        who, _, phase = name.partition("_IN_")
        assert value == getattr(endings, who) + getattr(endings, phase)
        assert value in COMBINATIONS


@pytest.mark.parametrize("phase", PHASES)
def test_clients_and_the_edge_may_end_an_exchange_in_every_phase(phase: str) -> None:
    """Visitors leave, and drains run out, whenever they like."""
    assert endings.CLIENT + phase in COMBINATIONS
    assert endings.EDGE + phase in COMBINATIONS


@pytest.mark.parametrize("phase", [endings.DIAL, endings.RESPONSE_HEAD, endings.BODIES, endings.TUNNEL])
def test_backends_fail_or_time_out_once_they_are_dialled(phase: str) -> None:
    """Both kinds, in each phase that has a backend."""
    assert endings.BACKEND + phase in COMBINATIONS
    assert endings.BACKEND_TIMEOUT + phase in COMBINATIONS


def test_each_ending_reads_differently() -> None:
    """No two rows say the same."""
    assert len(set(COMBINATIONS.values())) == len(COMBINATIONS)
