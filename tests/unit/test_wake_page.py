"""What docs/wake.md tells the platform is right."""

import re
from pathlib import Path

import pytest

from router import errors
from router.routes.wakes import WakeState
from router.settings import Wake
from router.tenancy.deliveries import Attempt
from router.tenancy.wake_calls import judge

PAGE = (Path(__file__).parents[2] / "docs" / "wake.md").read_text(encoding="utf-8")
STATES = {"2xx": WakeState.STARTING, "402": WakeState.REFUSED, "403": WakeState.REFUSED, "409": WakeState.REFUSED}
STATES |= {"408, 425, 429, 5xx, none": None, "anything else": WakeState.FAILED}


def statuses(words: str) -> list[int | None]:
    """The statuses that a cell of the table is about."""
    if words == "anything else":
        return [301, 302, 400, 401, 404, 405, 410, 422]
    found: list[int | None] = []
    for word in words.split(", "):
        found += (
            [None]
            if word == "none"
            else [int(word)]
            if word.isdigit()
            else range(int(word[0]) * 100, int(word[0]) * 100 + 99)
        )
    return found


def test_each_answer_means_what_the_table_says() -> None:
    """Every row of it, and there is no other."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert [row for row in rows if row not in ("answer", "---")] == list(STATES)
    for words, state in STATES.items():
        for status in statuses(words):
            assert judge(Attempt(status=status), 1, 1.0).state is state, status


@pytest.mark.parametrize(("name", "value"), re.findall(r"`wake\.([a-z_]+)` \(([0-9]+)", PAGE))
def test_defaults(name: str, value: str) -> None:
    """The numbers are those of the settings."""
    assert getattr(Wake(), name) == float(value)


def test_codes_exist() -> None:
    """What visitors are told is a code of ours."""
    known = {problem.code for problem in vars(errors).values() if isinstance(problem, errors.Problem)}
    told = set(re.findall(r"`(wake_(?:failed|refused|payment_required|not_possible))`", PAGE))
    assert len(told) == 4
    assert told <= known
