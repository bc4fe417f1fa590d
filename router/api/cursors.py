"""Lists that continue where the last response ended, whatever was added meanwhile: `limit` and `cursor`, beside
`page` and `page_size`.

A cursor is what a list is ordered by, written out; clients send it back as it is. With one, `page` is ignored.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from router.api.models import UUID, Paging
from router.base.paging import Window
from router.routes.records import SESSION_ID

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(rf"([0-9]{{1,16}})_({SESSION_ID})?({UUID.pattern})")
_NUMBER = re.compile(r"[0-9]{1,9}")


class CursorPaging(Paging):
    """Pages that a cursor leads through too. Subclasses add their own `cursor`."""

    def part(self, *, from_cursor: bool) -> Window:
        """The part of the list that is wanted, and one item more: whether there is a next page."""
        offset = 0 if from_cursor else (self.page - 1) * self.size
        return Window(offset=offset, limit=self.size + 1)

    def cut(self, items: Sequence[T], cursor: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
        """The page, and the cursor of the next one."""
        if len(items) <= self.size:
            return items, None
        page = items[: self.size]
        return page, cursor(page[-1])


def matches(pattern: re.Pattern[str]) -> Callable[[str], str]:
    """A check of a text. What it returns raises ValueError."""

    def check(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError("is invalid")
        return text

    return check


MomentCursor = Annotated[
    str,
    AfterValidator(matches(_MOMENT)),
    Field(
        description="`page.next_cursor` of the answer before.", json_schema_extra={"pattern": f"^{_MOMENT.pattern}$"}
    ),
]
NumberCursor = Annotated[
    str,
    AfterValidator(matches(_NUMBER)),
    Field(
        description="`page.next_cursor` of the answer before.", json_schema_extra={"pattern": f"^{_NUMBER.pattern}$"}
    ),
]


def moment_cursor(created_at: datetime, record_id: str) -> str:
    """The cursor behind a record of a list that is ordered by time, then id."""
    return f"{(created_at - _EPOCH) // timedelta(microseconds=1)}_{record_id}"


def read_moment(cursor: str | None) -> tuple[datetime, str] | None:
    """What `moment_cursor` wrote."""
    if cursor is None:
        return None
    microseconds, _, record_id = cursor.partition("_")
    return _EPOCH + timedelta(microseconds=int(microseconds)), record_id.lower()
