"""`sessions` and `cut`: what is open on the running node, of a host, a resource or a tenant, and its end."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from router.base.clock import iso
from router.base.paging import Listing
from router.cli.options import AsJson, Config
from router.cli.output import note, say, show, show_list
from router.cli.run_command import CommandError, command_settings, reported

if TYPE_CHECKING:
    from router.settings import Settings

_COLUMNS: Final = ("since", "state", "method", "host", "path", "client_network", "in", "out", "backend", "worker")

Of = Annotated[str, typer.Argument(metavar="HOST|RESOURCE|TENANT", help="A host, or the id or slug of the others.")]


def sessions(
    of: Of,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show, the oldest first.")] = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the open exchanges and tunnels of a host, a resource or a tenant, in all workers of the running node."""
    from router.cli.operator_socket import read

    with reported(as_json):
        found = asyncio.run(read(command_settings(config), "/v1/sessions", {"of": of, "limit": str(limit)}))
        _complain(found)
        if as_json:
            show(found, as_json)
            return
        rows = found["data"]
        if len(rows) < found["total"]:
            note(f"{len(rows)} of {found['total']}, the oldest; see --limit")
        show_list(Listing(tuple(_row(one) for one in rows), len(rows)), dict, as_json, 1, _COLUMNS)


def cut(
    of: Of,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing before.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Close all open exchanges and tunnels of a host, a resource or a tenant now, in all workers of the running node. It is
    audited. New ones are served as ever: `miosa-router block` keeps them out."""
    with reported(as_json):
        settings = command_settings(config)
        if not yes and not _agreed(settings, of, as_json):
            raise CommandError("not_confirmed", "nothing was closed: it was not confirmed (--yes asks nothing)")
        found = asyncio.run(_cut(settings, of))
        _complain(found)
        show(found, as_json, lambda: _text(found))


def _agreed(settings: "Settings", of: str, as_json: bool) -> bool:
    """Whether somebody at a terminal says so, who sees how many there are."""
    import sys

    from router.cli.operator_socket import read

    if as_json or not sys.stdin.isatty():
        return False
    found = asyncio.run(read(settings, "/v1/sessions", {"of": of, "limit": "0"}))
    say(f"Close {_words(found)} of {of}? [y/N] ")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _cut(settings: "Settings", of: str) -> dict[str, Any]:
    from router.cli.operator_socket import act

    return await act(settings, "/v1/cut", {"of": of})


def _complain(found: Mapping[str, Any]) -> None:
    if found["silent"]:
        note(f"{found['silent']} workers did not answer: what they have is missing")


def _text(found: Mapping[str, Any]) -> str:
    lines = [f"closed {_words(found)}"]
    lines += [f"  worker {one['worker']}: {_words(one)}" for one in found["workers"] if len(found["workers"]) > 1]
    if found["silent"]:
        lines.append(f"  {found['silent']} workers did not answer: what they have is still open")
    return "\n".join(lines)


def _words(counts: Mapping[str, Any]) -> str:
    exchanges, tunnels = counts["exchanges"], counts["tunnels"]
    return f"{exchanges} exchange{'' if exchanges == 1 else 's'} and {tunnels} tunnel{'' if tunnels == 1 else 's'}"


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    since = iso(datetime.fromtimestamp(one["since"], UTC))
    return {**one, "since": since, "in": one["bytes_in"], "out": one["bytes_out"]}
