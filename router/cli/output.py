"""What commands print. The only file of the router that does.

What was asked for goes to standard output, as text for people or, with `--json`, as one JSON document with the API's
field names. What went wrong goes to standard error.
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from router.base.paging import Listing
from router.observe.secrets import mask_text

if TYPE_CHECKING:
    from rich.console import ConsoleOptions
    from rich.live import Live
    from rich.text import Text

T = TypeVar("T")
_STYLES = {"": "", "head": "bold", "good": "green", "bad": "red"}
_LEAST_TEXT = 20  # columns; in fewer nothing is wrapped
Json = Mapping[str, Any] | Sequence[Any]


def say(text: str) -> None:
    """Text as it stands, at once."""
    print(text, end="", flush=True)


def note(text: str) -> None:
    """A remark beside what was asked for, for people at a terminal: programs read an error on standard error, or nothing."""
    if sys.stderr.isatty():
        print(f"note: {text}", file=sys.stderr)


class ProgressLine:
    """How far a long command is: one line on standard error that is written again, where that is a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._shown:
            print(f"\r\033[K{what}  {done} of {total}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """The command has ended: what it prints begins in an empty line."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def show(document: Json, as_json: bool, text: Callable[[], str] | None = None) -> None:
    """One document. As text a mapping is a line for each key, where `text` does not say otherwise."""
    if as_json:
        print(json.dumps(document))
    elif text is not None:
        print(text())
    elif isinstance(document, Mapping):
        print(_lines(document))


def width() -> int | None:
    """How many columns the terminal has; None where standard output is none, and nothing is to be wrapped or shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class Screen:
    """The whole terminal, written again when there is something new and when its size has changed."""

    def __init__(self, live: "Live") -> None:
        self._live = live

    def show(self, lines: Callable[[int, int], Sequence[tuple[str, str]]]) -> None:
        """From now on `lines(columns, rows)`, each a text and a style of `_STYLES`."""
        self._live.update(_Lines(lines), refresh=True)


class _Lines:
    def __init__(self, lines: Callable[[int, int], Sequence[tuple[str, str]]]) -> None:
        self._lines = lines

    def __rich_console__(self, _console: object, options: "ConsoleOptions") -> "Iterator[Text]":
        from rich.text import Text

        for text, style in self._lines(options.max_width, options.size.height)[: options.size.height]:
            yield Text(text, style=_STYLES[style], no_wrap=True, overflow="crop")


def has_screen() -> bool:
    """Whether standard output is a terminal that can be written again: not where TERM says `dumb`, as in some editors."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return not Console().is_dumb_terminal


@contextmanager
def terminal_screen() -> Iterator[Screen]:
    """The terminal's other screen, until the block ends: what stood there comes back then."""
    from rich.live import Live

    with Live(screen=True, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False) as live:
        yield Screen(live)


def hanging(before: str, text: str, columns: int | None) -> str:
    """`before` and `text` on one line; where that is longer than `columns`, wrapped, with the text in a column of its own.
    What a terminal would take for a command is replaced: some of it was said by a server."""
    text = printable(text)
    if columns is None or columns < len(before) + _LEAST_TEXT:
        return before + text
    return textwrap.fill(
        text,
        columns,
        initial_indent=before,
        subsequent_indent=" " * len(before),
        break_long_words=False,
        break_on_hyphens=False,
    )


def fitted(before: str, text: str, behind: str, columns: int | None) -> str:
    """The three on one line of so many columns: `text` is cut where they don't fit, then `behind` left out. What a terminal would take
    for a command is replaced."""
    line = printable(before + text + behind)
    if columns is None or len(line) <= columns:
        return line
    left = columns - len(before) - len(behind)
    if left < _LEAST_TEXT:
        left, behind = columns - len(before), ""
    return printable(f"{before}{text[: max(0, left - 1)]}…{behind}")[:columns]


def printable(text: str) -> str:
    """`text` without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def show_list(
    found: Listing[T],
    row: Callable[[T], dict[str, Any]],
    as_json: bool,
    page: int,
    columns: Collection[str] | None = None,
) -> None:
    """One page of a list: a table for people (of `columns` only, where they are given), tab-separated where standard output
    is no terminal."""
    rows = [row(item) for item in found.items]
    if len(rows) < found.total and not as_json:  # a program has `total`
        print(f"{len(rows)} of {found.total}: this is page {page}; see --page and --limit", file=sys.stderr)
    if as_json:
        print(json.dumps({"data": rows, "total": found.total}))
        return
    if columns is not None:
        rows = [{name: one[name] for name in columns} for one in rows]
    if not rows:
        print("none")
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*rows[0], box=None, pad_edge=False)
        for one in rows:
            table.add_row(*(Text(_cell(value)) for value in one.values()))
        Console().print(table)
    else:
        # For `cut` and `awk`: nothing is wrapped or shortened.
        print("\t".join(rows[0]))
        for one in rows:
            print("\t".join(_cell(value) for value in one.values()))


def show_error(
    code: str,
    message: str,
    as_json: bool,
    problems: Sequence[str] = (),
    fields: Mapping[str, Sequence[str]] | None = None,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Why a command failed, on standard error. `problems` are lines for people, `fields` and what is `beside` for programs."""
    message = mask_text(message)
    if as_json:
        shown = {"code": code, "message": message, **({"fields": fields} if fields else {}), **(beside or {})}
        print(json.dumps({"error": shown}), file=sys.stderr)
    else:
        print("\n".join([f"miosa-router: {message}", *(f"  {problem}" for problem in problems)]), file=sys.stderr)


def _cell(value: object) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value) if value else "-"
    return "-" if value is None else str(value)


def _lines(shown: Mapping[str, Any]) -> str:
    width = max(map(len, shown))
    return "\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in shown.items())
