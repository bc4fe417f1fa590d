"""`tenants`: the platform's customers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.base.clock import iso
from router.cli.options import PAGE, AsJson, Config, Limit, Page, group, window
from router.cli.output import show, show_list
from router.cli.run_command import reported, with_services

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


def _tenant(tenant: "Tenant") -> dict[str, Any]:
    return {
        "id": tenant.id,
        "slug": tenant.slug,
        "name": tenant.name,
        "plan": tenant.plan,
        "created_at": iso(tenant.created_at),
    }
