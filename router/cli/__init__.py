"""From argv to one command: one file per noun, over the services that the API uses too.

`output.py` is the only file that prints, `run_command.py` opens the store and turns errors into words. Exit status: 0 done,
1 failed, 2 used wrongly.

A command imports what it works with when it runs: the store, the node and its libraries take longer to import than most
commands to run, and `--help`, `--version` and a shell's completion need none of them.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from router.cli import (
    audit,
    backup,
    blocks,
    db,
    doctor,
    domain_connect,
    domains,
    endpoints,
    errors,
    explain,
    keys,
    log_level,
    resources,
    serve,
    sessions,
    status,
    tap,
    tenants,
    top,
)
from router.cli.demo import demo
from router.cli.options import group
from router.cli.output import say

app = group("MIOSA's edge: preview router, TLS gatekeeper and control plane of domains.", completion=True)

for _name, _commands in (
    ("db", db.commands),
    ("tenants", tenants.commands),
    ("keys", keys.commands),
    ("resources", resources.commands),
    ("endpoints", endpoints.commands),
    ("domains", domains.commands),
    ("domain-connect", domain_connect.commands),
    ("blocks", blocks.commands),
    ("audit", audit.commands),
):
    app.add_typer(_commands, name=_name)
app.command()(serve.serve)
app.command("check-config")(serve.check_config)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(blocks.block)
app.command()(blocks.unblock)
app.command()(explain.explain)
app.command()(doctor.doctor)
app.command()(status.status)
app.command()(tap.tap)
app.command()(top.top)
app.command()(sessions.sessions)
app.command()(sessions.cut)
app.command()(errors.errors)
app.command("log-level")(log_level.log_level)
app.command()(demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"miosa-router {version('miosa-router')}\n")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The console script."""
    app()
