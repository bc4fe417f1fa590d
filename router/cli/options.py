"""Options and arguments that several commands share."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from router.base.clock import iso
from router.base.ids import is_id
from router.base.paging import Window

PAGE = 1000  # rows of a list, where no other number is asked for

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file with settings; MIOSA_ROUTER_* variables win over it."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many rows to show.")]
Page = Annotated[int, typer.Option("--page", min=1, max=1_000_000, help="Which page of so many rows.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
OneTenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's, by id or slug.")]


def group(what: str, *, completion: bool = False) -> typer.Typer:
    """A command with commands of its own. `completion`: with options that set up a shell's completion."""
    return typer.Typer(
        help=what,
        no_args_is_help=True,
        add_completion=completion,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,  # None: plain text
    )


def uuid(hint: str) -> Callable[[str | None], str | None]:
    """A check of an id. `hint` says where ids come from, for people who give something else."""

    def check(text: str | None) -> str | None:
        if text is not None and not is_id(text):
            raise typer.BadParameter(f"{text!r} is not a UUID, as 0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11 is one; {hint}")
        return text

    return check


def window(limit: int, page: int) -> Window:
    return Window(offset=(page - 1) * limit, limit=limit)


def parse_time(text: str | None, option: str) -> datetime | None:
    """An instant with its zone. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is not a time with its zone, as 2026-05-17T10:00:00Z", param_hint=option)
    return instant.astimezone(UTC)


def parse_pairs(texts: list[str], option: str) -> dict[int, Any]:
    """`PORT=VALUE` options by port. Raises typer.BadParameter."""
    pairs = {}
    for text in texts:
        port, equals, value = text.partition("=")
        if not equals or not port.isdecimal() or not value:
            raise typer.BadParameter(f"{text!r} is not PORT=VALUE", param_hint=option)
        pairs[int(port)] = value
    return pairs


def time_text(instant: datetime | None) -> str | None:
    return None if instant is None else iso(instant)
