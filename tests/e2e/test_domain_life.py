"""Domains beside a node that dies: what was being looked at is looked at again, and a name that moves, moves once."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from router.domains.lookup import RecordType
from tests.support.backends import Backend, Visit
from tests.support.nameserver import SILENT, NameServer
from tests.support.router import Router
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

NAMES = tuple(f"n{number}.yourcompany.com" for number in range(5))
TAKEOVER = 45.0  # seconds: a dead holder's lease, the looks that it had begun, and a busy machine


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


class Customer:
    """One tenant's key, and a deployment of theirs."""

    def __init__(self, router: Router, name: str, slug: str, port: int) -> None:
        self._router = router
        self.tenant_id = router.tenant(name)
        self.key = router.key(self.tenant_id)
        self.domains = f"/deployments/{router.register(self.tenant_id, slug, port, kind='deployment')}/domains"

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of one call."""
        return self._router.ask(self.key, method, path, body)

    def statuses(self) -> dict[str, str]:
        return {item["fqdn"]: item["status"] for item in self.call("GET", self.domains)[1]["data"]}

    def heard(self, event_type: str) -> list[str]:
        """The names that an event of this type was about, each time."""
        events = self.call("GET", "/events?page_size=100")[1]["data"]
        return sorted(event["data"]["fqdn"] for event in events if event["type"] == event_type)


def walk(router: Router, dns: NameServer, port: int) -> None:
    acme, globex = Customer(router, "Acme", "shop", port), Customer(router, "Globex", "news", port)
    for name in NAMES:
        dns.put(name, RecordType.CNAME, "verify.miosa.ai")
        dns.fail(name, SILENT)
        assert acme.call("POST", acme.domains, {"domain": name})[0] == 201
        assert router.get_admin(f"/ask?domain={name}")[0] == 403
    until(lambda: {query[0].rstrip(".") for query in dns.queries} >= set(NAMES), "all are being looked at", 20.0)
    router.process.signal(signal.SIGKILL)
    router.process.wait()
    for name in NAMES:
        dns.fail(name, None)
    router.start()
    assert set(acme.statuses().values()) == {"pending"}
    until(lambda: set(acme.statuses().values()) == {"verified"}, "its successor finds all of them", TAKEOVER)
    assert acme.heard("domain.verified") == sorted(NAMES)

    name = NAMES[0]
    status, refused = globex.call("POST", globex.domains, {"domain": name})
    assert (status, refused["error"]["message"]) == (409, "has already been taken")
    record = next(record for record in refused["error"]["claim"]["records"] if record["type"] == "TXT")
    dns.put(record["fqdn"], RecordType.TXT, record["expected"])
    router.process.signal(signal.SIGKILL)
    router.process.wait()
    router.start()
    status, moved = globex.call("POST", globex.domains, {"domain": name})
    assert (status, moved["data"]["status"]) == (201, "pending")
    until(lambda: globex.statuses() == {name: "verified"}, "it is looked at at once", TAKEOVER)
    assert set(acme.statuses()) == set(NAMES[1:])
    assert acme.heard("domain.transferred") == globex.heard("domain.transferred") == [name]


@pytest.mark.timeout(180)
async def test_kill_in_the_middle_of_looks(tmp_path: Path) -> None:
    """Nothing is lost and nothing happens twice, whatever dies."""
    async with NameServer() as dns, Backend(hello) as backend:

        def story() -> None:
            with Router(tmp_path, dns_servers=dns.server, rates__workspace=100_000) as router:
                walk(router, dns, backend.port)

        await asyncio.to_thread(story)
