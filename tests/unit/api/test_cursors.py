"""Lists that are read on by cursor: positions as text, and where a page ends."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.api.cursors import CursorPaging, MomentCursor, NumberCursor, moment_cursor, read_moment
from router.base.ids import new_id
from router.base.paging import Window
from tests.support.ids import SOME_ID


class ByMoment(CursorPaging):
    cursor: MomentCursor | None = None


class ByNumber(CursorPaging):
    cursor: NumberCursor | None = None


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)), st.uuids())  # noqa: DTZ001 - hypothesis adds the zone
def test_a_moment_comes_back_exactly(moment: datetime, record_id: object) -> None:
    """To the microsecond, as the order of the list is."""
    cursor = moment_cursor(moment, str(record_id))
    assert ByMoment(cursor=cursor).cursor == cursor
    assert read_moment(cursor) == (moment, str(record_id))


def test_no_cursor_is_no_position() -> None:
    """A list without one starts at its beginning."""
    assert read_moment(None) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "_",
        "5",
        f"_{SOME_ID}",
        f"-5_{SOME_ID}",
        f"5.0_{SOME_ID}",
        f"{'9' * 17}_{SOME_ID}",
        "5_x",
        f"5_{SOME_ID} ",
    ],
)
def test_what_is_no_moment(cursor: str) -> None:
    """Only what an answer gave is taken."""
    with pytest.raises(ValidationError, match="is invalid"):
        ByMoment(cursor=cursor)


def test_the_last_moment_that_is_taken_is_a_time() -> None:
    """Every text of the documented form can be read: none overflows."""
    moment, _ = read_moment(f"{'9' * 16}_{new_id()}") or (None, None)
    assert moment is not None
    assert moment.year == 2286


@pytest.mark.parametrize("cursor", ["", "-1", "1.5", "x", "1" * 10, "٣"])
def test_what_is_no_number(cursor: str) -> None:
    """As above."""
    with pytest.raises(ValidationError, match="is invalid"):
        ByNumber(cursor=cursor)


def test_limit_is_the_size() -> None:
    """It counts before `page_size`, and is bounded in the same way."""
    assert CursorPaging.model_validate({"limit": "5", "page_size": "7"}).size == 5
    assert CursorPaging.model_validate({"limit": "1000"}).size == 100
    assert CursorPaging.model_validate({"page_size": "7"}).size == 7
    assert CursorPaging().size == 20


def test_part_and_cut() -> None:
    """One item more than a page is asked for: whether it is there says whether there is a next page."""
    paging = CursorPaging.model_validate({"limit": "2", "page": "3"})
    assert paging.part(from_cursor=False) == Window(offset=4, limit=3)
    assert paging.part(from_cursor=True) == Window(offset=0, limit=3)
    assert paging.cut([1, 2, 3], str) == ([1, 2], "2")
    assert paging.cut([1, 2], str) == ([1, 2], None)
    assert paging.cut([], str) == ([], None)
