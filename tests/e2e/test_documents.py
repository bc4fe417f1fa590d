"""The commands of README.md and docs/tutorial.md, run as they stand there, in a fresh clone."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.domains.lookup import RecordType
from tests.support.documents import ROOT, blocks_of, fresh_clone, script
from tests.support.nameserver import NameServer
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e]

README, TUTORIAL = ROOT / "README.md", ROOT / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return fresh_clone(tmp_path_factory.mktemp("documents"))


def test_every_block_is_run_or_says_why_not() -> None:
    """All of the tutorial's, and of the README's all but those that can't be."""
    assert [block.why for block in blocks_of(TUTORIAL) if block.why] == []
    left = [block.why for block in blocks_of(README) if block.why]
    assert len(left) <= 1
    assert all(len(why.split()) > 3 for why in left)


def test_the_readme(clone: Path) -> None:
    """Its first command, which runs until Ctrl-C: it shows what there is to see."""
    (first,) = [block.text for block in blocks_of(README) if not block.why]
    assert first.startswith("make run ")
    (clone / "readme.sh").write_text(f"exec {first}")
    with Process(["bash", "readme.sh"], clone / "readme.log", folder=clone) as reader:
        reader.says("The access log follows")
        assert "https://" in reader.output


@pytest.mark.asyncio
async def test_the_tutorial(clone: Path) -> None:
    """From a fresh clone to one's own domain, with a certificate: real Caddy, its own CA, and a pretended DNS."""
    async with NameServer() as dns:
        dns.put("example.com", RecordType.SOA, "ns.example.com hostmaster.example.com 1 3600 600 86400 60")
        await asyncio.to_thread(_follow, clone, dns)


def _follow(clone: Path, dns: NameServer) -> None:
    ports = {port: str(free_port()) for port in ("8000", "8443", "8880", "8081", "8082")}
    proxy = f"127.0.0.1:{free_port()}"
    surroundings = {
        "HOME": str(clone),
        "MIOSA_ROUTER_PROXY_BIND": proxy,
        "MIOSA_ROUTER_API_BIND": f"127.0.0.1:{ports['8081']}",
        "MIOSA_ROUTER_ADMIN_BIND": f"127.0.0.1:{ports['8082']}",
        "MIOSA_ROUTER_DNS_SERVERS": dns.server,
        "MIOSA_ROUTER_CHECKS__ASK_EVERY": "0",
        "MIOSA_ROUTER_LIMITS__DRAIN_NOT_READY": "0",
        "MIOSA_CADDY_BIND": "127.0.0.1",
        "MIOSA_CADDY_PROXY": proxy,
        "MIOSA_CADDY_ASK": f"127.0.0.1:{ports['8082']}",
    }
    text = script(blocks_of(TUTORIAL), {**ports, "sleep 10": "sleep 0.5"})
    (clone / "tutorial.sh").write_text(f"{text}\necho the end of the tutorial\n")
    log = clone / "tutorial.log"
    with Process(["bash", "tutorial.sh"], log, surroundings, clone) as reader:
        reader.until(lambda: "has no address yet" in reader.output, within=180)
        record = json.loads((clone / "domain.json").read_text())["data"]["records"][0]
        assert record["type"] == "CNAME"
        assert f"{record['type']} {record['name']} {record['value']}" in reader.output
        dns.put(record["name"], RecordType(record["type"]), record["value"])
        until(lambda: reader.status is not None, f"the tutorial ends: {log}", within=100)
        assert reader.status == 0, reader.output
    assert reader.output.count("Hello from my app") == 2
    assert "the end of the tutorial" in reader.output
