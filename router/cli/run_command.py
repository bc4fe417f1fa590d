"""How a command runs: settings, the store and its services, and what becomes of its errors. Exit status 1: it failed."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import typer

from router.cli import output
from router.errors import NOT_FOUND, VALIDATION_FAILED, RouterError, StoreUnavailableError

if TYPE_CHECKING:
    from router.node.services import Services
    from router.settings import Settings
    from router.tenancy.tenants import Tenant

T = TypeVar("T")

# Fields of the API that are called otherwise on the command line.
_WORDS = {
    "id": "ID",
    "name": "NAME",
    "subject": "SUBJECT",
    "domain": "DOMAIN",
    "fqdn": "DOMAIN",
    "actor": "--by",
    "expires_at": "--until",
    "ports": "--port",
    "exposed_ports": "--exposed-port",
    "host_modes": "--host-mode",
    "schemes": "--scheme",
    "protocols": "--protocol",
    "version_id": "--version-id",
}


class CommandError(Exception):
    """Why a command can't go on, with a code for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Turn what a command may raise into words on standard error and exit status 1."""
    from router.backup.errors import BackupError
    from router.node.sockets import ListenError
    from router.settings import SettingsError

    try:
        yield
    except SettingsError as error:
        fields = {key: [what] for key, what in error.problems}
        _fail("invalid_settings", "these settings can't be used:", as_json, fields)
    except RouterError as error:
        message = "these values can't be used:" if error.problem is VALIDATION_FAILED else error.message
        _fail(
            error.problem.code,
            error.message if as_json else message.replace("; see error.fields.", ":"),
            as_json,
            error.fields,
            _option,
            error.beside,
        )
    except StoreUnavailableError as error:
        _fail("store_unavailable", f"the store can't be used: {error}", as_json)
    except (BackupError, CommandError) as error:
        _fail(error.code, error.message, as_json)
    except ListenError as error:
        _fail("cannot_listen", str(error), as_json)
    except BrokenPipeError:  # the program that reads our output has read enough
        sys.stdout = sys.stderr
        raise typer.Exit(1) from None
    except OSError as error:
        _fail("system_error", str(error), as_json)


def _fail(
    code: str,
    message: str,
    as_json: bool,
    fields: Mapping[str, list[str]] | None = None,
    word: Callable[[str], str] = str,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """`beside` are further members of the error: of a domain that is not verified the `records` to change."""
    problems = [f"{word(key)}: {what}" for key, said in (fields or {}).items() for what in said if what != message]
    records = (beside or {}).get("records", ())
    problems += [f"{one['action']} {one['type']} {one['host']} {one['value']}" for one in records]
    output.show_error(code, message, as_json, problems, fields, beside)
    raise typer.Exit(1)


def _option(field: str) -> str:
    """The option or argument that the API's field is on the command line."""
    return _WORDS.get(field) or "--" + field.removesuffix("_id").replace("_", "-")


def command_settings(config: Path | None) -> "Settings":
    """The settings for a command that is not a server: it logs what is wrong, and no more."""
    from router.observe import logs
    from router.settings import load

    settings = load(config)
    logs.configure(settings.model_copy(update={"log_level": "warning"}))
    return settings


@overload
def with_services(
    config: Path | None, work: "Callable[[Services], Awaitable[T]]", *, reads: Literal[True], secrets: bool = False
) -> T: ...


@overload
def with_services(
    config: Path | None,
    work: "Callable[[Services], Awaitable[T]]",
    *,
    act: str,
    about: str | None = None,
    secrets: bool = False,
) -> T: ...


def with_services(
    config: Path | None,
    work: "Callable[[Services], Awaitable[T]]",
    *,
    reads: bool = False,
    act: str | None = None,
    about: str | None = None,
    secrets: bool = False,
) -> T:
    """Run `work` on the store and return what it returns. A command that only `reads` makes no database; every other says what it does as
    the audit log calls it (`act`, as `tenant.create`) and to what, where an id or name is given (`about`). With `secrets` it reads and
    stores those that are encrypted."""
    from router.node.services import open_services

    async def run(settings: "Settings") -> T:
        async with open_services(settings, secrets=secrets) as services:
            return await (work(services) if act is None else _audited(services, work, act, about))

    settings = command_settings(config)
    if not reads:
        return asyncio.run(run(settings))
    with database_to_read(settings) as found:
        return asyncio.run(run(found))


async def _audited(
    services: "Services", work: "Callable[[Services], Awaitable[T]]", action: str, about: str | None
) -> T:
    """Run `work` as an act of the user who runs the command: its entry is stored with what it changes."""
    from router.audit.act import Act, acting, operator
    from router.audit.entry import Via
    from router.base.ids import is_id

    act = Act(actor=operator(os.getuid(), user()), via=Via.CLI, action=action, bound=False)
    if about is not None and is_id(about):
        act.resource_id = about
    else:
        act.resource_name = about
    with acting(act):
        result = await work(services)
    if act.stored is None:  # nothing had to be changed
        services.audit.ended(act, 200)
        await services.audit.flush()
    return result


def user() -> str:
    """The user of the operating system who runs a command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this number, as in many containers
        return f"user {os.getuid()}"


async def tenant_id(services: "Services", tenant: str | None) -> str | None:
    """The id of the tenant that an option names by id or slug; None where it names none. Raises RouterError: NOT_FOUND."""
    return None if tenant is None else (await named_tenant(services, tenant)).id


async def named_tenant(services: "Services", id_or_slug: str) -> "Tenant":
    """The tenant that an option names. Raises RouterError: NOT_FOUND, with what to do next."""
    try:
        return await services.tenants.find(id_or_slug)
    except RouterError as error:
        if error.problem is not NOT_FOUND:
            raise
        hint = "`miosa-router tenants list` shows those there are, `miosa-router tenants create` makes one"
        raise RouterError(NOT_FOUND, f"no tenant has the id or slug {id_or_slug[:80]!r}; {hint}") from None


@contextmanager
def database_to_read(settings: "Settings") -> "Iterator[Settings]":
    """The settings for a command that only reads: where their SQLite file does not exist, with an empty one that is thrown
    away afterwards."""
    from router.store.engine import sqlite_file

    file = sqlite_file(settings.database_url)
    # A folder that does not exist is a mistake, which is reported when the store is opened.
    if file is None or file.exists() or not file.parent.is_dir():
        yield settings
        return
    output.note(f"{file} does not exist; `miosa-router db upgrade` makes it")
    with TemporaryDirectory() as folder:
        yield settings.model_copy(update={"database_url": f"sqlite:///{folder}/empty.db"})
