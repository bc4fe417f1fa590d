"""`backup` and `restore`: everything that the store has, in a file."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli.options import AsJson, Config
from router.cli.output import ProgressLine, show
from router.cli.run_command import CommandError, command_settings, reported

if TYPE_CHECKING:
    from router.backup.restoring import Restored
    from router.settings import Settings

CaddyData = Annotated[
    Path | None,
    typer.Option("--caddy-data", metavar="FOLDER", help="Caddy's storage, as `/var/lib/caddy/.local/share/caddy`."),
]


def backup(
    target: Annotated[
        Path, typer.Argument(metavar="FILE|FOLDER", help="A new file; in a folder it gets a name by its time.")
    ],
    caddy_data: CaddyData = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole store into a file, while nodes run; it can be restored into SQLite or PostgreSQL.

    The file has private data, and with --caddy-data private keys: its mode is 0600. Secrets that the store has encrypted stay so:
    keep `secrets_key` apart from it. Request records are not in it, nor are settings, Redis and logs.
    """
    from router.backup.saving import save
    from router.base.clock import SystemClock

    with reported(as_json):
        settings = command_settings(config)
        line = ProgressLine()
        try:
            path, manifest = asyncio.run(
                save(settings.database_url, target, SystemClock().now(), caddy_data=caddy_data, progress=line)
            )
        finally:
            line.clear()
        shown = {
            "file": str(path),
            "made_at": manifest.made_at,
            "revision": manifest.revision,
            "rows": manifest.rows,
            "tables": {table.name: table.rows for table in manifest.tables},
            "caddy_files": None if manifest.caddy is None else len(manifest.caddy),
        }
        caddy = "without Caddy's storage" if manifest.caddy is None else f"{len(manifest.caddy)} files of Caddy"
        show(shown, as_json, lambda: f"{path}: {manifest.rows} rows of {len(manifest.tables)} tables, {caddy}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `miosa-router backup` has written.")],
    check: Annotated[bool, typer.Option("--check", help="Only read all of it, and say whether it is whole.")] = False,
    caddy_data: CaddyData = None,
    caddy_kept: Annotated[
        bool, typer.Option("--caddy-kept", help="Nothing of Caddy's storage was lost: what is known of it stays.")
    ] = False,
    keep_endpoints: Annotated[
        bool, typer.Option("--keep-endpoints", help="No resource has moved since: keep the addresses of then.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into the store of the settings, which has to be empty. Stop all nodes first.

    Where the folder of --caddy-data is empty, Caddy's files are put there; else it says which certificates Caddy has. Without
    --caddy-data and --caddy-kept no certificate of Caddy's is relied on until it has been seen.
    """
    from router.backup import restoring
    from router.backup.archive import reading
    from router.base.clock import SystemClock
    from router.base.secret_box import SecretBox

    with reported(as_json), reading(file) as archive:
        if caddy_data is not None and caddy_kept:
            raise CommandError("used_wrongly", "--caddy-data and --caddy-kept exclude each other")
        settings = command_settings(config)
        remarks = list(restoring.check(archive, SecretBox(settings.secret_keys())))
        manifest = archive.manifest
        shown: dict[str, Any] = {
            "made_at": manifest.made_at,
            "version": manifest.version,
            "revision": manifest.revision,
            "rows": manifest.rows,
            "remarks": remarks,
        }
        if check:
            show(shown, as_json, lambda: _checked(shown, remarks))
            return
        options = restoring.Options(
            caddy_data=caddy_data,
            caddy_kept=caddy_kept,
            keep_endpoints=keep_endpoints,
            attempts_kept=_attempts_kept(settings),
        )
        line = ProgressLine()
        try:
            now = SystemClock().now()
            done = asyncio.run(restoring.restore(archive, settings.database_url, now, options, progress=line))
        finally:
            line.clear()
        warnings = _warnings(manifest.made_at, done, caddy_known=caddy_kept or caddy_data is not None)
        shown |= {**asdict(done.fitted), "caddy_files": done.caddy_files, "warnings": warnings}
        show(
            shown,
            as_json,
            lambda: "\n".join([_checked(shown, remarks), "restored. Before the nodes start:", *warnings]),
        )


def _attempts_kept(settings: "Settings") -> float:
    gate = settings.gate
    return max(gate.host_window, gate.registered_domain_window, gate.account_window)


def _checked(shown: dict[str, Any], remarks: Sequence[str]) -> str:
    head = f"the backup is whole: {shown['rows']} rows of {shown['made_at']}, revision {shown['revision']}"
    return "\n".join([head, *(f"  note: {remark}" for remark in remarks)])


def _warnings(made_at: str, done: "Restored", *, caddy_known: bool) -> list[str]:
    """What has to be known or done, since the store says again what was so when the backup was made."""
    at = f"{datetime.fromisoformat(made_at):%Y-%m-%d %H:%M} UTC"
    fitted = done.fitted
    found = [
        (
            f"WARNING: API keys, links and passwords that were revoked after {at} are valid again. Revoke them anew: "
            f"`miosa-router keys list` shows the {fitted.api_keys} keys that are valid"
        ),
        (
            f"WARNING: previews that were made private after {at} are public again, blocks that were placed after it are gone, "
            "and tenants and domains that were deleted after it are back"
        ),
        (
            f"{fitted.sessions_ended} sessions of visitors were ended, and all cookies of previews are void: visitors sign in, "
            "or open their links, once more"
        ),
    ]
    if fitted.endpoints_dropped:
        found.append(
            f"{fitted.endpoints_dropped} endpoints were dropped, since another's program may listen there by now: have the "
            "platform send all resources and endpoints again (PUT /internal/v1/resources, POST /internal/v1/endpoints/batch)"
        )
    if not caddy_known:
        found.append(
            "what was known of Caddy's certificates was forgotten: each host counts as one without a certificate until it is "
            "visited by https"
        )
    found.append(
        f"budgets: {fitted.attempts_kept} attempts of then count from now on, and {fitted.attempts_added} certificates that "
        "Caddy got since"
    )
    return found
