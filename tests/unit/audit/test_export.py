"""Entries as CSV: what spreadsheets would run is a text to them."""

import csv
import io
from typing import Any

import pytest

from router.audit.export import COLUMNS, csv_line


def cell(value: Any) -> str:
    """How the first column comes out of a line."""
    (row,) = csv.reader(io.StringIO(csv_line({**dict.fromkeys(COLUMNS), COLUMNS[0]: value}).decode(), newline=""))
    return row[0]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\t=1",
        "\r=1",
        " =1",
        "\u00a0=1",
        "\u200b=1",
        "\ufeff=1",
        "\x0b=1",
        "\uff1d1",
        " \u2003\u200b@x",
    ],
    ids=ascii,
)
def test_a_formula_has_a_quote_before_it(text: str) -> None:
    """Whatever stands in front of it that nobody sees."""
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["shop", "a=1", "", "1-2", "ä@b"])
def test_other_texts_stay(text: str) -> None:
    """As they are."""
    assert cell(text) == text
