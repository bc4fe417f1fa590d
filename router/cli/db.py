"""`db upgrade`: the store's schema."""

import asyncio

from router.cli.options import AsJson, Config, group
from router.cli.output import show
from router.cli.run_command import command_settings, reported

commands = group("The database's schema.")


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
