"""`audit list` and `audit export`, and the entries of commands that change the store."""

import csv
import getpass
import json
import os
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.test_cli import NOBODY, Cli
from tests.support.router import Router
from tests.support.waiting import until

pytestmark = pytest.mark.e2e


def test_commands_have_entries_which_can_be_listed_and_exported(tmp_path: Path) -> None:
    """By the user who runs them, with what they did to what; a secret is not there; a file is whole or not there."""
    cli = Cli(tmp_path)
    tenant = cli.json("tenants", "create", "Acme")
    key = cli.json("keys", "create", "--tenant", "acme", "--name", "=cmd()")
    cli.json("keys", "revoke", key["id"])
    block = cli.json("block", "tenant", "acme", "--reason", "unpaid")
    found = cli.json("audit", "list")["data"]
    entries = {one["action"]: one for one in found}
    assert {action: (one["resource_id"], one["tenant_id"]) for action, one in entries.items()} == {
        "tenant.create": (tenant["id"], tenant["id"]),
        "api_key.create": (key["id"], tenant["id"]),
        "api_key.revoke": (key["id"], tenant["id"]),
        "block.create": (block["id"], None),
        "tenant.suspended": (None, tenant["id"]),  # what the tenant sees of it
    }
    by = {(one["via"], one["actor_type"], one["actor_id"], one["actor_name"]) for one in found if one["via"] == "cli"}
    assert by == {("cli", "operator", str(os.getuid()), getpass.getuser())}
    assert list(entries["api_key.revoke"]["changes"]) == ["revoked_at"]
    assert [one["action"] for one in cli.json("audit", "list", "--action", "api_key.*", "--limit", "1")["data"]] == [
        "api_key.revoke"
    ]
    text = cli("audit", "list", "--tenant", "acme")
    assert (text.returncode, "api_key.create" in text.stdout) == (0, True)

    assert cli.json("audit", "export", "log.ndjson", "--until", "2999-01-01T00:00:00Z")["entries"] == len(found)
    lines = [json.loads(line) for line in (tmp_path / "log.ndjson").read_text().splitlines()]
    assert lines == found
    assert cli.json("audit", "export", "log.csv", "--csv", "--resource", key["id"])["entries"] == 2
    with (tmp_path / "log.csv").open(newline="") as file:
        assert [row["resource_name"] for row in csv.DictReader(file)] == ["'=cmd()", "'=cmd()"]
    for exported in ("log.ndjson", "log.csv"):
        assert key["key"] not in (tmp_path / exported).read_text()
    assert "exists already" in cli.error("audit", "export", "log.csv")["message"]
    assert not list(tmp_path.glob(".*unfinished*"))


def test_a_node_stores_what_waits(tmp_path: Path) -> None:
    """A refused act has its entry soon after; one from just before the end is stored as the node ends."""
    with Router(tmp_path) as router:

        def refuse(name: str) -> None:
            request = urllib.request.Request(
                f"http://127.0.0.1:{router.api_port}/internal/v1/blocks/{NOBODY}",
                headers={"Authorization": f"Bearer {router.token}", "X-Request-ID": name, "User-Agent": name},
                method="DELETE",
            )
            assert router.send(request)[0] == 404

        def found() -> list[str]:
            return [one["request_id"] for one in router.command("audit", "list", "--outcome", "refused")["data"]]

        refuse("one")
        until(lambda: found() == ["one"], "the entry of the refused act")
        refuse("two")
    assert found() == ["two", "one"]
