"""Certificates by ACME, with real parts: Caddy with deploy/Caddyfile, Pebble, a name server, and the official client."""

import asyncio
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import miosa
import pytest

from router.domains.lookup import RecordType
from tests.support.backends import Backend, Visit
from tests.support.caddy import Caddy
from tests.support.evidence import read_until
from tests.support.http1 import Http1
from tests.support.nameserver import NameServer
from tests.support.pebble import Pebble
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

FQDN = "app.yourcompany.com"
TARGET = "verify.miosa.ai"


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


class Customer:
    """A node behind Caddy, a certificate authority, and a customer with a deployment, through the official client."""

    def __init__(self, router: Router, caddy: Caddy, pebble: Pebble, backend: int) -> None:
        self.router = router
        self.caddy = caddy
        self.pebble = pebble
        tenant_id = router.tenant("Acme")
        self.key = router.key(tenant_id)
        self.deployment = router.register(tenant_id, "shop", backend, kind="deployment")
        self.client = miosa.Miosa(api_key=self.key, base_url=f"http://127.0.0.1:{router.api_port}/api/v1")

    @property
    def domains(self) -> Any:
        return self.client.deployments.domains(self.deployment)

    def domain(self) -> Any:
        (found,) = self.domains.list()
        return found

    def verify(self) -> None:
        """Until the records are seen, by the client or by the router itself."""

        def verified() -> bool:
            if self.domain()["status"] in {"verified", "active"}:
                return True
            try:
                self.domains.verify(self.domain()["id"])
            except miosa.MiosaError:
                return self.domain()["status"] in {"verified", "active"}
            return True

        until(verified, "verified", 15.0)

    def ask(self, name: str = FQDN) -> tuple[int, str]:
        """What the gate says."""
        return ask(self.router, name)

    def get(self) -> int:
        """What the router says to a visitor."""
        request = urllib.request.Request(f"http://{self.router.proxy}/", headers={"Host": FQDN})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def plainly(self) -> tuple[int, str | None, str | None]:
        """What Caddy says to a visitor who comes by plain HTTP: the status, the code of an error, and where to go."""

        async def visit() -> tuple[int, str | None, str | None]:
            async with Http1(self.caddy.http_port, FQDN) as client:
                answer = await client.request("GET", "/a?b")
                heads = (answer.values(name) for name in ("x-miosa-error", "location"))
                error, location = (values[0] if values else None for values in heads)
                return answer.status, error, location

        return asyncio.run(visit())

    def events(self, kind: str) -> int:
        """How many of these there are."""
        return len(self.router.call(self.key, "GET", f"/events?type={kind}"))


def ask(router: Router, name: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{router.admin}/ask?domain={name}", timeout=10) as answer:
            return answer.status, answer.headers["X-Ask-Reason"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Ask-Reason"]


@contextmanager
def everything(
    folder: Path, dns: NameServer, backend: int, *, validity: int = 90 * 86400, **settings: object
) -> Iterator[Customer]:
    dns.put(TARGET, RecordType.A, "127.0.0.1")
    dns.put("yourcompany.com", RecordType.A, "127.0.0.1")
    ports = free_port(), free_port()
    with ExitStack() as stack:
        pebble = stack.enter_context(
            Pebble(folder, dns=dns.server, tls_port=ports[0], http_port=ports[1], validity=validity)
        )
        given = {
            "gate__budgets": True,
            "gate__caddy": f"127.0.0.1:{ports[0]}",
            "state_dir": folder,
            "rates__workspace": 100_000,
            "plain_http": "redirect",
            "public_port": ports[0],
        }
        router = stack.enter_context(Router(folder, dns_servers=dns.server, **(given | settings)))
        caddy = stack.enter_context(
            Caddy(
                folder,
                proxy=router.proxy,
                ask=router.admin,
                acme=pebble,
                ports=ports,
                environment={"MIOSA_CADDY_HTTP": "pass"},
            )
        )
        customer = Customer(router, caddy, pebble, backend)
        stack.callback(customer.client.close)
        yield customer


async def played(story: Callable[[Customer, NameServer], None], folder: Path, **options: Any) -> None:
    """Tell the story in a thread, while the name server and a backend run here."""
    async with NameServer() as dns, Backend(hello) as backend:

        def play() -> None:
            with everything(folder, dns, backend.port, **options) as customer:
                story(customer, dns)

        await asyncio.to_thread(play)


@pytest.mark.realtime
async def test_from_registration_to_a_certificate(tmp_path: Path) -> None:
    """Registered, pending, records added, verified, certificate, active: within fifteen seconds, before any visitor."""

    def story(customer: Customer, dns: NameServer) -> None:
        begun = time.monotonic()
        registered = customer.domains.add(FQDN)
        assert (registered["status"], registered["cert"]["status"]) == ("pending", "pending")
        assert customer.ask() == (403, "not_verified")
        assert customer.plainly()[:2] == (404, "host_not_found")
        dns.put(FQDN, RecordType.CNAME, TARGET)
        customer.verify()
        until(lambda: customer.domain()["status"] == "active", "active", 15.0)
        took = time.monotonic() - begun
        assert took < 15.0
        found = customer.domain()
        assert found["tls_issued_at"] is not None
        assert found["cert"]["status"] == "issued"
        assert found["cert"]["issuer"].startswith("Pebble")
        assert found["cert"]["not_after"] > found["cert"]["not_before"]
        assert customer.pebble.issued == 1
        assert customer.ask() == (200, "issued")
        assert customer.plainly() == (308, None, f"https://{FQDN}:{customer.caddy.port}/a?b")
        certificate = customer.caddy.certificate(FQDN)  # trusts Pebble's root only, and checks the name
        assert int(str(certificate["serialNumber"]), 16) == int(found["cert"]["serial"], 16)
        assert customer.pebble.issued == 1

        begun = time.monotonic()
        customer.domains.delete(found["id"])
        until(lambda: customer.ask()[0] == 403 and customer.get() == 404, "refused everywhere", 1.0)
        assert time.monotonic() - begun < 1.0
        assert customer.ask() == (403, "removed")

    await played(story, tmp_path)


async def test_a_first_visit_makes_a_domain_active(tmp_path: Path) -> None:
    """Where nothing is fetched ahead."""

    def story(customer: Customer, dns: NameServer) -> None:
        customer.domains.add(FQDN)
        dns.put(FQDN, RecordType.CNAME, TARGET)
        customer.verify()
        assert customer.ask()[1] in {"first_issue", "in_flight"}
        assert customer.domain()["status"] == "verified"

        async def visit() -> int:
            async with Http1(customer.caddy.port, FQDN, customer.caddy.trust("http/1.1")) as client:
                return (await client.request("GET", "/")).status

        assert asyncio.run(visit()) == 200
        until(lambda: customer.domain()["status"] == "active", "active", 10.0)
        assert customer.ask() == (200, "issued")
        assert customer.domain()["cert"]["serial"] is None

    async with NameServer() as dns, Backend(hello) as backend:

        def play() -> None:
            with everything(tmp_path, dns, backend.port) as customer:
                customer.router.process.stop()
                del customer.router.environment["MIOSA_ROUTER_GATE__CADDY"]
                customer.router.start()
                story(customer, dns)

        await asyncio.to_thread(play)


async def test_a_certificate_that_can_not_be_had(tmp_path: Path) -> None:
    """It is verified, and then the authority can't reach it: shown with the next try's time, and nobody asks in vain."""

    def story(customer: Customer, dns: NameServer) -> None:
        customer.domains.add(FQDN)
        dns.put(FQDN, RecordType.CNAME, TARGET)
        dns.put(TARGET, RecordType.A, "127.0.0.2")  # nobody listens there
        customer.verify()
        until(lambda: customer.domain()["cert"]["status"] == "failed", "failed", 30.0)
        found = customer.domain()
        assert found["status"] == "verified"
        assert found["cert"]["last_error"]
        assert found["cert"]["retry_at"] > found["updated_at"]
        assert customer.ask() == (429, "failure_backoff")
        assert customer.plainly()[:2] == (503, "certificate_pending")
        assert customer.pebble.issued == 0

    await played(story, tmp_path, gate__attempt_time=5.0, gate__handshake_time=4.0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
@pytest.mark.parametrize("step", ["pending", "verified", "active"])
async def test_a_node_that_ends_loses_nothing(tmp_path: Path, step: str, how: signal.Signals) -> None:
    """In the middle of each step: its successor goes on, and nothing is done twice."""

    def story(customer: Customer, dns: NameServer) -> None:
        def end() -> None:
            customer.router.process.signal(how)
            customer.router.process.wait()
            customer.router.start()

        customer.domains.add(FQDN)
        dns.put(FQDN, RecordType.CNAME, TARGET)
        if step == "pending":
            end()
        customer.verify()
        if step == "verified":
            end()
        until(lambda: customer.domain()["status"] == "active", "active", 40.0)  # a killed node's leases last 15 s
        if step == "active":
            end()
        assert customer.ask() == (200, "issued")
        assert customer.pebble.issued == 1
        assert customer.domain()["cert"]["status"] == "issued"
        for kind in ("certificate.issued", "domain.verified", "domain.active"):
            assert customer.events(kind) == 1, kind

    await played(story, tmp_path)


async def test_a_renewal_while_the_store_is_away(tmp_path: Path) -> None:
    """Caddy starts anew and asks about a name that it has a certificate for, and renews it: both with SQL gone."""
    server = Postgres()

    def story(customer: Customer, dns: NameServer) -> None:
        customer.domains.add(FQDN)
        dns.put(FQDN, RecordType.CNAME, TARGET)
        customer.verify()
        until(lambda: customer.domain()["status"] == "active", "active", 15.0)
        serial = customer.caddy.certificate(FQDN)["serialNumber"]
        server.freeze()
        try:
            customer.caddy.restart()
            assert customer.caddy.certificate(FQDN)["serialNumber"] == serial
            assert customer.ask() == (200, "issued")
            until(lambda: customer.caddy.certificate(FQDN)["serialNumber"] != serial, "renewed", 40.0)
            assert customer.ask() == (200, "issued")
        finally:
            server.thaw()

    with server:
        url = await server.create()
        await played(story, tmp_path, validity=24, database_url=url)


@pytest.mark.parametrize("days", [6, 45])
async def test_a_handshake_without_a_request_holds_no_place(tmp_path: Path, days: int) -> None:
    """A scanner's: the router looks at Caddy itself, knows the certificate and its end, and the attempt is over."""

    def story(customer: Customer, dns: NameServer) -> None:
        name = f"shop.{PLATFORM_DOMAIN}"
        dns.put(name, RecordType.A, "127.0.0.1")

        def in_flight() -> float:
            lines = customer.router.get_admin("/metrics")[2].decode().splitlines()
            (found,) = [line for line in lines if line.startswith("miosa_router_certificates_in_flight")]
            return float(found.rpartition(" ")[2])

        certificate = customer.caddy.certificate(name)
        until(lambda: in_flight() == 0, "the attempt is over", 10.0)
        assert customer.ask(name) == (200, "issued")
        until(lambda: read_until(tmp_path, name) is not None, "it is copied", 20.0)
        assert read_until(tmp_path, name) == ssl.cert_time_to_seconds(str(certificate["notAfter"]))

    await played(story, tmp_path, validity=days * 86400)
