"""The command line, as processes: what goes to which stream, exit statuses, and that commands see each other's work."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.processes import BIN, Process
from tests.support.router import Router

pytestmark = pytest.mark.e2e

MIOSA_ROUTER = BIN / "miosa-router"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
NOBODY = "00000000-0000-4000-8000-000000000000"


class Cli:
    """Runs commands in a folder of their own."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = dict(environment or {})

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MIOSA_ROUTER, *words],
            env={"PATH": str(BIN), **self.environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def json(self, *words: str) -> Any:
        """What a command that succeeds prints with `--json`: exactly one document, and nothing on standard error."""
        done = self(*words, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout)

    def error(self, *words: str) -> dict[str, Any]:
        """What a command that fails says last with `--json`."""
        done = self(*words, "--json")
        assert (done.returncode, done.stdout) == (1, ""), done
        found: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])["error"]
        return found


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def test_tenant_and_keys(cli: Cli) -> None:
    """A tenant is made on a fresh SQLite file without further ado; keys are shown once, listed without it, revoked."""
    tenant = cli.json("tenants", "create", "Acme Corp")
    assert set(tenant) == {"id", "slug", "name"}
    assert (tenant["slug"], tenant["name"]) == ("acme-corp", "Acme Corp")
    assert re.fullmatch(UUID, tenant["id"])
    listed = cli.json("tenants", "list")
    assert (listed["total"], [row["slug"] for row in listed["data"]]) == (1, ["acme-corp"])

    key = cli.json("keys", "create", "--tenant", "acme-corp", "--name", "ci")
    assert set(key) == {"id", "key", "scope"}
    assert re.fullmatch(r"msk_live_[A-Za-z0-9]{32,}", key["key"])
    assert key["scope"] == "tenant"
    by_id = cli.json("keys", "create", "--tenant", tenant["id"], "--scope", "platform")
    assert by_id["scope"] == "platform"

    rows = {row["id"]: row for row in cli.json("keys", "list")["data"]}
    assert set(rows) == {key["id"], by_id["id"]}
    assert (rows[key["id"]]["name"], rows[key["id"]]["revoked_at"]) == ("ci", None)
    assert key["key"] not in json.dumps(rows)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[key["id"]]["created_at"])

    assert cli.json("keys", "revoke", key["id"])["revoked_at"] is not None
    rows = {row["id"]: row for row in cli.json("keys", "list", "--tenant", "acme-corp")["data"]}
    assert rows[key["id"]]["revoked_at"] is not None
    assert rows[by_id["id"]]["revoked_at"] is None


@pytest.mark.parametrize("of", ["cookies", "identity"])
def test_a_leaked_signing_key_is_replaced(cli: Cli, of: str) -> None:
    """Each time by another one; its secret is not shown."""
    first, second = (cli.json("keys", "rotate-signing", "--of", of) for _ in range(2))
    assert first.keys() == second.keys() == {"id", "signs"}
    assert first["signs"] == second["signs"] == of
    assert first["id"] != second["id"]


def test_signing_keys_are_those_of_cookies_unless_said_otherwise(cli: Cli) -> None:
    """As runbooks have it."""
    assert cli.json("keys", "rotate-signing")["signs"] == "cookies"


def test_secrets_are_encrypted_anew_where_there_is_a_key(cli: Cli, tmp_path: Path) -> None:
    """Without one the sentence names the setting."""
    assert "`secrets_key`" in cli.error("keys", "rotate-secrets")["message"]
    with_a_key = Cli(tmp_path, {"MIOSA_ROUTER_SECRETS_KEY": "ab12" * 16})
    assert with_a_key.json("keys", "rotate-secrets") == {"encrypted": 0, "lost": 0}


def test_an_account_without_an_acme_zone(cli: Cli) -> None:
    """There is none whose key could be replaced; the sentence names the setting."""
    assert "acme_zone" in cli.error("keys", "rotate-acme")["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("tenants", "list"),
        ("keys", "list"),
        ("domains", "list"),
        ("blocks", "list"),
        ("explain", "app.example.com"),
    ],
    ids=" ".join,
)
def test_reading_makes_no_database(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A command that only reads leaves no file where there was none, and answers as an empty store would."""
    before = set(tmp_path.rglob("*"))
    assert cli(*words).returncode == 0
    assert set(tmp_path.rglob("*")) == before


def test_lists_have_pages(cli: Cli) -> None:
    """`--limit` and `--page` choose rows, in order; people are told that there are more, programs have `total`."""
    names = [cli.json("tenants", "create", f"Tenant {number}")["slug"] for number in range(3)]
    for page, wanted in (("1", names[:2]), ("2", names[2:]), ("3", [])):
        shown = cli.json("tenants", "list", "--limit", "2", "--page", page)
        assert ([row["slug"] for row in shown["data"]], shown["total"]) == (wanted, 3)
    assert "2 of 3" in cli("tenants", "list", "--limit", "2").stderr
    assert cli("tenants", "list").stderr == ""
    assert cli("tenants", "list", "--limit", "0").returncode == 2


def test_text_for_people(cli: Cli) -> None:
    """Without `--json` the same is said in lines, without escape codes where nobody looks."""
    done = cli("tenants", "create", "Acme")
    assert done.returncode == 0
    assert re.search(rf"^id +{UUID}$", done.stdout, re.MULTILINE)
    assert "slug  acme\n" in done.stdout
    done = cli("tenants", "list")
    header, row = done.stdout.splitlines()
    assert header.split("\t") == ["id", "slug", "name", "plan", "created_at"]
    assert row.split("\t")[1] == "acme"
    assert cli("keys", "list").stdout == "none\n"
    for words in ((), ("--help",), ("keys", "create", "--help"), ("tenants", "list")):
        done = cli(*words)
        assert "\x1b" not in done.stdout + done.stderr
        assert "─" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("serve", "--nonsense"),
        ("tenants", "create"),
        ("keys", "create"),
        ("keys", "create", "--tenant", "a", "--scope", "nonsense"),
        ("keys", "create", "--tenant", "a", "--scope", "workspace"),
        ("keys", "create", "--tenant", "a", "--scope", "workspace:7"),
        ("keys", "create", "--tenant", "a", "--scope", f"tenant:{NOBODY}"),
        ("explain",),
    ],
    ids=" ".join,
)
def test_wrong_usage(cli: Cli, words: tuple[str, ...]) -> None:
    """A command that is spelled wrongly is exit status 2 and words on standard error."""
    done = cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("tenants", "create", " "), "VALIDATION_FAILED"),
        (("tenants", "create", "x", "--slug", "-"), "VALIDATION_FAILED"),
        (("keys", "create", "--tenant", "nobody"), "not_found"),
        (("keys", "list", "--tenant", "nobody"), "not_found"),
        (("keys", "revoke", NOBODY), "not_found"),
        (("domains", "list", "--tenant", "nobody"), "not_found"),
        (("domains", "list", "--config", "missing.toml"), "invalid_settings"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_failures(cli: Cli, words: tuple[str, ...], code: str) -> None:
    """A command that fails is exit status 1, nothing on standard output, and the reason on standard error."""
    assert cli.error(*words)["code"] == code
    done = cli(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("miosa-router: ")


@pytest.mark.parametrize("words", [("keys", "create"), ("keys", "list"), ("domains", "list")], ids=" ".join)
def test_a_tenant_that_is_not_there(cli: Cli, words: tuple[str, ...]) -> None:
    """Its name is said again, with the commands that show and make tenants."""
    said = cli.error(*words, "--tenant", "nobody")["message"]
    assert "'nobody'" in said
    assert "tenants list" in said
    assert "tenants create" in said


def test_scoped_key_names_its_scope(cli: Cli) -> None:
    """A key for a workspace that is not the tenant's is refused with the wrong field."""
    cli.json("tenants", "create", "Acme")
    error = cli.error("keys", "create", "--tenant", "acme", "--scope", f"workspace:{NOBODY}")
    assert (error["code"], error["fields"]) == (
        "VALIDATION_FAILED",
        {"scope_id": ["is not a workspace of this tenant"]},
    )


def test_check_config_shows_what_is_in_force(tmp_path: Path) -> None:
    """File and variables are merged, variables win, and no secret is shown."""
    file = tmp_path / "router.toml"
    file.write_text(
        'workers = 3\ninternal_token = "hush-hush"\n[limits]\ndial = 1.5\n[jwt]\nsecret = "' + "s" * 40 + '"\n'
    )
    url = "postgresql://router:hush-hush@db.example/router"
    cli = Cli(tmp_path, {"MIOSA_ROUTER_WORKERS": "2", "MIOSA_ROUTER_DATABASE_URL": url})
    shown = cli.json("check-config", "--config", str(file))
    assert (shown["workers"], shown["limits"]["dial"]) == (2, 1.5)
    assert (shown["internal_token"], shown["jwt"]["secret"]) == ("***", "***")
    assert shown["database_url"] == "postgresql://router:***@db.example/router"
    text = cli("check-config", "--config", str(file)).stdout
    assert "limits.dial = 1.5\n" in text
    assert "hush" not in text


def test_check_config_reads_the_file_of_secrets(tmp_path: Path) -> None:
    """A router would not start without it, so it is no use to hear that all is well."""
    missing = tmp_path / "secrets.key"
    file = tmp_path / "router.toml"
    file.write_text(f'secrets_key_file = "{missing}"\n')
    cli = Cli(tmp_path)
    assert "secrets_key_file" in cli.error("check-config", "--config", str(file))["fields"]
    missing.write_text("5c" * 31 + "a1\n")
    assert cli.json("check-config", "--config", str(file))["secrets_key_file"] == str(missing)


def test_check_config_names_each_offending_key(tmp_path: Path) -> None:
    """Unknown and wrong keys are all named, and so they stop every other command."""
    (tmp_path / "router.toml").write_text('colour = "red"\nworkers = 0\n[limits]\ndail = 1\n')
    cli = Cli(tmp_path)
    fields = cli.error("check-config", "--config", "router.toml")["fields"]
    assert set(fields) == {"colour", "workers", "limits.dail"}
    assert fields["colour"] == ["unknown setting"]
    done = cli("serve", "--config", "router.toml")
    assert done.returncode == 1
    for key in ("colour", "workers", "limits.dail"):
        assert f"  {key}: " in done.stderr


def test_db_upgrade(cli: Cli) -> None:
    """The first time makes the schema, the second finds it there."""
    first = cli.json("db", "upgrade")
    assert first["from"] is None
    assert cli.json("db", "upgrade") == {"from": first["to"], "to": first["to"]}


def test_explain(cli: Cli) -> None:
    """Every step as a list: the records with their source, the decision, the gate."""
    steps = cli.json("explain", "3000-nothing.sandbox.miosa.app")
    assert [step["step"] for step in steps][-2:] == ["decision", "gate"]
    assert {step["step"] for step in steps[:-2]} == {"record"}
    assert steps[0] == {
        "step": "record",
        "source": "sql",
        "key": "name:3000-nothing.sandbox.miosa.app",
        "found": False,
        "outcome": "no custom domain of this name",
    }
    assert (steps[-2]["reason"], steps[-1]["reason"]) == ("no_such_resource", "no_such_resource")
    assert steps[-1]["status"] == 404
    lines = cli("explain", "3000-nothing.sandbox.miosa.app").stdout.splitlines()
    assert lines[-1] == "gate: 404 no_such_resource"
    assert cli.json("explain", "not a host")[-2]["reason"] == "invalid_host"


@pytest.mark.parametrize(
    ("variables", "key", "word"),
    [
        ({"MIOSA_ROUTER_REDIS_URL": "redis+sentinel://127.0.0.1"}, "redis_url", "must name the service"),
    ],
)
def test_serve_refuses_what_it_cannot_do(tmp_path: Path, variables: dict[str, str], key: str, word: str) -> None:
    """A setting that this version cannot honour is refused by its name, not ignored."""
    fields = Cli(tmp_path, variables).error("serve")["fields"]
    assert word in fields[key][0]


@pytest.mark.parametrize("name", ["proxy", "api", "admin"])
def test_port_in_use(tmp_path: Path, name: str) -> None:
    """A port in use ends `serve` with the listener's name and its address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        binds = {f"MIOSA_ROUTER_{other.upper()}_BIND": "127.0.0.1:0" for other in ("proxy", "api", "admin")}
        error = Cli(tmp_path, {**binds, f"MIOSA_ROUTER_{name.upper()}_BIND": bind}).error("serve")
    assert error["code"] == "cannot_listen"
    assert f"the {name} listener cannot use {bind}" in error["message"]


def test_store_that_is_away(tmp_path: Path) -> None:
    """A store that cannot be opened is said so, without a traceback."""
    cli = Cli(tmp_path, {"MIOSA_ROUTER_DATABASE_URL": "sqlite:////nowhere/at/all.db"})
    assert cli.error("tenants", "list")["code"] == "store_unavailable"
    done = cli("serve")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_node_beside_commands_and_signals(tmp_path: Path) -> None:
    """What a command changes the running node sees, and the other way round. SIGHUP: lines go to a new file after the old
    one was moved away. SIGTERM: not ready at once, then the end with status 0, and nothing wrong in the log."""
    log = tmp_path / "access.log"
    with Router(tmp_path, access_log=log) as router:
        cli = Cli(tmp_path, router.environment)
        tenant = cli.json("tenants", "create", "Acme")["id"]
        router.register(tenant, "sbx1", 9)
        decision = cli.json("explain", "sbx1.sandbox.miosa.test")[-2]
        assert (decision["reason"], decision["resource"]["tenant_id"]) == ("served", tenant)
        assert decision["endpoint"]["port"] == 9
        assert decision["outcome"] == "served by sandbox sbx1 at 127.0.0.1 port 9"
        assert (decision["hints"], decision["errors"]) == ([], [])
        lines = cli("explain", "sbx1.sandbox.miosa.test").stdout.splitlines()
        assert lines[-2:] == ["port: scheme http, protocol http1, host_mode auto", "gate: 200 first_issue"]
        elsewhere = Cli(tmp_path, router.environment | {"MIOSA_ROUTER_ADMIN_BIND": f"127.0.0.1:{free_port()}"})
        decision = elsewhere.json("explain", "sbx1.sandbox.miosa.test")[-2]
        assert (decision["hints"], decision["errors"]) == (None, None)
        lines = elsewhere("explain", "sbx1.sandbox.miosa.test").stdout.splitlines()
        assert lines[-2].startswith("traffic: not known, since no node ")

        router.process.until(log.exists)
        log.rename(tmp_path / "access.log.1")
        router.process.signal(signal.SIGHUP)
        router.process.until(log.exists)

        router.process.signal(signal.SIGTERM)
        assert router.process.wait() == 0
        events = [json.loads(line)["event"] for line in router.process.output.splitlines() if line.startswith("{")]
        assert events[-3:] == ["signal", "draining", "closed"]
        assert "Traceback" not in router.process.output


def test_readiness_goes_first(tmp_path: Path) -> None:
    """While `drain_not_ready` runs, /readyz says no and everything is still served; a second signal ends it at once."""
    with Router(tmp_path, limits__drain_not_ready=60) as router:
        assert router.get_admin("/readyz")[0] == 200
        router.process.signal(signal.SIGTERM)
        router.process.until(lambda: router.get_admin("/readyz")[0] == 503)
        assert json.loads(router.get_admin("/readyz")[2])["checks"]["serving"]["detail"] == "draining"
        assert router.get_admin("/livez")[0] == 200
        with socket.create_connection(("127.0.0.1", router.proxy_port), timeout=5):
            pass
        router.process.signal(signal.SIGINT)
        assert router.process.wait(within=10) == 0


def test_roles_are_honoured(tmp_path: Path) -> None:
    """A node opens the listeners of its roles and no others."""
    with Router(tmp_path, roles="admin,api") as router:
        assert router.get_admin("/livez")[0] == 200
        router.tenant("Acme")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", router.proxy_port), timeout=5)


def test_serve_says_where_it_listens(tmp_path: Path) -> None:
    """With port 0 the log names the ports that were taken."""
    binds = {f"MIOSA_ROUTER_{name}_BIND": "127.0.0.1:0" for name in ("PROXY", "API", "ADMIN")}
    with Process([MIOSA_ROUTER, "serve", "--json"], tmp_path / "out.log", binds, tmp_path) as process:
        process.says('"event": "serving"')
        lines = [json.loads(line) for line in process.output.splitlines()]
    (serving,) = [line for line in lines if line["event"] == "serving"]
    assert all(re.fullmatch(r"127\.0\.0\.1:[1-9]\d+", serving[name]) for name in ("proxy", "api", "admin"))
