"""README's table is made from the results of the bench."""

import pytest

from bench.readme import BEGIN, END, put, table


def _figures(cpu: float, rate: float) -> dict[str, dict[str, float]]:
    return {"cpu": {"median": cpu}, "rate": {"median": rate}}


VISITORS = {"miosa-router": _figures(41.26, 20_001.4), "haproxy": _figures(40, 21_000)}
EQUAL = {"miosa-router": _figures(20.84, 47_179), "nginx": _figures(19.4, 49_256), "direct": {"rate": {"median": 1e5}}}


def test_visitors_first_and_ours_in_bold() -> None:
    """Whoever was not measured in a scenario has a dash there, and the connection without a proxy is no row."""
    lines = table({"scenarios": {"get-32": {"contestants": EQUAL}, "visitors": {"contestants": VISITORS}}}).splitlines()
    assert lines[0].startswith("*Visitors* are ")
    assert [line for line in lines if line.startswith("|")] == [
        (
            "| proxy | visitors: CPU µs per request | visitors: requests per second"
            " | equal heads: CPU µs per request | equal heads: requests per second |"
        ),
        "|---|---:|---:|---:|---:|",
        "| **miosa-router** | **41.3** | **20,001** | **20.8** | **47,179** |",
        "| nginx | – | – | 19.4 | 49,256 |",
        "| haproxy | 40.0 | 21,000 | – | – |",
    ]


def test_what_was_not_measured_has_no_columns() -> None:
    made = table({"scenarios": {"visitors": {"contestants": {}}, "get-32": {"contestants": EQUAL}}})
    assert "isitors" not in made
    assert "| nginx | 19.4 | 49,256 |" in made


def test_only_what_is_between_the_marks_changes() -> None:
    assert put(f"a\n{BEGIN}old\n{END}b\n", "new\n") == f"a\n{BEGIN}new\n{END}b\n"


def test_without_marks_nothing_is_written() -> None:
    with pytest.raises(ValueError, match="marks"):
        put("no marks", "new")
