"""From argv to one command. The only file that prints.

What was asked for goes to standard output, as text for people or, with `--json`, as one JSON document with the API's
field names. What went wrong goes to standard error. Exit status: 0 done, 1 failed, 2 used wrongly.
"""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.clock import iso
from router.control import open_explainer
from router.demo import stage
from router.domains.custom import CustomDomain, DomainFilter
from router.domains.diagnoses import Diagnosis
from router.domains.looking import dns_status
from router.errors import RouterError, StoreUnavailableError
from router.listening import ListenError
from router.observe import logs
from router.observe.secrets import mask_text
from router.settings import Settings, SettingsError, load, parse
from router.settings import read as read_settings
from router.store import migrate
from router.tenancy.keys import Key, KeyScope, read_scope
from router.tenancy.tenants import Tenant
from router.unit import Listing, Window
from router.verbs import Verbs, open_verbs
from router.workers import serving

T = TypeVar("T")
Json = Mapping[str, Any] | Sequence[Any]

_ALL = Window(limit=1_000_000)  # lists at a command line have no pages

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file with settings; MIOSA_ROUTER_* variables win over it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_OPTIONS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich" if sys.stdout.isatty() else None,  # None: plain text
}
app = typer.Typer(help="MIOSA's edge preview router and TLS gatekeeper.", **_OPTIONS)
db = typer.Typer(help="The store's schema.", **_OPTIONS)
tenants = typer.Typer(help="The platform's customers.", **_OPTIONS)
keys = typer.Typer(help="API keys.", **_OPTIONS)
domains = typer.Typer(help="Custom domains.", **_OPTIONS)
for _name, _group in (("db", db), ("tenants", tenants), ("keys", keys), ("domains", domains)):
    app.add_typer(_group, name=_name)


def main() -> None:
    """The console script."""
    app()


@app.command()
def serve(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write every log line as JSON.")] = False,
) -> None:
    """Serve until a signal ends it. An SQLite store is made and migrated first; PostgreSQL needs `db upgrade`."""

    def read() -> Mapping[str, Any]:
        return read_settings(config) | ({"log_format": "json"} if as_json else {})

    with _reported(as_json):
        settings = parse(read())
        logs.configure(settings)
        serving.serve(settings, read)


@app.command("check-config")
def check_config(config: Config = None, as_json: AsJson = False) -> None:
    """Print the effective settings, secrets masked. Fails naming each key that is unknown or wrong."""
    with _reported(as_json):
        shown = _masked(load(config).model_dump())
        _print(shown, as_json, lambda: "\n".join(f"{key} = {json.dumps(value)}" for key, value in _flat(shown)))


@db.command("upgrade")
def db_upgrade(config: Config = None, as_json: AsJson = False) -> None:
    """Bring the store to the schema of this version. Safe to repeat, and when several do it at once."""
    with _reported(as_json):
        settings = _settings(config)
        before, after = asyncio.run(migrate(settings.database_url))
        words = f"from {before or 'nothing'} to {after}" if before != after else f"at {after} already"
        _print({"from": before, "to": after}, as_json, lambda: f"the schema is {words}")


@tenants.command("create")
def tenants_create(
    name: str,
    slug: Annotated[str | None, typer.Option(help="Made from the name if not given.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant with its default workspace and project."""
    with _reported(as_json):
        tenant = _with_verbs(config, lambda verbs: verbs.tenants.create(name, slug=slug))
        shown = {"id": tenant.id, "slug": tenant.slug, "name": tenant.name}
        _print(shown, as_json, lambda: _lines(shown))


@tenants.command("list")
def tenants_list(config: Config = None, as_json: AsJson = False) -> None:
    """List the tenants."""
    with _reported(as_json):
        found = _with_verbs(config, lambda verbs: verbs.tenants.list(_ALL))
        _print_list(found, _tenant, as_json)


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="The tenant's id or slug.")],
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="platform, tenant, workspace:ID or project:ID.")
    ] = "tenant",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "default",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is shown this once: only its hash is kept."""
    wanted, scope_id = _parse_scope(scope)

    async def create(verbs: Verbs) -> tuple[Key, str]:
        holder = await verbs.tenants.find(tenant)
        return await verbs.keys.create(holder.id, scope=wanted, scope_id=scope_id, name=name)

    with _reported(as_json):
        key, plain = _with_verbs(config, create)
        shown = {"id": key.id, "key": plain, "scope": key.scope_text}
        _print(shown, as_json, lambda: _lines(shown))


@keys.command("list")
def keys_list(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's, by id or slug.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List API keys, revoked ones included."""

    async def find(verbs: Verbs) -> Listing[Key]:
        holder = None if tenant is None else await verbs.tenants.find(tenant)
        return await verbs.keys.list(_ALL, tenant_id=None if holder is None else holder.id)

    with _reported(as_json):
        _print_list(_with_verbs(config, find), _key, as_json)


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take a key away: from now on it opens nothing."""
    with _reported(as_json):
        shown = _key(_with_verbs(config, lambda verbs: verbs.keys.revoke(key_id)))
        _print(shown, as_json, lambda: _lines(shown))


@domains.command("list")
def domains_list(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's, by id or slug.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List custom domains, removed ones left out."""

    async def find(verbs: Verbs) -> Listing[CustomDomain]:
        holder = None if tenant is None else await verbs.tenants.find(tenant)
        return await verbs.custom_domains.list(DomainFilter(tenant_id=None if holder is None else holder.id), _ALL)

    with _reported(as_json):
        _print_list(_with_verbs(config, find), _domain, as_json)


@domains.command("verify")
def domains_verify(fqdn: str, config: Config = None, as_json: AsJson = False) -> None:
    """Look at DNS now; a custom domain that leads here is verified. Nothing changes where it does not."""

    async def verify(verbs: Verbs) -> CustomDomain:
        domain = await verbs.custom_domains.find(fqdn)
        return await verbs.verification.custom_domain(domain.id)

    with _reported(as_json):
        shown = _domain(_with_verbs(config, verify))
        _print(shown, as_json, lambda: _lines(shown))


@domains.command("diagnose")
def domains_diagnose(
    fqdn: str,
    tenant: Annotated[str | None, typer.Option(help="As it stands for this tenant, by id or slug.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Look at DNS now and say what is wrong with a name, registered or not, and which record to change."""

    async def look(verbs: Verbs) -> Diagnosis:
        holder = None if tenant is None else await verbs.tenants.find(tenant)
        return await verbs.diagnoses.name(fqdn, None if holder is None else holder.id)

    with _reported(as_json):
        shown = _diagnosis(_with_verbs(config, look))
        _print(shown, as_json, lambda: "\n".join(_finding_lines(shown)))


@app.command()
def explain(host: str, config: Config = None, as_json: AsJson = False) -> None:
    """Say step by step where a host leads, and what the gate would say of a certificate for it."""
    with _reported(as_json):
        settings = _settings(config)

        async def ask() -> dict[str, Any]:
            async with open_explainer(settings) as explainer:
                return await explainer.explain(host)

        steps = _steps(asyncio.run(ask()))
        _print(steps, as_json, lambda: "\n".join(_step_line(step) for step in steps))


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Play the whole thing on this machine: router, Caddy and sample sandboxes, until Ctrl-C."""
    with _reported(as_json):
        asyncio.run(stage.run(Path.cwd(), _say, as_json=as_json))


def _say(text: str) -> None:
    print(text, end="", flush=True)


def _settings(config: Path | None) -> Settings:
    """The settings for a command that is not a server: it logs what is wrong, and no more."""
    settings = load(config)
    logs.configure(settings.model_copy(update={"log_level": "warning"}))
    return settings


def _with_verbs(config: Path | None, work: Callable[[Verbs], Awaitable[T]]) -> T:
    settings = _settings(config)

    async def run() -> T:
        async with open_verbs(settings) as verbs:
            return await work(verbs)

    return asyncio.run(run())


@contextmanager
def _reported(as_json: bool) -> Iterator[None]:
    """Turn what a command may raise into words on standard error and exit status 1."""
    try:
        yield
    except SettingsError as error:
        problems = [f"{key}: {what}" for key, what in error.problems]
        fields = {key: [what] for key, what in error.problems}
        _fail("invalid_settings", "the settings can't be used", as_json, problems, fields)
    except RouterError as error:
        problems = [f"{field}: {message}" for field, messages in error.fields.items() for message in messages]
        _fail(error.problem.code, error.message, as_json, problems, error.fields)
    except StoreUnavailableError as error:
        _fail("store_unavailable", f"the store can't be used: {error}", as_json)
    except ListenError as error:
        _fail("cannot_listen", str(error), as_json)
    except stage.DemoError as error:
        _fail("demo_failed", str(error), as_json)
    except BrokenPipeError:  # whoever read our output has read enough
        sys.stdout = sys.stderr
        raise typer.Exit(1) from None
    except OSError as error:
        _fail("system_error", str(error), as_json)


def _fail(
    code: str,
    message: str,
    as_json: bool,
    problems: Sequence[str] = (),
    fields: Mapping[str, Sequence[str]] | None = None,
) -> None:
    message = mask_text(message)
    if as_json:
        shown = {"code": code, "message": message, **({"fields": fields} if fields else {})}
        print(json.dumps({"error": shown}), file=sys.stderr)
    else:
        print("\n".join([f"miosa-router: {message}", *(f"  {problem}" for problem in problems)]), file=sys.stderr)
    raise typer.Exit(1)


def _print(document: Json, as_json: bool, text: Callable[[], str]) -> None:
    print(json.dumps(document) if as_json else text())


def _print_list(found: Listing[T], show: Callable[[T], dict[str, Any]], as_json: bool) -> None:
    rows = [show(item) for item in found.items]
    if as_json:
        print(json.dumps({"data": rows, "total": found.total}))
    elif not rows:
        print("none")
    elif sys.stdout.isatty():
        table = Table(*rows[0], box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row.values()))
        Console().print(table)
    else:
        # For `cut` and `awk`: nothing is wrapped or shortened.
        print("\t".join(rows[0]))
        for row in rows:
            print("\t".join(_cell(value) for value in row.values()))


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _lines(shown: Mapping[str, Any]) -> str:
    width = max(map(len, shown))
    return "\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in shown.items())


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else iso(instant)


def _tenant(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "slug": tenant.slug,
        "name": tenant.name,
        "plan": tenant.plan,
        "created_at": iso(tenant.created_at),
    }


def _key(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant_id": key.tenant_id,
        "scope": key.scope_text,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": iso(key.created_at),
        "last_used_at": _time(key.last_used_at),
        "revoked_at": _time(key.revoked_at),
    }


def _domain(domain: CustomDomain) -> dict[str, Any]:
    return {
        "id": domain.id,
        "fqdn": domain.fqdn,
        "status": str(domain.status),
        "dns_status": dns_status(domain.check.finding),
        "method": domain.check.method,
        "failure_reason": domain.failure_reason,
        "tenant_id": domain.tenant_id,
        "computer_id": domain.computer_id,
        "deployment_id": domain.deployment_id,
        "verified_at": _time(domain.verified_at),
        "tls_issued_at": _time(domain.tls_issued_at),
        "checked_at": _time(domain.check.checked_at),
        "next_check_at": _time(domain.check.next_check_at),
        "created_at": iso(domain.created_at),
    }


def _diagnosis(found: Diagnosis) -> dict[str, Any]:
    return {
        "domain": found.domain,
        "status": found.status,
        "healthy": found.healthy,
        "checked_at": iso(found.checked_at),
        "findings": [{**dataclasses.asdict(one), "docs_url": found.docs(one)} for one in found.remarks],
    }


def _finding_lines(shown: Mapping[str, Any]) -> Iterator[str]:
    for finding in shown["findings"]:
        yield f"{finding['severity']}: {finding['message']}"
        for record in finding["records"]:
            yield f"  {record['action']} {record['type']} {record['host']} {record['value']}"


def _parse_scope(text: str) -> tuple[KeyScope, str | None]:
    scope = read_scope(text)
    if scope is None:
        raise typer.BadParameter(f"{text!r} is not platform, tenant, workspace:ID or project:ID", param_hint="--scope")
    return scope


def _steps(explained: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `explain` found, as one list in the order of the resolution."""
    source, decision, gate = explained["source"], explained["decision"], explained["gate"]
    steps = [{"step": "record", "source": source, **step} for step in explained["steps"]]
    resource, endpoint = decision["resource"], explained["endpoint"]
    outcome = decision["reason"]
    if decision["redirect_to"] is not None:
        outcome = f"redirect to {decision['redirect_to']}"
    elif endpoint is not None:
        outcome = f"served by {resource['kind']} {resource['slug']} at {endpoint['address']} port {endpoint['port']}"
    elif decision["error"] is not None:
        outcome = f"{decision['reason']}: answered {decision['status']} {decision['error']}"
    steps.append({"step": "decision", "outcome": outcome, **decision, "endpoint": endpoint})
    steps.append({"step": "gate", "outcome": f"{gate['status']} {gate['reason']}", **gate})
    return steps


def _step_line(step: Mapping[str, Any]) -> str:
    about = f"{step['key']} ({step['source']})" if step["step"] == "record" else step["step"]
    return f"{about}: {step['outcome']}"


def _masked(value: Any) -> Any:
    """Settings as JSON has them, in a stable order, without secrets."""
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(_masked(inner) for inner in value)
    if isinstance(value, tuple | list):
        return [_masked(inner) for inner in value]
    if isinstance(value, str):
        return mask_text(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _flat(shown: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in shown.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
