"""`errors`: what the running node has refused lately because of its bytes, and which byte it was."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from router.base.clock import iso
from router.cli.options import AsJson, Config
from router.cli.output import hanging, printable, show, width
from router.cli.run_command import command_settings, reported

_COLUMNS = 100  # where standard output is no terminal
_INDENT = "    "
_UNIT = re.compile(r"\\(?:x[0-9a-f]{2}|.)|.")  # one byte, escaped


def errors(
    last: Annotated[int, typer.Option("--last", min=1, max=25_600, help="Only so many, the latest.")] = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the last requests and backends' responses that the running node refused because of their bytes: the byte, and the rule it broke."""
    from router.cli.operator_socket import read

    with reported(as_json):
        document = asyncio.run(read(command_settings(config), "/v1/errors"))
        document["errors"] = document["errors"][-last:]
        show(document, as_json, lambda: "\n".join(error_lines(document, width())))


def error_lines(document: Mapping[str, Any], columns: int | None) -> Iterable[str]:
    """The errors for people, the latest at the end."""
    for one in document["errors"]:
        yield from _error(one, columns)
        yield ""
    found = len(document["errors"])
    yield f"{found} refused" if found else "nothing was refused since the start"
    if document["skipped"]:
        yield f"{document['skipped']} more came too fast to be kept"
    if document["silent"]:
        yield f"{document['silent']} workers do not answer: theirs are missing"


def _error(one: Mapping[str, Any], columns: int | None) -> Iterable[str]:
    again = "" if one["count"] == 1 else f", {one['count']} times since {_time(one['first_at'])}"
    who = "backend's response" if one["side"] == "backend" else "request"
    part = " body" if one["part"] == "body" else ""
    facts = [
        one["host"],
        f"from {one['client_network']}" if one["client_network"] else None,
        f"by {one['backend']}" if one["backend"] and one["side"] == "backend" else None,
        one["request_id"],
    ]
    yield hanging("", f"{_time(one['at'])} {who}{part} {' '.join(fact for fact in facts if fact)}{again}", columns)
    yield hanging(_INDENT, f"{one['why']}. {one['source']}: {one['rule']}", columns)
    if one["offset"] is None:
        return
    place = f"byte {one['offset']} of {one['size']}"
    yield _INDENT + (f"{place} of the piece that was read: {one['byte']}" if one["part"] == "body" else f"{place}:")
    if one["part"] != "body":
        yield from caret_lines(one["before"], one["byte"], one["after"], columns or _COLUMNS)


def caret_lines(before: str, byte: str, after: str, columns: int) -> Iterable[str]:
    """The bytes around the wrong one, which stands above the caret; so many as fit."""
    room = max(20, columns - len(_INDENT))
    left = _units(before)
    right = _units(after)
    byte = printable(byte)
    while sum(map(len, left)) > room * 2 // 3 - len(byte):
        left.pop(0)
    before = "".join(left)
    while len(before) + len(byte) + sum(map(len, right)) > room:
        right.pop()
    yield _INDENT + before + byte + "".join(right)
    yield _INDENT + " " * len(before) + "^" * max(1, len(byte))


def _units(text: str) -> list[str]:
    return _UNIT.findall(printable(text))


def _time(at: float) -> str:
    return iso(datetime.fromtimestamp(at, UTC))
