"""`block`, `unblock` and `blocks list`: what the operator does not let us serve."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from router.base.clock import iso
from router.cli.options import PAGE, AsJson, Config, Limit, Page, group, parse_time, time_text, window
from router.cli.output import show, show_list
from router.cli.run_command import reported, user, with_services

if TYPE_CHECKING:
    from router.node.services import Services
    from router.tenancy.blocks import Block

commands = group("What is blocked.")

_Kind = Literal["host", "resource", "tenant"]  # BlockKind's values, which a test compares


def block(
    kind: Annotated[_Kind, typer.Argument(metavar="host|resource|tenant", show_choices=False)],
    subject: Annotated[str, typer.Argument(help="The host; the id or slug of the resource or tenant.")],
    reason: Annotated[str, typer.Option(help="Why, for operators.")],
    public_reason: Annotated[str | None, typer.Option(help="What the owner is told.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="When it ends, as 2026-05-17T10:00:00Z.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who decided it, if not the user who runs this.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Block a host, resource or tenant: it answers 451, gets no certificate, and open connections are cut."""
    from router.tenancy.blocks import BlockKind, Order

    order = Order(
        reason=reason, public_reason=public_reason, actor=by or user(), expires_at=parse_time(until, "--until")
    )

    async def place(services: "Services") -> "Block":
        return (await services.blocks.block(BlockKind(kind), subject, order))[0]

    with reported(as_json):
        shown = _block(with_services(config, place, act="block.create", about=subject))
        show(shown, as_json)


def unblock(
    kind: Annotated[_Kind, typer.Argument(metavar="host|resource|tenant", show_choices=False)],
    subject: Annotated[str, typer.Argument(help="The host; the id or slug of the resource or tenant.")],
    by: Annotated[str | None, typer.Option(help="Who decided it, if not the user who runs this.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Lift a block, and those that follow from it."""
    from router.tenancy.blocks import BlockKind

    which = BlockKind(kind)
    with reported(as_json):
        lifted = with_services(
            config,
            lambda services: services.blocks.unblock(which, subject, actor=by or user()),
            act="block.lift",
            about=subject,
        )
        shown = _block(lifted)
        show(shown, as_json)


@commands.command("list")
def blocks_list(
    kind: Annotated[_Kind | None, typer.Option(help="Only those of hosts, resources or tenants.")] = None,
    lifted: Annotated[bool, typer.Option("--all", help="Lifted ones as well.")] = False,
    limit: Limit = PAGE,
    page: Page = 1,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List blocks, the newest first: why, by whom, and until when."""
    from router.tenancy.blocks import BlockFilter, BlockKind

    with reported(as_json):
        where = BlockFilter(kind=None if kind is None else BlockKind(kind), lifted=lifted)
        found = with_services(config, lambda services: services.blocks.list(where, window(limit, page)), reads=True)
        show_list(found, _block, as_json, page)


def _block(block: "Block") -> dict[str, Any]:
    return {
        "id": block.id,
        "kind": str(block.kind),
        "subject": block.subject,
        "reason": block.reason,
        "public_reason": block.public_reason,
        "actor": block.actor,
        "tenant_id": block.tenant_id,
        "cause_id": block.cause_id,
        "created_at": iso(block.created_at),
        "expires_at": time_text(block.expires_at),
        "lifted_at": time_text(block.lifted_at),
        "lifted_by": block.lifted_by,
    }
