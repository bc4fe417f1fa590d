"""`db upgrade`, `db copy`: the store's schema, and a store in another database."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import AsJson, Config, group
from router.cli.output import ProgressLine, show
from router.cli.run_command import CommandError, command_settings, reported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router.backup.copying import Copied

commands = group("The database: its schema, and copies of it.")


@commands.command("upgrade")
def db_upgrade(config: Config = None, as_json: AsJson = False) -> None:
    """Migrate the database to the schema of this version. Safe to repeat, and to run on several nodes at once."""
    from router.store import migrate

    with reported(as_json):
        settings = command_settings(config)
        before, after = asyncio.run(migrate(settings.database_url))
        changed = f"migrated from revision {before}" if before else "created"
        words = f"{changed}, now at revision {after}" if before != after else f"up to date, at revision {after}"
        show({"from": before, "to": after}, as_json, lambda: f"database schema: {words}")


_SETTINGS = "settings"
_URL = f"sqlite:////PATH, postgresql://USER@HOST/NAME, or `{_SETTINGS}` for the database of the settings"


@commands.command("copy")
def db_copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"The database to read: {_URL}.")],
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION", help="The one to fill: made if need be, and empty.")
    ],
    live: Annotated[
        bool, typer.Option("--live", help="Also while nodes use the source: what they write from now on is not copied.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy a whole database into another, empty one, and compare the two. Stop all nodes first.

    The copy is made in one transaction: if anything fails, the destination stays empty, and the command can be run anew. A
    password that is not to be seen in the list of processes goes into PGPASSWORD or a password file, as for psql. Request
    records are not copied: new ones are kept from the start.
    """
    from router.backup.copying import copy_store

    with reported(as_json):
        source, destination = _database(source, config), _database(destination, config)
        line = ProgressLine()
        try:
            copied = asyncio.run(copy_store(source, destination, live=live, progress=line))
        finally:
            line.clear()
        rows = sum(one.rows for one in copied)
        show(
            {"rows": rows, "tables": {one.table: {"rows": one.rows, "checksum": one.checksum} for one in copied}},
            as_json,
            lambda: _text(copied, rows),
        )


def _database(named: str, config: "Path | None") -> str:
    """The URL of the database that an argument names."""
    from router.settings.database_url import check_database_url

    if named == _SETTINGS:
        return command_settings(config).database_url
    try:
        return check_database_url(named)
    except ValueError as error:
        raise CommandError("invalid_database", f"a database {error}") from None


def _text(copied: "Sequence[Copied]", rows: int) -> str:
    width = max(len(one.table) for one in copied)
    lines: list[Any] = [f"{one.table:<{width}}  {one.rows:>9}  {one.checksum}" for one in copied]
    return "\n".join([*lines, f"{rows} rows of {len(copied)} tables were copied, and are the same in both databases"])
