"""`doctor` and `status` as an operator runs them: a whole installation, sound at first, then with one part broken."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.cli.checks import CHECKS
from router.domains.lookup import RecordType
from tests.support.caddy import Caddy
from tests.support.nameserver import NameServer
from tests.support.ports import free_port
from tests.support.processes import BIN
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

MIOSA_ROUTER = BIN / "miosa-router"


class Installation:
    """A router with Redis and Caddy, whose name server the test starts on `dns_port`."""

    def __init__(self, router: Router, caddy: Caddy, dns_port: int) -> None:
        self.router = router
        self.caddy = caddy
        self.dns_port = dns_port

    async def run(self, command: str, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """The command with the installation's settings, of which `settings` replace some; in a thread, as the name server
        needs the loop."""
        changed = {f"MIOSA_ROUTER_{key.upper()}": str(value) for key, value in settings.items()}
        return await asyncio.to_thread(
            subprocess.run,
            [*command.split(), *words],
            env={"PATH": f"{BIN}:/usr/bin:/bin", **self.router.environment, **changed},
            cwd=self.router.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    async def findings(self, **settings: object) -> tuple[int, dict[str, str]]:
        """Exit status, and the level of each finding by its code."""
        done = await self.run(f"{MIOSA_ROUTER} doctor --json", **settings)
        assert done.stderr == "", done
        return done.returncode, {one["code"]: one["level"] for one in json.loads(done.stdout)["findings"]}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    https, http, dns_port = free_port(), free_port(), free_port()
    with Server(folder) as redis:
        router = Router(
            folder,
            redis_url=f"redis://127.0.0.1:{redis.port}",
            dns_servers=f"127.0.0.1:{dns_port}",
            verify_target=f"verify.{PLATFORM_DOMAIN}",
            proxy_target=f"proxy.{PLATFORM_DOMAIN}",
            gate__caddy=f"127.0.0.1:{https}",
            checks__http_port=http,
            public_port=https,
            limits__connections=500,
            state_dir=folder,
        )
        with router, Caddy(folder, proxy=router.proxy, ask=router.admin, ports=(https, http)) as caddy:
            yield Installation(router, caddy, dns_port)


def names(dns: NameServer) -> None:
    """The platform's names lead to this machine."""
    for name in ("*.", "*.sandbox.", "*.verify.", "*.proxy."):
        dns.put(f"{name}{PLATFORM_DOMAIN}", RecordType.A, "127.0.0.1")


async def test_a_sound_installation_gives_no_finding(installation: Installation) -> None:
    """All checks see what is right, each says what it has seen, and the exit status is 0."""
    async with NameServer(port=installation.dns_port) as dns:
        names(dns)
        done = await installation.run(f"{MIOSA_ROUTER} doctor --json")
        assert (done.returncode, done.stderr) == (0, ""), done
        document = json.loads(done.stdout)
        assert document["findings"] == []
        assert all(one["result"] == "ok" and one["seen"] for one in document["checks"])
        text = await installation.run(f"{MIOSA_ROUTER} doctor")
    *lines, last = text.stdout.splitlines()
    assert len(lines) == len(document["checks"]) == len(CHECKS)
    assert all(line.startswith("ok ") for line in lines)
    assert last == f"errors: 0, warnings: 0, unknown: 0, checks without a finding: {len(CHECKS)} of {len(CHECKS)}"


async def test_findings_as_an_operator_sees_them(installation: Installation) -> None:
    """What is wrong comes first, and an error makes the exit status 1; a warning, and what is unknown, leaves it 0."""
    async with NameServer(port=installation.dns_port) as dns:
        names(dns)
        status, found = await installation.findings(gate__wildcards=f"sandbox.{PLATFORM_DOMAIN}")
        assert (status, found) == (1, {"wildcard_missing": "error"})
        status, found = await installation.findings(public_port=443)
        assert (status, found) == (0, {"public_port": "warning"})
        status, found = await installation.findings(trusted_proxies="10.0.0.0/8")
        assert (status, found) == (1, {"caddy_not_trusted": "error"})
        status, found = await installation.findings(redis_url=f"redis://127.0.0.1:{free_port()}")
        assert (status, found) == (1, {"redis_unavailable": "error"})
        text = await installation.run(f"{MIOSA_ROUTER} doctor", public_port=443)
    assert text.stdout.startswith("warning  settings      Links that the API makes name port 443 (`public_port`)")
    assert "\x1b" not in text.stdout


async def test_low_limit_of_open_files_and_no_node(installation: Installation) -> None:
    """Without a running node it is the limit of who runs the command that counts, and what only a node knows is unknown."""
    other = {f"{name}_bind": f"127.0.0.1:{free_port()}" for name in ("proxy", "api", "admin")}
    async with NameServer(port=installation.dns_port) as dns:
        names(dns)
        child = f"ulimit -n 256; exec {MIOSA_ROUTER} doctor --json"
        done = await installation.run("sh -c", child, **other)
    assert (done.returncode, done.stderr) == (0, ""), done
    found = {one["code"]: one["level"] for one in json.loads(done.stdout)["findings"]}
    assert found == {"no_node": "warning", "ask_unknown": "unknown", "open_files": "warning"}


async def test_status_on_one_screen(installation: Installation) -> None:
    """What the node, the store and Redis know, for people within one screen, for programs as JSON."""
    done = await installation.run(f"{MIOSA_ROUTER} status --json")
    assert (done.returncode, done.stderr) == (0, ""), done
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["status"] == "ready"
    assert document["version"]["node"] == document["version"]["command"]
    assert [one["answers"] for one in document["listeners"]] == [True, True, True]
    assert document["stores"]["database"]["kind"] == "SQLite"
    assert document["stores"]["redis"]["role"] == "master"
    assert [one["process"] for one in document["nodes"]] == [str(installation.router.process.pid)]
    assert document["nodes"][0]["jobs"]
    assert document["certificates"]["near_end"] == []
    assert document["findings"] == []
    text = (await installation.run(f"{MIOSA_ROUTER} status")).stdout
    assert len(text.splitlines()) <= 24
    assert "\x1b" not in text
    assert "degraded      nothing" in text


async def test_status_without_a_node(installation: Installation, tmp_path: Path) -> None:
    """What cannot be asked is said to be unknown, and the finding says what to do."""
    done = await installation.run(f"{MIOSA_ROUTER} status", admin_bind=f"127.0.0.1:{free_port()}")
    assert done.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line)
    assert lines["node"] == "no answer"
    assert lines["traffic"] == lines["refusals"] == "unknown"
    assert "`miosa-router serve`" in lines["warning"]
    gone = await installation.run(f"{MIOSA_ROUTER} status --json", database_url=f"sqlite:///{tmp_path}/none.db")
    document = json.loads(gone.stdout)
    assert document["nodes"] is document["hosts"] is None
    assert "none.db" in document["stores"]["database"]["error"]
    assert not (tmp_path / "none.db").exists()
