"""Custom domains at the command line, beside a node that serves, with a name server of our own."""

import asyncio
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import miosa
import pytest

from router.domains.lookup import RecordType
from tests.support.backends import Backend, Visit
from tests.support.nameserver import NameServer
from tests.support.router import MIOSA_ROUTER, Router
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

FQDN = "app.yourcompany.com"


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


def run(router: Router, *words: str) -> subprocess.CompletedProcess[str]:
    """One command, as it was typed."""
    return subprocess.run(
        [MIOSA_ROUTER, *words],
        env=router.environment,
        cwd=router.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def status(router: Router) -> int:
    """What a visitor of the domain gets."""
    request = urllib.request.Request(f"http://{router.proxy}/", headers={"Host": FQDN})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def walk(router: Router, dns: NameServer, port: int) -> None:
    tenant_id = router.tenant("Acme")
    key = router.command("keys", "create", "--tenant", "acme")["key"]
    deployment = router.register(tenant_id, "shop", port, kind="deployment")
    assert run(router, "domains", "list").stdout == "none\n"
    assert "domain not found" in run(router, "domains", "verify", FQDN).stderr

    with miosa.Miosa(api_key=key, base_url=f"http://127.0.0.1:{router.api_port}/api/v1") as client:
        registered = client.deployments.domains(deployment).add(FQDN)
    (listed,) = router.command("domains", "list")["data"]
    assert (listed["id"], listed["fqdn"], listed["status"]) == (registered["id"], FQDN, "pending")

    own = registered["records"][0]["expected"]
    missing = run(router, "domains", "verify", FQDN)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == (
        f"miosa-router: CNAME not found\n  DOMAIN: {FQDN} has no address yet. Add a CNAME to {own}.\n  add CNAME app {own}\n"
    )
    diagnosed = run(router, "domains", "diagnose", FQDN)
    assert (diagnosed.returncode, diagnosed.stderr) == (0, "")
    assert diagnosed.stdout == (f"error: {FQDN} has no address yet. Add a CNAME to {own}.\n  add CNAME app {own}\n")
    unknown = router.command("domains", "diagnose", "other.yourcompany.com")
    assert (unknown["status"], unknown["healthy"]) == (None, False)
    assert [finding["code"] for finding in unknown["findings"]] == ["nothing_there", "not_registered"]
    dns.fail(FQDN)
    assert "could not be asked" in run(router, "domains", "verify", FQDN).stderr
    dns.fail(FQDN, None)
    assert status(router) == 404

    dns.put(FQDN, RecordType.CNAME, "verify.miosa.ai")
    verified = router.command("domains", "verify", FQDN.upper())
    assert (verified["id"], verified["status"]) == (registered["id"], "verified")
    until(lambda: status(router) == 200, "the node that serves has heard of it", 1.0)
    assert "already verified" in run(router, "domains", "verify", FQDN).stderr
    assert router.command("domains", "diagnose", FQDN, "--tenant", "acme")["healthy"] is True
    lines = run(router, "domains", "list").stdout.splitlines()
    assert [line.split("\t")[1:3] for line in lines] == [["fqdn", "status"], [FQDN, "verified"]]


async def test_verify_at_the_command_line(tmp_path: Path) -> None:
    """It says what is wrong, changes nothing then, and what it verifies a running node serves at once."""
    async with NameServer() as dns, Backend(hello) as backend:
        dns.put("yourcompany.com", RecordType.SOA, "ns.yourcompany.com hostmaster.yourcompany.com 1 3600 600 86400 60")

        def story() -> None:
            with Router(tmp_path, dns_servers=dns.server) as router:
                walk(router, dns, backend.port)

        await asyncio.to_thread(story)
