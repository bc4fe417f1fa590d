"""`tenants`: the platform's customers."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.base.clock import iso
from router.cli.options import PAGE, AsJson, Config, Limit, Page, group, window
from router.cli.output import ProgressLine, show, show_list
from router.cli.run_command import CommandError, command_settings, reported, with_services

if TYPE_CHECKING:
    from router.tenancy.tenants import Tenant

commands = group("The platform's customers.")


@commands.command("create")
def tenants_create(
    name: str,
    slug: Annotated[str | None, typer.Option(help="Made from the name if not given.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create a tenant with its default workspace and project."""
    with reported(as_json):
        tenant = with_services(
            config, lambda services: services.tenants.create(name, slug=slug), act="tenant.create", about=name
        )
        shown = {"id": tenant.id, "slug": tenant.slug, "name": tenant.name}
        show(shown, as_json)


@commands.command("list")
def tenants_list(limit: Limit = PAGE, page: Page = 1, config: Config = None, as_json: AsJson = False) -> None:
    """List the tenants."""
    with reported(as_json):
        found = with_services(config, lambda services: services.tenants.list(window(limit, page)), reads=True)
        show_list(found, _tenant, as_json, page)


@commands.command("delete")
def tenants_delete(
    tenant: Annotated[str, typer.Argument(metavar="ID|SLUG")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Delete a tenant with everything of theirs, and show that nothing is left. It can't be undone.

    At once nothing of it is served any more. If the command is interrupted a running node goes on, or the command when it is run
    again.
    """
    from router.cli.deletion import delete_tenant

    with reported(as_json):
        settings = command_settings(config)
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise CommandError("not_confirmed", "this deletes everything of the tenant's for good: say --yes")
            typer.confirm(f"Delete everything of {tenant!r} for good?", abort=True, err=True)
        line = ProgressLine()
        try:
            done = asyncio.run(delete_tenant(settings, tenant, lambda what, gone: line(what, gone, gone)))
        finally:
            line.clear()
        show(done.document(), as_json, done.text)
        if done.left:
            raise CommandError("rows_left", "rows of the tenant's are left: run the command again")


def _tenant(tenant: "Tenant") -> dict[str, Any]:
    return {
        "id": tenant.id,
        "slug": tenant.slug,
        "name": tenant.name,
        "plan": tenant.plan,
        "created_at": iso(tenant.created_at),
    }
