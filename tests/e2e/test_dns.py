"""What the command line says of domains whose name servers have the faults that real ones have."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from router.domains.lookup import RecordType
from tests.support.nameserver import BOGUS, LAME, SILENT, NameServer
from tests.support.router import Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

A, CNAME, SOA = RecordType.A, RecordType.CNAME, RecordType.SOA
TARGET = "verify.miosa.ai"


def prepare(first: NameServer, second: NameServer) -> None:
    """Domains that all lead to us, each with a fault of its own."""
    for server in (first, second):
        server.put(TARGET, A, "192.0.2.1")
        for zone in ("fine", "differ", "slow", "half", "ill", "bogus", "lame"):
            server.put(f"{zone}.test", SOA, f"ns.{zone}.test hostmaster.{zone}.test 1 3600 600 86400 60")
            server.put(f"app.{zone}.test", CNAME, TARGET)
    second.put("app.differ.test", CNAME, "old.example.net")
    second.fail("app.half.test", SILENT)
    for name in ("ill.test", "app.ill.test"):
        first.fail(name, "servfail")
        second.fail(name, "refused")
    for server in (first, second):
        for fault, zone in ((BOGUS, "bogus"), (LAME, "lame")):
            server.fail(f"{zone}.test", fault, *(["7 Signature Expired"] if fault is BOGUS else []))
            server.fail(f"app.{zone}.test", fault, *(["7 Signature Expired"] if fault is BOGUS else []))


def codes(router: Router, name: str) -> list[str]:
    """What is wrong with a domain, in the words of programs."""
    said = router.command("domains", "diagnose", name)
    return [finding["code"] for finding in said["findings"] if finding["code"] != "not_registered"]


def walk(router: Router, first: NameServer, second: NameServer) -> None:
    assert "nothing_there" not in codes(router, "app.fine.test")
    assert "servers_differ" in codes(router, "app.differ.test")
    assert codes(router, "app.half.test") == codes(router, "app.fine.test")
    assert codes(router, "app.ill.test") == ["name_servers_silent"]
    assert codes(router, "app.bogus.test") == ["dnssec_bogus"]
    assert codes(router, "app.lame.test") == ["name_servers_lame"]

    # Late answers, forged ones before them, and nothing that fits into a datagram: all as if nothing were wrong.
    for server in (first, second):
        server.truncating = server.spoofed = True
        server.delay = 0.2
    assert codes(router, "app.slow.test") == codes(router, "app.fine.test")
    assert any(transport == "tcp" for *_, transport in first.queries)


async def test_name_servers_with_faults(tmp_path: Path) -> None:
    """Each fault is told from the others, and none of them from nothing being there."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(NameServer())
        second = await stack.enter_async_context(NameServer())
        prepare(first, second)

        def story() -> None:
            with Router(tmp_path, dns_servers=f"{first.server},{second.server}") as router:
                walk(router, first, second)

        await asyncio.to_thread(story)
