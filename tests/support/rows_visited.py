"""How much SQLite does for each statement: the instructions of its virtual machine, which grow with the rows that it visits and with
nothing else. Time would say the same on a quiet machine only."""

import re
import sqlite3
from collections import Counter
from typing import Any

import sqlalchemy as sa

_STEP = 10  # instructions between two calls of the handler
_LISTS = re.compile(r"\(\?(?:, \?)+\)")


class Visits:
    """Counts, while it is on, for every SQLite connection that is opened meanwhile."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def __enter__(self) -> "Visits":
        sa.event.listen(sa.Engine, "connect", self._on_connect)
        sa.event.listen(sa.Engine, "before_cursor_execute", self._before)
        return self

    def __exit__(self, *_: object) -> None:
        sa.event.remove(sa.Engine, "connect", self._on_connect)
        sa.event.remove(sa.Engine, "before_cursor_execute", self._before)

    def taken(self) -> Counter[str]:
        """The instructions of each statement since this was last asked."""
        found, self._of = self._of, Counter()
        return found

    def _on_connect(self, connection: Any, record: Any) -> None:
        if not isinstance(
            connection.driver_connection if hasattr(connection, "driver_connection") else connection, sqlite3.Connection
        ):
            return

        def step() -> int:
            self._of[record.info.get("statement", "")] += _STEP
            return 0

        connection.set_progress_handler(step, _STEP)

    def _before(self, connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        connection.connection.info["statement"] = _LISTS.sub("(?)", statement)
