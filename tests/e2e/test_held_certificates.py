"""Certificates that the router holds, through real Caddy with deploy/Caddyfile: whom they are served to, and when Caddy lets go
of its own."""

import asyncio
import http.client
import itertools
import json
import secrets
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from router.base.clock import SystemClock
from router.base.secret_box import SecretBox
from router.certificates.held import HeldCertificate, Origin, upload_name
from router.domains.lookup import RecordType
from router.settings import load
from router.store import open_store
from tests.support.backends import Backend, Visit
from tests.support.caddy import CADDYFILE, Caddy
from tests.support.certificates import write_certificate
from tests.support.held_table import a_row, authority_pem
from tests.support.http1 import Http1
from tests.support.nameserver import NameServer
from tests.support.pebble import Pebble
from tests.support.ports import free_port
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

KEY = secrets.token_bytes(32)
MANAGED, BROUGHT = "Managed CA", "Brought CA"


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


class Held:
    """A node that holds certificates, and Caddy in front of it."""

    def __init__(self, folder: Path, caddy: dict[str, Any], settings: dict[str, Any]) -> None:
        self.folder = folder
        self._box = SecretBox([KEY])
        self._rows: list[HeldCertificate] = []
        self._numbers = itertools.count()
        self.router = Router(folder, secrets_key=KEY.hex(), gate__budgets=True, **settings)
        self.options = {"ask": self.router.admin, **caddy}
        self.caddy: Caddy

    @contextmanager
    def running(self) -> Iterator["Held"]:
        with ExitStack() as stack:
            stack.enter_context(self.router)
            self.tenant_id = self.router.tenant("Acme")
            self.caddy = stack.enter_context(Caddy(self.folder, proxy=self.router.proxy, **self.options))
            yield self

    def site(self, backend: int) -> str:
        """A new host under the platform's domain."""
        slug = f"box{next(self._numbers)}"
        self.router.register(self.tenant_id, slug, backend)
        return f"{slug}.{PLATFORM_DOMAIN}"

    def put(self, domain: str, issuer: str = MANAGED, **fields: Any) -> HeldCertificate:
        """Hold a certificate, and wait until the node serves it to Caddy."""
        row = a_row(domain, SystemClock().now(), box=self._box, issuer=issuer, **fields)

        async def write() -> None:
            async with open_store(load(environ=self.router.environment), SystemClock()) as store, store.begin() as tx:
                await tx.held_certificates.put(row)

        self._run(write)
        self._rows.append(row)
        until(lambda: row.chain in self.fetched(row.names[0].replace("*", "any")), "it is held", 10.0)
        return row

    def remove(self, row: HeldCertificate) -> None:
        """Hold it no more, and wait until the node knows."""

        async def write() -> None:
            async with open_store(load(environ=self.router.environment), SystemClock()) as store, store.begin() as tx:
                assert await tx.held_certificates.remove(row.domain, row.origin, SystemClock().now())

        self._run(write)
        self._rows.remove(row)
        until(lambda: row.chain not in self.fetched(row.names[0].replace("*", "any")), "it is dropped", 10.0)

    def remove_all(self) -> None:
        """Hold nothing any more."""
        for row in tuple(self._rows):
            self.remove(row)

    def fetched(self, name: str) -> str:
        """What `/certificate` answers for a name."""
        return self.router.get_admin(f"/certificate?server_name={name}")[2].decode()

    def issuer(self, host: str) -> str:
        """Who has signed the certificate that a visitor of the host gets. Raises ssl.SSLError where there is none."""
        trusted = self.caddy.trust()
        for issuer in (MANAGED, BROUGHT):
            trusted.load_verify_locations(cadata=authority_pem(issuer))
        found: Any = self.caddy.certificate(host, trusted)["issuer"]
        return str(dict(part for ((part),) in found)["commonName"])

    def own(self, host: str) -> bool:
        """Whether Caddy has got a certificate for this host alone."""
        return bool(list(self.caddy.storage.rglob(f"{host}.crt")))

    def count(self, metric: str) -> float:
        """A metric, over all other labels."""
        lines = self.router.get_admin("/metrics")[2].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"miosa_router_{metric}"))

    def visit(self, host: str) -> int:
        """The status that a visitor gets who trusts the authority of the managed ones only."""

        async def visit() -> int:
            context = ssl.create_default_context(cadata=authority_pem(MANAGED))
            context.set_alpn_protocols(["http/1.1"])
            async with Http1(self.caddy.port, host, context) as client:
                answer = await client.request("GET", "/")
                await answer.read_all()
                return answer.status

        return self._run(visit)

    @staticmethod
    def _run(work: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, work()).result()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with Held(tmp_path_factory.mktemp("held"), {}, {}).running() as held:
        yield held


@pytest.fixture
def held(node: Held) -> Iterator[Held]:
    """The module's, with nothing held."""
    yield node
    node.remove_all()


async def in_a_thread(story: Callable[[int], None]) -> None:
    """Tell a story of a backend's port in a thread, while that backend runs here."""
    async with Backend(hello) as backend:
        await asyncio.to_thread(story, backend.port)


async def test_every_host_of_a_zone_is_served_by_one_certificate(held: Held) -> None:
    """Nothing is ordered, nothing is asked, no budget is touched; also for names that lead nowhere, as with any wildcard. What
    is beside the zone is asked about as before. No key is in any log."""

    def story(backend: int) -> None:
        row = held.put(PLATFORM_DOMAIN)
        asked, fetched = held.count("asks_total"), held.count('certificate_fetches_total{result="held"')
        hosts = [held.site(backend) for _ in range(20)]
        hosts += [f"3000-{host.partition('.')[0]}.sandbox.{PLATFORM_DOMAIN}" for host in hosts]
        assert {held.visit(host) for host in hosts} == {200}
        assert held.issuer(f"nobody.{PLATFORM_DOMAIN}") == MANAGED
        assert not any(held.own(host) for host in hosts)
        assert held.count("asks_total") == asked
        assert held.count('certificate_fetches_total{result="held"') >= fetched + len(hosts)
        facts = json.loads(held.router.get_admin("/readyz")[2])["held_certificates"]
        assert facts == {"held": 1, "unreadable": 0, "fetched": True}
        with pytest.raises(ssl.SSLError):
            held.issuer(f"a.b.{PLATFORM_DOMAIN}")
        assert held.count("asks_total") == asked + 1
        output = held.router.output + held.caddy.process.output
        private = held.fetched(hosts[0]).partition("PRIVATE KEY-----\n")[2][:40]
        assert len(private) == 40
        assert private not in output
        assert row.sealed_key not in output
        assert "server_name" not in held.router.output

    await in_a_thread(story)


async def test_the_order_of_service_and_what_comes_after(held: Held) -> None:
    """Uploaded first; the managed one when that is removed; a certificate of the host's own when nothing is held."""

    def story(backend: int) -> None:
        host = held.site(backend)
        managed = held.put(PLATFORM_DOMAIN)
        assert held.issuer(host) == MANAGED
        brought = held.put(upload_name(PLATFORM_DOMAIN), BROUGHT, origin=Origin.UPLOADED)
        assert held.issuer(host) == BROUGHT
        held.remove(brought)
        assert held.issuer(host) == MANAGED
        brought = held.put(host, BROUGHT, origin=Origin.UPLOADED, names=(host,))
        assert (held.issuer(host), held.issuer(f"other.{PLATFORM_DOMAIN}")) == (BROUGHT, MANAGED)
        held.remove(managed)
        assert held.issuer(host) == BROUGHT
        assert not held.own(host)
        held.remove(brought)
        assert held.issuer(host).startswith("Caddy Local Authority")
        assert held.own(host)

    await in_a_thread(story)


async def test_one_that_ends_gives_way_while_visitors_come(held: Held) -> None:
    """In the second of its end: the managed one is served, and no handshake fails."""

    def story(backend: int) -> None:
        host = held.site(backend)
        held.put(PLATFORM_DOMAIN)
        end = SystemClock().now() + timedelta(seconds=5)
        held.put(upload_name(PLATFORM_DOMAIN), BROUGHT, origin=Origin.UPLOADED, not_after=end)
        seen = [held.issuer(host)]
        while seen[-1] == BROUGHT:
            seen.append(held.issuer(host))
        assert seen[0] == BROUGHT
        assert (seen[-1], SystemClock().now() >= end) == (MANAGED, True)

    await in_a_thread(story)


async def test_a_host_with_a_certificate_of_its_own_keeps_it(held: Held) -> None:
    """In Caddy's memory, until it is due. After a restart of Caddy the held one comes first."""

    def story(backend: int) -> None:
        host = held.site(backend)
        assert held.issuer(host).startswith("Caddy Local Authority")
        held.put(PLATFORM_DOMAIN)
        assert held.issuer(host).startswith("Caddy Local Authority")
        held.caddy.restart()
        assert held.issuer(host) == MANAGED

    await in_a_thread(story)


async def test_no_way_leads_to_keys_through_the_proxy(held: Held) -> None:
    """Host is a resource's name or nothing: the proxy passes nothing on to the admin listener."""
    await asyncio.to_thread(held.put, PLATFORM_DOMAIN)
    for host in (held.router.admin, "127.0.0.1", "localhost", f"nobody.{PLATFORM_DOMAIN}"):
        async with Http1(held.router.proxy_port, host) as client:
            answer = await client.request("GET", f"/certificate?server_name=box.{PLATFORM_DOMAIN}")
            assert answer.status in {400, 404}
            assert b"PRIVATE" not in await answer.read_all()


@pytest.mark.realtime
async def test_a_host_is_handed_over_at_its_renewal_and_no_handshake_fails(tmp_path: Path) -> None:
    """Pebble issues for 24 seconds: at the renewal ask refuses, Caddy drops its own, and the next handshake has the held one.
    Of four visitors who come again and again not one handshake fails, and nothing more is ordered."""
    ports = free_port(), free_port()
    async with NameServer() as dns, Backend(hello) as backend:
        dns.put(f"box0.{PLATFORM_DOMAIN}", RecordType.A, "127.0.0.1")

        def play() -> None:
            with ExitStack() as stack:
                pebble = stack.enter_context(
                    Pebble(tmp_path, dns=dns.server, tls_port=ports[0], http_port=ports[1], validity=24)
                )
                settings = {
                    "gate__caddy": f"127.0.0.1:{ports[0]}",
                    "dns_servers": dns.server,
                }
                held = Held(tmp_path, {"acme": pebble, "ports": ports}, settings)
                stack.enter_context(held.running())
                host = held.site(backend.port)
                assert held.issuer(host).startswith("Pebble")
                held.put(PLATFORM_DOMAIN)
                seen: list[str] = []
                begun = time.monotonic()
                with ThreadPoolExecutor(4) as visitors:
                    while seen[-8:] != [MANAGED] * 8:
                        assert time.monotonic() - begun < 40.0, seen
                        seen += visitors.map(held.issuer, [host] * 4)  # raises where a handshake fails
                before = set(seen) - {MANAGED}  # of four at once any may be the first that gets ours
                assert len(before) <= 1
                assert all(issuer.startswith("Pebble") for issuer in before)
                issued = pebble.issued  # Caddy renews such short ones at once: some before ours was held
                assert [held.issuer(host) for _ in range(20)] == [MANAGED] * 20
                assert pebble.issued == issued
                assert held.count('asks_total{reason="held_certificate"}') == 1
                assert held.count("certificates_in_flight") == 0

        await asyncio.to_thread(play)


class Way:
    """A port of this machine that leads to another, or closes every connection while it is `closed`."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False
        self.refused = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            self.refused += 1
            writer.transport.abort()
            return
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._to)
        for one, other in ((reader, their_writer), (their_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(one, other)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while not self.closed and (data := await reader.read(65536)):
                writer.write(data)
        writer.transport.abort()


async def test_sites_for_several_routers_and_other_machines(tmp_path: Path) -> None:
    """ask.caddy and certificates.caddy. While the router is away for a moment, a handshake waits for it. Who shows no certificate at
    `certificate_bind`, or a stranger's, gets no answer, and hardly anything else is there. Where no router answers, a handshake
    goes on by ask."""
    port, ask_port, site_port = free_port(), free_port(), free_port()
    (tmp_path / "more").mkdir()
    for name in ("ask.caddy", "certificates.caddy"):
        shutil.copy(CADDYFILE.with_name(name), tmp_path / "more")
    theirs, their_key = write_certificate(tmp_path, "miosa-router", stem="router")
    ours, our_key = write_certificate(tmp_path, "caddy", stem="caddy")
    stranger = write_certificate(tmp_path, "stranger", stem="stranger")
    settings = {
        "certificate_bind": f"127.0.0.1:{port}",
        "certificate_tls_cert": theirs,
        "certificate_tls_key": their_key,
        "certificate_tls_client_ca": ours,
    }
    held = Held(tmp_path, {}, settings)

    def get(path: str, shown: tuple[Path, Path] | None = (ours, our_key)) -> tuple[int, str]:
        context = ssl.create_default_context(cafile=str(theirs))
        context.check_hostname = False
        if shown is not None:
            context.load_cert_chain(*shown)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(f"https://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""

    def by_site(path: str) -> tuple[int, str]:
        status, _, body = Router.send(urllib.request.Request(f"http://127.0.0.1:{ask_port}{path}"))
        return status, body.decode()

    def story(backend: int, way: Way) -> None:
        row = held.put(PLATFORM_DOMAIN)
        hosts = [held.site(backend) for _ in range(3)]
        path = f"/certificate?server_name={hosts[0]}"
        assert held.issuer(hosts[0]) == MANAGED
        for status, body in (get(path), by_site(path)):
            assert (status, body.startswith(row.chain), "PRIVATE KEY" in body) == (200, True, True)
        for shown in (None, stranger):
            with pytest.raises((OSError, http.client.HTTPException)):
                get(path, shown)
        for elsewhere in ("/ask?domain=x.org", "/metrics", "/explain?host=x.org", "/"):
            assert get(elsewhere)[0] == 404
        assert by_site("/metrics")[0] == 404

        way.closed = True
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(held.issuer, hosts[1])
            refused = way.refused
            until(lambda: way.refused >= refused + 3 or waiting.done(), "it was tried", 10.0)
            way.closed = False
            assert waiting.result() == MANAGED

        way.closed = True
        assert held.issuer(hosts[2]).startswith("Caddy Local Authority")
        held.router.process.stop()
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(by_site, (path, "/ask?domain=x.org"))) == [(204, ""), (503, "")]

    async with Way(port) as way, Backend(hello) as backend:
        environment = {
            "ASK_PORT": ask_port,
            "ASK_NODES": held.router.admin,
            "CERTIFICATES": "site",
            "CERTIFICATES_PORT": site_port,
            "CERTIFICATES_NODES": f"https://127.0.0.1:{way.port}",
            "CERTIFICATES_CA": theirs,
            "CERTIFICATES_CERT": ours,
            "CERTIFICATES_KEY": our_key,
        }
        held.options |= {
            "ask": f"127.0.0.1:{ask_port}",
            "environment": {f"MIOSA_CADDY_{name}": str(value) for name, value in environment.items()},
        }

        def play() -> None:
            with held.running():
                story(backend.port, way)

        await asyncio.to_thread(play)
