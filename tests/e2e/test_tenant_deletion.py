"""`miosa-router tenants delete`, beside a running node: what was served answers as deleted, and the printed proof says zero."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.test_backup import program, visit
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router
from tests.support.waiting import until

pytestmark = pytest.mark.e2e


def test_by_command_and_by_the_platform(tmp_path: Path) -> None:
    """The command asks unless it is told not to; the platform's call begins a deletion that the node finishes."""
    with program("mine") as port, Router(tmp_path) as router:
        acme, globex, stays = router.tenant("Acme"), router.tenant("Globex"), router.tenant("Stays")
        for tenant, slug in ((acme, "shop"), (globex, "other"), (stays, "stays")):
            router.register(tenant, slug, port)
            assert visit(router, f"{slug}.{PLATFORM_DOMAIN}") == "mine"
        key = router.key(acme)
        asked = subprocess.run(
            [MIOSA_ROUTER, "tenants", "delete", "acme"],
            env=router.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (asked.returncode, "--yes" in asked.stderr) == (1, True)
        done = router.command("tenants", "delete", "acme", "--yes")
        assert done["deleted"]
        assert done["rows"]["resources"] == {"before": 1, "after": 0}
        assert done["id_found_in"] == {"audit_entries.resource_id": 1}
        assert visit(router, f"shop.{PLATFORM_DOMAIN}") == "410"
        status, _, _ = router.send(
            urllib.request.Request(
                f"http://127.0.0.1:{router.api_port}/api/v1/whoami", headers={"Authorization": f"Bearer {key}"}
            )
        )
        assert status == 401
        begun = router.internal("DELETE", f"/tenants/{globex}")["data"]
        assert begun["rows"]["resources"] == 1
        assert visit(router, f"other.{PLATFORM_DOMAIN}") in {"451", "410"}
        until(lambda: globex not in json.dumps(router.command("tenants", "list")), "the node has deleted it", 60.0)
        assert visit(router, f"other.{PLATFORM_DOMAIN}") == "410"
        assert visit(router, f"stays.{PLATFORM_DOMAIN}") == "mine"
