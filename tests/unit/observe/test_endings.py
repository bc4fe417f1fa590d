"""The two letters of an ending."""

import pytest

from router.observe.endings import COMBINATIONS, Phase, Who, prose


def test_every_combination_is_a_party_and_a_phase() -> None:
    """The table has no letters of its own."""
    for ending in COMBINATIONS:
        who, phase = ending
        assert Who(who) + Phase(phase) == ending


def test_nobody_ends_in_no_phase_and_somebody_in_one() -> None:
    """`--` is the only ending with a dash."""
    assert [ending for ending in COMBINATIONS if "-" in ending] == ["--"]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.COMPLETE])
def test_clients_and_the_edge_may_end_an_exchange_in_every_phase(phase: Phase) -> None:
    """Visitors leave, and drains run out, whenever they like."""
    assert Who.CLIENT + phase in COMBINATIONS
    assert Who.EDGE + phase in COMBINATIONS


@pytest.mark.parametrize("phase", [Phase.DIAL, Phase.ANSWER_HEAD, Phase.BODIES, Phase.TUNNEL])
def test_backends_fail_or_time_out_once_they_are_dialled(phase: Phase) -> None:
    """Both kinds, in each phase that has a backend."""
    assert Who.BACKEND + phase in COMBINATIONS
    assert Who.BACKEND_TIMEOUT + phase in COMBINATIONS


def test_each_ending_reads_differently() -> None:
    """No two rows say the same, and what is no row is said to be none."""
    assert len(set(COMBINATIONS.values())) == len(COMBINATIONS)
    assert prose("BD") == COMBINATIONS["BD"]
    assert prose("??") == "not a known ending"
