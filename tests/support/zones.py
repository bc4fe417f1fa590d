"""A node that orders certificates for whole zones, with real parts around it: Pebble behind a proxy, a name server to which
customers delegate, and the node's own responder."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.certificates.delegation import challenge_names
from router.domains.lookup import RecordType
from tests.support.acme_proxy import AcmeProxy
from tests.support.nameserver import NameServer
from tests.support.pebble import Pebble
from tests.support.ports import free_port
from tests.support.router import Router
from tests.support.waiting import until

ACME_ZONE = "acme.miosa.test"
TARGET = "proxy.miosa.ai"
SECRETS_KEY = "ab12" * 16


@dataclass
class Fleet:
    """A node of one's own, and what is around it. Its methods block, for stories that are told in a thread."""

    router: Router
    dns: NameServer
    pebble: Pebble
    proxy: AcmeProxy
    responder: int  # its port

    def tenant(self, name: str) -> "Tenant":
        tenant_id = self.router.tenant(name)
        return Tenant(self, tenant_id, self.router.key(tenant_id))

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What stands in the store now."""
        file = self.router.environment["MIOSA_ROUTER_DATABASE_URL"].removeprefix("sqlite:///")
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10) as database:
            found = database.execute(statement, values).fetchall()
        database.close()
        return found

    def write(self, statement: str) -> None:
        """Do to the store what time would."""
        file = self.router.environment["MIOSA_ROUTER_DATABASE_URL"].removeprefix("sqlite:///")
        with sqlite3.connect(file, timeout=10) as database:
            database.execute(statement)
        database.close()

    def target(self, zone: str) -> str:
        """Where the zone's challenge names must lead."""
        ((token,),) = self.rows("SELECT token FROM delegations WHERE domain = ?", zone)
        return f"{token}.{ACME_ZONE}"

    def delegate(self, zone: str) -> None:
        """Add the two records that the API asks for."""
        for name in challenge_names(zone):
            self.dns.put(name, RecordType.CNAME, self.target(zone))

    def look_again(self) -> None:
        """At all delegations, as hours do."""
        self.write("UPDATE delegations SET next_check_at = created_at")

    def kill(self) -> None:
        """`kill -9`, and another process a minute later: leases have ended by then, and so has every request that was sent."""
        self.router.process.signal(signal.SIGKILL)
        self.router.process.wait()
        self.write("UPDATE leases SET expires_at = 0")
        self.write("UPDATE acme_orders SET next_at = opened_at WHERE closed_at IS NULL")
        self.router.start()


@dataclass
class Tenant:
    """One tenant's key."""

    fleet: Fleet
    id: str
    key: str

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of one call."""
        return self.fleet.router.ask(self.key, method, path, body)

    def set_zone(self, zone: str) -> dict[str, Any]:
        """Let the tenant's resources be under it, with its DNS leading to us; what the API shows."""
        for name in (f"*.{zone}", f"*.sandbox.{zone}"):
            self.fleet.dns.put(name, RecordType.CNAME, TARGET)
        body = {"preview_domain": zone}
        status, shown = self.call("PUT", "/tenant/preview-domain", body)
        if status == 409:  # another tenant had it: it goes to who proves that it is theirs
            for record in shown["error"]["claim"]["records"]:
                self.fleet.dns.put(record["fqdn"], RecordType.TXT, record["expected"])
            until(lambda: self.call("PUT", "/tenant/preview-domain", body)[0] == 200, "the zone is theirs", 20.0)
        else:
            assert status == 200, shown
        self.verify()
        return self.zone()

    def verify(self) -> None:
        def verified() -> bool:
            self.call("POST", "/tenant/preview-domain/verify")
            return bool(self.zone()["verified"])

        until(verified, "the zone is verified", 15.0)

    def zone(self) -> dict[str, Any]:
        status, shown = self.call("GET", "/tenant/preview-domain")
        assert status == 200, shown
        return dict(shown)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/events?type={kind}&page_size=100")[1]["data"])


@asynccontextmanager
async def fleet(
    folder: Path, *, validity: int = 90 * 86400, proxy_delay: float = 0.0, **settings: object
) -> AsyncIterator[Fleet]:
    """Where the event loop stays free for the name server and the proxy: stories are told in a thread."""
    async with NameServer() as dns:
        dns.put(TARGET, RecordType.A, "127.0.0.1")
        responder = free_port()
        dns.forward(ACME_ZONE, responder)
        pebble = Pebble(folder, dns=dns.server, validity=validity)
        await asyncio.to_thread(pebble.__enter__)
        try:
            async with AcmeProxy(pebble, folder, delay=proxy_delay) as proxy:
                given = {
                    "secrets_key": SECRETS_KEY,
                    "rates__workspace": 100_000,
                    "dns_servers": dns.server,
                    "acme_zone": ACME_ZONE,
                    "acme_directory": proxy.directory,
                    "acme_ca_file": proxy.certificate,
                    "acme_dns_bind": f"127.0.0.1:{responder}",
                    "acme_dns_names": "ns1.miosa.test",
                }
                router = Router(folder, **(given | settings))
                await asyncio.to_thread(router.__enter__)
                try:
                    yield Fleet(router, dns, pebble, proxy, responder)
                finally:
                    await asyncio.to_thread(router.__exit__, None, None, None)
        finally:
            await asyncio.to_thread(pebble.__exit__, None, None, None)
