"""`tap`: the exchanges of a host, a resource or a tenant, as they end on the running node."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import AsJson, Config
from router.cli.output import fitted, note, say, width
from router.cli.run_command import CommandError, command_settings, reported

if TYPE_CHECKING:
    from router.settings import Settings


def tap(
    of: Annotated[str, typer.Argument(metavar="HOST|RESOURCE|TENANT", help="A host, or the id or slug of the others.")],
    path: Annotated[str | None, typer.Option(help="Only requests with this text in their path.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only this status or class: 404, 5xx; 0: no answer was sent.")
    ] = None,
    ending: Annotated[str | None, typer.Option(help="Only what ended so: BH, CB (RUNBOOK.md has all).")] = None,
    max_rps: Annotated[
        int, typer.Option("--max-rps", min=1, max=2000, help="Most exchanges per second; others are counted.")
    ] = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show exchanges as they end, from all processes of the running node, until Ctrl-C. With --json one object per line. It is audited."""
    query = {"of": of, "max_rps": str(max_rps)}
    query |= {
        name: value for name, value in (("path", path), ("status", status), ("ending", ending)) if value is not None
    }
    seen = _Seen()
    with reported(as_json):
        try:
            asyncio.run(_show(command_settings(config), query, as_json, seen))
        except KeyboardInterrupt:
            note(f"{seen.exchanges} exchanges" + (f", {seen.not_shown} more not shown" if seen.not_shown else ""))


class _Seen:
    def __init__(self) -> None:
        self.exchanges = 0
        self.not_shown = 0
        self.ended = False


async def _show(settings: "Settings", query: Mapping[str, str], as_json: bool, seen: _Seen) -> None:
    from router.cli.operator_socket import lines

    async for line in lines(settings, "/v1/tap", query):
        if "request_id" in line:
            seen.exchanges += 1
            say((json.dumps(line) if as_json else exchange_line(line, width())) + "\n")
            continue
        seen.not_shown += line.get("not_shown", 0)
        if "end" in line:
            seen.ended = True
        if as_json:
            say(json.dumps(line) + "\n")
        elif text := _remark(line):
            say(f"-- {text}\n")
    if not seen.ended:
        raise CommandError("stream_ended", "the node ended the tap: this terminal or pipe took nothing for ten seconds")


def _remark(line: Mapping[str, Any]) -> str:
    """What the node says beside exchanges, for people."""
    if "tap" in line:
        wanted = {
            "id" if name == "resource" and "tenant" in line["tap"] else name: value
            for name, value in line["tap"].items()
        }
        wanted = {name: value for name, value in wanted.items() if not (name == "tenant" and "id" in wanted)}
        return "tapping " + ", ".join(f"{name} {_condition(value)}" for name, value in wanted.items())
    if "not_shown" in line:
        over, slow = line["over_max_rps"], line["reader_too_slow"]
        why = [f"{over} over --max-rps"] if over else []
        why += [f"{slow} because this terminal is too slow"] if slow else []
        return f"{line['not_shown']} not shown: {', '.join(why)}"
    if "silent" in line:
        return f"{line['silent']} workers do not answer: their exchanges are missing"
    return str(line["end"]) if "end" in line else ""


def _condition(value: object) -> str:
    if isinstance(value, list):
        low, high = value
        return str(low) if low == high else f"{low}-{high}"
    return str(value)


def exchange_line(line: Mapping[str, Any], columns: int | None) -> str:
    """One exchange: when it ended (UTC), status, ending, time in all, method, host and path, error, network. Where that does not fit the network is
    left out, then the path is cut."""
    clock = datetime.fromtimestamp(line["at"], UTC).strftime("%H:%M:%S.%f")[:-3]
    first = f"{clock} {line['status'] or '-':>3} {line['ending']} {_time(line['duration_ms']):>7} {line['method']:<4} "
    place = f"{line['host']}{line['path']}"
    error, network = (f" {one}" if one else "" for one in (line["error"], line["client_network"]))
    if columns is not None and len(first + place + error + network) > columns:
        network = ""
    return fitted(first, place, error + network, columns)


def _time(milliseconds: float) -> str:
    if milliseconds < 100:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"
