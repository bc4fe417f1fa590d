"""Goals of the bench are judged by its results."""

from collections import Counter

import pytest

from bench.goals import GOALS, Goal
from bench.latency import quantile
from bench.results import Results
from bench.run import SCENARIOS


def _results() -> Results:
    return Results(machine={}, versions={}, missing={}, rounds=1)


class _Asked(Results):
    """Notes what it is asked for, and has a figure for each."""

    def __init__(self) -> None:
        super().__init__(machine={}, versions={}, missing={}, rounds=1)
        self.names: set[str] = set()

    def median(self, scenario: str, contestant: str, figure: str) -> float | None:
        self.names.add(scenario)
        return 1.0


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.what)
def test_every_goal_is_of_a_scenario(goal: Goal) -> None:
    """A name that no scenario fills would be 'not measured' for ever."""
    results = _Asked()
    assert goal.judge(results)["figure"] != "not measured"
    assert results.names
    assert results.names <= SCENARIOS.keys()


def test_what_was_not_measured_is_neither_met_nor_not() -> None:
    assert {goal.judge(_results())["met"] for goal in GOALS} == {"–"}


@pytest.mark.parametrize(("nginx", "met"), [(40.0, "met"), (20.0, "not met")])
def test_visitors_over_nginx(nginx: float, met: str) -> None:
    results = _results()
    table = results.table("visitors", "visitors", "request")
    table.add("miosa-router", "cpu", 50.0)
    table.add("nginx", "cpu", nginx)
    row = next(goal for goal in GOALS if goal.what == "visitors: CPU over static nginx").judge(results)
    assert row["figure"] == f"{50 / nginx:.2f} ×"
    assert row["met"] == met


def test_the_tail_is_a_difference_to_nginx() -> None:
    results = _results()
    table = results.table("steady", "steady", "request")
    table.add("miosa-router", "p99.9", 1.5)
    table.add("nginx", "p99.9", 1.25)
    row = next(goal for goal in GOALS if goal.what == "p99.9 at 2,000 requests/s over nginx").judge(results)
    assert row == {"goal": row["goal"], "bound": "≤ 0.1 ms", "figure": "0.25 ms", "met": "not met"}


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.1), (0.99, 0.2), (0.999, 5.0)])
def test_quantiles_of_counted_times(share: float, expected: float) -> None:
    """In milliseconds, of counts by tens of microseconds."""
    assert quantile(Counter({10: 980, 20: 15, 500: 5}), share) == expected
