"""`keys`: API keys."""

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.base.clock import iso
from router.base.key_scopes import KeyScope, read_scope
from router.base.paging import Listing
from router.cli.options import PAGE, AsJson, Config, Limit, OneTenant, Page, group, time_text, uuid, window
from router.cli.output import show, show_list
from router.cli.run_command import command_settings, named_tenant, reported, tenant_id, with_services
from router.errors import CONFLICT, NOT_FOUND, RouterError

if TYPE_CHECKING:
    from router.node.services import Services
    from router.routes.records import SigningKey
    from router.tenancy.keys import Key

commands = group("API keys.")


class Signed(enum.StrEnum):
    """What the fleet's keys sign."""

    COOKIES = "cookies"
    IDENTITY = "identity"


@commands.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="The tenant's id or slug.")],
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="platform, tenant, workspace:ID or project:ID.")
    ] = "tenant",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "default",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key. It is shown once: only its hash is stored."""
    wanted, scope_id = _parse_scope(scope)

    async def create(services: "Services") -> "tuple[Key, str]":
        holder = await named_tenant(services, tenant)
        return await services.keys.create(holder.id, scope=wanted, scope_id=scope_id, name=name)

    with reported(as_json):
        key, plain = with_services(config, create, act="api_key.create", about=name)
        shown = {"id": key.id, "key": plain, "scope": key.scope_text}
        show(shown, as_json)


@commands.command("list")
def keys_list(
    tenant: OneTenant = None,
    limit: Limit = PAGE,
    page: Page = 1,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List API keys, revoked ones included."""

    async def find(services: "Services") -> "Listing[Key]":
        return await services.keys.list(window(limit, page), tenant_id=await tenant_id(services, tenant))

    with reported(as_json):
        show_list(with_services(config, find, reads=True), _key, as_json, page)


@commands.command("revoke")
def keys_revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", callback=uuid("`keys list` shows the ids"), help="As `keys list` shows it.")
    ],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: requests with it are refused from now on."""
    with reported(as_json):
        revoked = with_services(
            config, lambda services: services.keys.revoke(key_id), act="api_key.revoke", about=key_id
        )
        shown = _key(revoked)
        show(shown, as_json)


@commands.command("rotate-signing")
def keys_rotate_signing(
    of: Annotated[
        Signed,
        typer.Option(
            help="cookies: of visitors by link, password or sign-in; identity: X-Miosa-Identity, which says who visitors are."
        ),
    ] = Signed.COOKIES,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Replace the key that signs cookies, or who visitors are, because it has leaked. What it has signed is void at once: who
    came by a link has to open it again; programs read the public keys again when they meet the new one. Without a leak there is
    nothing to do: keys are rotated by themselves."""

    async def replace(services: "Services") -> "SigningKey":
        from router.tenancy.signing_keys import PURPOSES

        (purpose,) = [purpose for purpose in PURPOSES if purpose.name == of]
        return await services.signing_keys.replace(purpose)

    with reported(as_json):
        key = with_services(config, replace, act="signing_key.rotate", about=of.value)
        show({"id": key.id, "signs": of.value}, as_json)


@commands.command("rotate-secrets")
def keys_rotate_secrets(
    forget_lost: Annotated[
        bool,
        typer.Option(
            "--forget-lost",
            help="Let go of certificates whose private key none of the keys opens: zones get another one, customers upload theirs again.",
        ),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Encrypt the secrets of customers' logins and log drains and the private keys of certificates with the first of the keys of `secrets_key`.
    Afterwards the others can be taken away. `lost` counts those that none of the keys opens: they stay as they are."""

    async def reseal(services: "Services") -> tuple[int, int]:
        done, lost = await services.logins.reseal()
        more_done, more_lost = await services.sealed_keys.reseal(forget=forget_lost)
        drains_done, drains_lost = await services.log_drains.reseal()
        return done + more_done + drains_done, lost + more_lost + drains_lost

    with reported(as_json):
        done, lost = with_services(config, reseal, act="secrets_key.rotate", secrets=True)
        show({"encrypted": done, "lost": lost}, as_json)


@commands.command("rotate-acme")
def keys_rotate_acme(config: Config = None, as_json: AsJson = False) -> None:
    """Replace the key of the fleet's account at the certificate authority, because it has leaked. The node that orders
    certificates does it as soon as no order is under way, mostly within a minute; its log says `account key replaced`."""
    settings = command_settings(config)
    with reported(as_json):
        acme = settings.acme()
        if acme is None:
            raise RouterError(CONFLICT, "This router orders no certificates: no acme_zone is set.")
        directory = acme.directory
        wanted = with_services(
            config,
            lambda services: services.account_keys.want_new(directory),
            act="acme_account.rotate",
            about=directory,
            secrets=True,
        )
        if not wanted:
            raise RouterError(NOT_FOUND, f"There is no account at {directory} yet; its key is made with it.")
        show({"directory": directory, "replaced": "soon"}, as_json)


def _parse_scope(text: str) -> tuple[KeyScope, str | None]:
    scope = read_scope(text)
    if scope is None:
        raise typer.BadParameter(f"{text!r} is not platform, tenant, workspace:ID or project:ID", param_hint="--scope")
    return scope


def _key(key: "Key") -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant_id": key.tenant_id,
        "scope": key.scope_text,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": iso(key.created_at),
        "last_used_at": time_text(key.last_used_at),
        "revoked_at": time_text(key.revoked_at),
    }
