"""`audit`: who did what with which key from where."""

import os
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

import typer

from router.base.paging import Listing
from router.cli.options import AsJson, Config, Limit, OneTenant, Page, group, parse_time, window
from router.cli.output import show, show_list
from router.cli.run_command import CommandError, reported, tenant_id, with_services

if TYPE_CHECKING:
    from router.audit.entry import Entry, EntryFilter
    from router.node.services import Services

commands = group("Who did what with which key from where.")

Action = Annotated[str | None, typer.Option(help="Only this action, or all of a kind: 'custom_domain.*'.")]
ActorId = Annotated[str | None, typer.Option("--actor", help="Only of the key, user or token with this id.")]
About = Annotated[str | None, typer.Option("--resource", help="Only about what has this id.")]
OfOutcome = Annotated[Literal["ok", "refused", "failed"] | None, typer.Option("--outcome", help="Only what ended so.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="From then on, as 2026-05-17T10:00:00Z.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before that.")]


@commands.command("list")
def audit_list(
    tenant: OneTenant = None,
    action: Action = None,
    actor: ActorId = None,
    resource: About = None,
    outcome: OfOutcome = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    page: Page = 1,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List entries of the audit log, the newest first. With --json they have every field."""

    async def find(services: "Services") -> "Listing[Entry]":
        where = await _where(services, tenant, action, actor, resource, outcome, since, until)
        entries, total = await services.audit.list(where, window(limit, page))
        return Listing(tuple(entries), total)

    with reported(as_json):
        found = with_services(config, find, reads=True)
        show_list(found, _every_field if as_json else _line, as_json, page)


@commands.command("export")
def audit_export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; it must not be there yet.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV in the place of a JSON object per line.")] = False,
    tenant: OneTenant = None,
    action: Action = None,
    actor: ActorId = None,
    resource: About = None,
    outcome: OfOutcome = None,
    since: Since = None,
    until: Until = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write all entries that fit into a file, the newest first. Where that fails there is no file."""

    async def write(services: "Services") -> int:
        where = await _where(services, tenant, action, actor, resource, outcome, since, until)
        part = file.with_name(f".{file.name}.unfinished-{os.getpid()}")
        target = part.open("xb")  # outside: where it can't be made there is nothing of ours to remove
        try:
            with target:
                number = await _write(services, where, target, as_csv)
            part.rename(file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return number

    with reported(as_json):
        if file.exists():
            raise CommandError("exists", f"{file} exists already: nothing is written over")
        number = with_services(config, write, reads=True)
        show({"file": str(file), "entries": number}, as_json)


async def _write(services: "Services", where: "EntryFilter", target: BinaryIO, as_csv: bool) -> int:
    from router.audit.export import csv_head, csv_line, json_line, plain

    number = 0
    if as_csv:
        target.write(csv_head())
    async with aclosing(services.audit.export(where)) as pages:
        async for page in pages:
            number += len(page)
            target.writelines((csv_line if as_csv else json_line)(plain(entry)) for entry in page)
    return number


async def _where(
    services: "Services",
    tenant: str | None,
    action: str | None,
    actor: str | None,
    resource: str | None,
    outcome: str | None,
    since: str | None,
    until: str | None,
) -> "EntryFilter":
    from router.audit.entry import EntryFilter, Outcome

    return EntryFilter(
        tenant_id=await tenant_id(services, tenant),
        action=action,
        actor_id=actor,
        resource_id=resource,
        outcome=None if outcome is None else Outcome(outcome),
        since=parse_time(since, "--since"),
        until=parse_time(until, "--until"),
    )


def _every_field(entry: "Entry") -> dict[str, Any]:
    from router.audit.export import plain

    return plain(entry)


def _line(entry: "Entry") -> dict[str, Any]:
    """What a person looks for first; `--json` has the rest."""
    shown = _every_field(entry)
    return {
        "created_at": shown["created_at"],
        "actor": entry.actor_name or entry.actor_id,
        "via": entry.via.value,
        "action": entry.action,
        "about": entry.resource_name or entry.resource_id,
        "outcome": entry.outcome.value if entry.count == 1 else f"{entry.outcome.value} x{entry.count}",
        "address": entry.address,
        "changes": ", ".join(entry.changes),
        "id": entry.id,
    }
