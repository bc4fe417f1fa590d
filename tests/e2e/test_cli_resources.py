"""The command line says what the API says: resources, endpoints and domains, and which option was wrong."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from router.base.clock import SystemClock
from router.routes.records import Scope
from router.store import Store
from tests.e2e.test_cli import NOBODY, Cli
from tests.support.database import migrated_file
from tests.support.held_certificates import a_held
from tests.support.router import Router
from tests.support.world import World

pytestmark = pytest.mark.e2e


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path, {"MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8"})


def test_from_a_resource_to_a_removed_domain(tmp_path: Path) -> None:
    """What commands make, a running node shows with the same fields; a domain is registered, listed and removed."""
    with Router(tmp_path) as router:
        cli = Cli(tmp_path, router.environment)
        cli.json("tenants", "create", "Acme")
        words = ("--kind", "computer", "--slug", "shop1", "--tenant", "acme", "--default-port", "3000")
        made = cli.json("resources", "put", "new", *words, "--exposed-port", "5173", "--host-mode", "5173=localhost")
        assert router.internal("GET", f"/resources/{made['id']}")["data"] == made
        renamed = cli.json("resources", "put", made["id"], *words, "--name", "The shop")
        assert (renamed["name"], renamed["exposed_ports"]) == ("The shop", [5173])
        assert (renamed["wake"], renamed["keeps_awake"]) == (None, None)
        renamed = cli.json("resources", "put", made["id"], *words, "--wake", "authorised", "--no-keeps-awake")
        assert (renamed["name"], renamed["wake"], renamed["keeps_awake"]) == ("The shop", "authorised", False)
        assert cli.json("resources", "put", made["id"], *words, "--keeps-awake")["keeps_awake"] is True
        renamed = cli.json("resources", "get", made["id"])
        assert (renamed["wake"], router.internal("GET", f"/resources/{made['id']}")["data"]) == ("authorised", renamed)
        assert cli.json("resources", "list", "--tenant", "acme") == {"data": [renamed], "total": 1}
        assert "shop1" in cli("resources", "list", "--kind", "computer").stdout

        stored = cli.json("endpoints", "put", made["id"], "--address", "127.0.0.1", "--port", "3000=8000")
        assert router.internal("GET", f"/endpoints/{made['id']}")["data"] == stored
        assert cli.json("endpoints", "get", made["id"]) == stored

        domain = cli.json("domains", "register", "www.example.com", "--resource", made["id"])
        assert (domain["status"], domain["computer_id"]) == ("pending", made["id"])
        assert domain["instructions"].startswith("Add a CNAME record for www.example.com")
        assert [row["fqdn"] for row in cli.json("domains", "list")["data"]] == ["www.example.com"]
        assert cli.json("domains", "remove", "www.example.com")["status"] == "removed"
        assert cli.json("domains", "list")["total"] == 0

        assert cli.json("endpoints", "delete", made["id"]) == {"resource_id": made["id"], "deleted": True}
        assert cli.error("endpoints", "get", made["id"])["code"] == "not_found"
        assert cli.json("resources", "delete", made["id"])["state"] == "destroyed"
        assert cli.json("resources", "list")["total"] == 0


def test_errors_name_options(cli: Cli) -> None:
    """What the API calls a field is an option here, with the reason; programs get the API's names."""
    cli.json("tenants", "create", "Acme")
    made = cli.json("resources", "put", "new", "--kind", "sandbox", "--slug", "sbx1", "--tenant", "acme")
    for words, said in (
        (("tenants", "create", "x", "--slug", "-"), "  --slug: must start with"),
        (("tenants", "create", " "), "  NAME: can't be blank"),
        (("keys", "create", "--tenant", "acme", "--scope", f"workspace:{NOBODY}"), "  --scope: is not a workspace"),
        (("endpoints", "put", made["id"], "--address", "8.8.8.8"), "  --address: "),
        (
            ("domains", "register", "www.example.com", "--resource", made["id"]),
            "  --resource: is a sandbox; domains lead",
        ),
    ):
        done = cli(*words)
        assert done.returncode == 1
        assert done.stderr.startswith("miosa-router: these values can't be used:\n")
        assert said in done.stderr
        assert "error.fields" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("resources", "get", "shop1"),
        ("resources", "put", "shop1", "--kind", "sandbox", "--slug", "shop1", "--tenant", "acme"),
        ("endpoints", "get", "shop1"),
        ("keys", "revoke", "shop1"),
        ("domains", "register", "www.example.com", "--resource", "shop1"),
    ],
    ids=" ".join,
)
def test_an_id_is_a_uuid(cli: Cli, words: tuple[str, ...]) -> None:
    """Where an id is wanted, anything else is refused with an example and where ids come from."""
    done = cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'shop1' is not a UUID, as 0d9f4c52" in done.stderr
    assert "`" in done.stderr.rpartition("is one; ")[2]


@pytest.mark.parametrize("pair", ["3000", "3000=", "http=80", "3000=x"])
def test_a_pair_has_two_sides(cli: Cli, pair: str) -> None:
    """`--port` wants PORT=REAL."""
    done = cli("endpoints", "put", str(uuid.uuid4()), "--address", "127.0.0.1", "--port", pair)
    assert done.returncode == 2
    assert "--port" in done.stderr


def test_version_help_and_completion(cli: Cli) -> None:
    """`--version` and `-h` everywhere; a shell gets its completion."""
    assert cli("--version").stdout.startswith("miosa-router ")
    assert cli("resources", "put", "-h").stdout == cli("resources", "put", "--help").stdout
    environment = {**cli.environment, "_MIOSA_ROUTER_COMPLETE": "complete_bash", "COMP_WORDS": "miosa-router reso"}
    done = Cli(cli.folder, {**environment, "COMP_CWORD": "1"})()
    assert done.stdout.split() == ["resources"]


def test_a_new_schema_is_said_in_words(cli: Cli) -> None:
    """The first upgrade says that it made the schema, the second that there was nothing to do."""
    first, second = cli("db", "upgrade").stdout, cli("db", "upgrade").stdout
    version = cli.json("db", "upgrade")["to"]
    assert first == f"database schema: created, now at revision {version}\n"
    assert second == f"database schema: up to date, at revision {version}\n"
    assert json.loads(cli("db", "upgrade", "--json").stdout) == {"from": version, "to": version}


def test_a_zones_certificate_is_shown_and_renewed(tmp_path: Path) -> None:
    """`domains delegation` shows how it stands, `domains renew` has it renewed now, and knows no other names."""
    url = f"sqlite:///{tmp_path / 'router.db'}"
    migrated_file(tmp_path / "router.db")
    cli = Cli(tmp_path, {"MIOSA_ROUTER_DATABASE_URL": url})
    now = datetime.now(UTC)

    async def hold() -> None:
        store = await Store.open(url, clock=SystemClock())
        try:
            tenant = await World(store, SystemClock()).tenant("Zoe")
            await World(store, SystemClock()).zone(Scope.TENANT, tenant.id, "preview.acme.com")
            async with store.begin() as tx:
                await tx.held_certificates.put(a_held("preview.acme.com", now, tenant.id))
        finally:
            await store.close()

    asyncio.run(hold())
    before = cli.json("domains", "delegation", "Preview.Acme.com.")
    assert (before["domain"], before["delegation"]) == ("preview.acme.com", "missing")
    assert before["names"] == ["*.preview.acme.com", "*.sandbox.preview.acme.com"]
    assert datetime.fromisoformat(before["renew_at"]) > now + timedelta(days=59)
    renewed = cli.json("domains", "renew", "Preview.Acme.com.")
    assert datetime.fromisoformat(renewed["renew_at"]) <= datetime.now(UTC)
    assert renewed["not_after"] == before["not_after"]
    assert cli.error("domains", "renew", "nobody.example")["code"] == "not_found"
