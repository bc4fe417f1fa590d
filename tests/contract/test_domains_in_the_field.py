"""What the DNS and the CDNs of real customers do: a real name server, a stub for the CDN, and what verify and diagnose say.

Both say the same: the sentence that verify refuses with is the first of diagnose, with the same records.
"""

import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.dns import DnsLookup
from router.domains.checks.apply_custom import CustomResults
from router.domains.custom import CustomDomain
from router.domains.diagnosis.findings import Finding
from router.domains.lookup import RecordType
from router.domains.targets import own_target
from router.errors import RouterError
from router.outbound.challenge import HttpFetch
from router.routes.challenge import PATH
from router.store import Store
from tests.support.backends import Backend, Visit
from tests.support.certificates import write_certificate
from tests.support.database import Databases
from tests.support.internet import Internet
from tests.support.nameserver import NameServer
from tests.support.world import World

pytestmark = pytest.mark.asyncio

APP, TOP = "app.example.com", "example.com"
CHALLENGE = f"_miosa-challenge.{APP}"
VERIFY, PROXY = "verify.miosa.ai", "proxy.miosa.ai"
A, AAAA, CNAME, TXT, HTTPS = RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.TXT, RecordType.HTTPS
OURS = "192.0.2.1"
PATIENCE = 10.0  # seconds for a server here to answer one query
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
SOA = "ns.example.com hostmaster.example.com 1 3600 600 86400 60"


class Cdn:
    """Stands before us on loopback: a port for plain HTTP and one for https. `mode` is what its customer has chosen, `proof`
    what we answer to our challenge, `issued` whether we have a certificate for the name."""

    def __init__(self) -> None:
        self.mode: Callable[[Visit, bool], Awaitable[None]] = self.full
        self.proof = b""
        self.issued = False
        self.port = self.https_port = 0

    async def http(self, visit: Visit) -> None:
        await self.mode(visit, False)

    async def https(self, visit: Visit) -> None:
        await self.mode(visit, True)

    async def ours(self, visit: Visit, https: bool) -> None:
        """What we respond at port 80 or at port 443, as `deploy/Caddyfile` has it."""
        if visit.target.startswith(PATH.encode()):
            await visit.answer(self.proof)
        elif https:
            await visit.answer(b"hello")
        else:
            await self.to_https(visit, b"308 Permanent Redirect")

    async def to_https(self, visit: Visit, status: bytes = b"301 Moved Permanently") -> None:
        location = f"Location: https://{APP}:{self.https_port}".encode() + visit.target
        await visit.answer(b"", status, location)

    async def full(self, visit: Visit, https: bool) -> None:
        """The scheme of the visitor is that towards us, and our certificate has to be there."""
        if https and not self.issued:
            await visit.answer(b"", b"526 Invalid SSL certificate")
        else:
            await self.ours(visit, https)

    async def always_https(self, visit: Visit, https: bool) -> None:
        """As `full`, and plain HTTP is sent to https."""
        await (self.full(visit, https) if https else self.to_https(visit))

    async def flexible(self, visit: Visit, https: bool) -> None:  # that is the matter
        """Whatever the visitor speaks, plain HTTP towards us."""
        await self.ours(visit, https=False)

    async def other_name(self, visit: Visit, https: bool) -> None:
        """By https under the name of its own that it was told for us, for which we have no certificate."""
        if https:
            await visit.answer(b"", b"525 SSL handshake failed")
        else:
            await self.ours(visit, https)

    async def other_host(self, visit: Visit, https: bool) -> None:
        await visit.answer(b"", b"404 Not Found", b"X-Miosa-Error: host_not_found")


class Field:
    """One tenant with a domain that waits, and what DNS and the Internet show of it."""

    def __init__(self, world: World, dns: NameServer, lookup: DnsLookup, cdn: Cdn) -> None:
        self.world = world
        self.cdn = cdn
        self.dns = dns
        self.lookup = lookup
        self.closed_port = 9  # discard: nobody listens there

    async def register(self, fqdn: str = APP) -> CustomDomain:
        tenant = await self.world.tenant()
        domain = await self.world.domains.register((await self.world.sandbox(tenant, "shop")).id, fqdn)
        self.cdn.proof = domain.proof.encode()
        return domain

    async def register_proxied(self) -> CustomDomain:
        """One behind the CDN, whose TXT record is there."""
        domain = await self.register()
        self.dns.put(APP, CNAME, "app.cdn.cloudflare.net")
        self.dns.put("app.cdn.cloudflare.net", A, "127.0.0.1")
        self.dns.put(CHALLENGE, TXT, domain.token)
        return domain

    async def verify(self, domain: CustomDomain) -> str:
        """The state after a call of verify, or why it is refused: with what diagnose says, and its records."""
        blocking = await self.blocking(domain)
        try:
            status = (await self.world.verification(self.lookup).custom_domain(domain.id)).status.value
        except RouterError as error:
            refused: Any = error
            first = blocking[0]
            assert refused.fields == {"fqdn": [first.message]}
            assert [one["value"] for one in refused.beside["records"]] == [one.value for one in first.records]
            return f"{error.problem.code}: {first.code}"
        assert not blocking
        return status

    async def blocking(self, domain: CustomDomain) -> list[Finding]:
        return [finding for finding in await self.findings(domain) if finding.blocks]

    async def findings(self, domain: CustomDomain) -> Sequence[Finding]:
        return (await self.world.diagnoses(self.lookup).custom_domain(domain.id)).findings

    async def codes(self, domain: CustomDomain) -> list[str]:
        return [finding.code for finding in await self.findings(domain)]


@pytest_asyncio.fixture
async def field(databases: Databases, tmp_path: Path) -> AsyncIterator[Field]:
    clock = ManualClock()  # it stands: each step has its whole time, however long the machine stalls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(tmp_path, "cdn.example.net"))
    async with AsyncExitStack() as stack:
        cdn = Cdn()
        cdn.port = (await stack.enter_async_context(Backend(cdn.http))).port
        cdn.https_port = (await stack.enter_async_context(Backend(cdn.https, tls=context))).port
        url = await stack.enter_async_context(databases.new("sqlite"))
        dns = await stack.enter_async_context(NameServer())
        dns.recursive = True
        store = await Store.open(url, clock=clock)
        stack.push_async_callback(store.close)
        lookup = DnsLookup([dns.server], clock, query_timeout=PATIENCE)
        stack.push_async_callback(lookup.close)
        dns.put(TOP, RecordType.SOA, SOA)
        for target in (VERIFY, PROXY):
            dns.put(target, A, OURS)
        world = World(store, clock)
        world.custom_results = CustomResults(store, clock, ask_every=0)
        world.web = HttpFetch(lookup, clock, networks=[LOOPBACK], port=cdn.port, https_port=cdn.https_port)
        yield Field(world, dns, lookup, cdn)


@pytest.mark.parametrize("form", ['"{}"', "{} ", "  {}", "{:U}"])
async def test_a_token_as_people_enter_it(field: Field, form: str) -> None:
    """The TXT record proves the name with quotes, blanks and capitals too; a token of somebody else does not."""
    domain = await field.register()
    field.dns.put("*.example.com", CNAME, VERIFY)
    field.dns.put(APP, CNAME, VERIFY)
    field.dns.put(CHALLENGE, TXT, "0b" * 16)
    assert (await field.verify(domain)).startswith("proof_needed")
    entered = domain.token.upper() if form == "{:U}" else form.format(domain.token)
    field.dns.put(CHALLENGE, TXT, entered)
    assert await field.verify(domain) == "verified"


async def test_a_cdn_that_goes_in_a_circle(field: Field) -> None:
    """It makes https of everything, and we have no certificate before the name is verified. The way out is the name without
    it; once there is a certificate, the CDN may stand before us again."""
    domain = await field.register_proxied()
    field.cdn.mode = field.cdn.always_https
    assert await field.verify(domain) == "cname_not_found: cdn_circle"
    (finding,) = await field.blocking(domain)
    assert [(one.type, one.name, one.value) for one in finding.records] == [
        ("CNAME", APP, own_target(domain.token, VERIFY))
    ]
    field.dns.put(APP, CNAME, own_target(domain.token, VERIFY))  # the way out, as it is told
    assert await field.verify(domain) == "verified"
    await field.world.domains.mark_active(domain.id)
    field.dns.put(APP, CNAME, "app.cdn.cloudflare.net")
    field.cdn.issued = True
    checked = await field.world.verification(field.lookup).check_custom_domain(domain.id)
    assert (checked.check.result, checked.check.method) == ("valid", "proxied")
    assert await field.codes(domain) == ["behind_cdn", "all_right"]


async def test_a_cdn_that_speaks_plain_http_for_https(field: Field) -> None:
    """Verified, as it passes our challenge on; and visitors are redirected in a circle, which is told."""
    domain = await field.register_proxied()
    field.cdn.mode = field.cdn.flexible
    assert await field.verify(domain) == "verified"
    assert await field.codes(domain) == ["behind_cdn", "redirect_loop"]
    shown = (await field.world.domains.get(domain.id)).required_records[0]
    assert (shown.status, shown.reason) == ("valid", "redirect_loop")
    field.cdn.mode = field.cdn.full
    assert "redirect_loop" not in await field.codes(domain)


async def test_a_cdn_without_https(field: Field) -> None:
    """What it does with visitors who come by https can't be seen; where that leads to a circle is told."""
    domain = await field.register_proxied()
    assert isinstance(field.world.web, HttpFetch)
    field.world.web = HttpFetch(
        field.lookup, ManualClock(), networks=[LOOPBACK], port=field.cdn.port, https_port=field.closed_port
    )
    field.cdn.https_port = field.closed_port
    assert await field.verify(domain) == "verified"
    found = {finding.code: finding.severity for finding in await field.findings(domain)}
    assert found == {"behind_cdn": "info", "redirect_loop": "warning"}


async def test_a_cdn_that_is_right(field: Field) -> None:
    """Until there is a certificate its visitors by https have none either, which is nothing to change."""
    domain = await field.register_proxied()
    assert await field.verify(domain) == "verified"
    assert await field.codes(domain) == ["behind_cdn", "all_right"]
    field.cdn.issued = True
    await field.world.domains.mark_active(domain.id)
    assert await field.codes(domain) == ["behind_cdn", "all_right"]


async def test_a_cdn_that_sends_another_name(field: Field) -> None:
    """In the handshake, which shows once there is a certificate; or as Host, which shows at once."""
    domain = await field.register_proxied()
    field.cdn.mode = field.cdn.other_host
    assert await field.verify(domain) == "cname_not_found: cdn_other_name"
    field.cdn.mode = field.cdn.other_name
    assert await field.verify(domain) == "verified"
    assert "cdn_other_name" not in await field.codes(domain)
    await field.world.domains.mark_active(domain.id)
    assert "cdn_other_name" in await field.codes(domain)


async def test_a_txt_record_that_takes_the_name_down(field: Field) -> None:
    """A wildcard leads the name here; the TXT record below the name hides that from it. Told before and after."""
    domain = await field.register()
    own = own_target(domain.token, VERIFY)
    field.dns.put(f"*.{TOP}", CNAME, VERIFY)
    assert await field.verify(domain) == "proof_needed: wildcard_record"
    (before,) = await field.blocking(domain)
    assert "alone would take it down" in before.message
    assert [(one.action, one.type, one.value) for one in before.records] == [("add", "CNAME", own)]
    field.dns.put(CHALLENGE, TXT, domain.token)
    assert await field.verify(domain) == "cname_not_found: wildcard_hidden"
    (after,) = await field.blocking(domain)
    assert after.message.startswith(f"The TXT record at {CHALLENGE} makes {APP} a name of its own")
    assert [(one.action, one.type, one.value) for one in after.records] == [("add", "CNAME", own)]
    field.dns.put(APP, CNAME, own)
    assert await field.verify(domain) == "verified"


@pytest.mark.parametrize("answer", ["servfail", "refused"])
async def test_servers_that_fail_for_types_that_they_do_not_know(field: Field, answer: str) -> None:
    """The right A record is enough: visitors come by it."""
    domain = await field.register()
    field.dns.put(APP, A, OURS)
    field.dns.fail_type(APP, AAAA, answer)
    field.dns.fail_type(APP, HTTPS, answer)
    assert await field.verify(domain) == "verified"


@pytest.mark.parametrize("record", ['1 . alpn="h2" ipv4hint="198.51.100.9"', "0 shops.elsewhere.example."])
async def test_an_https_record_that_leads_elsewhere(field: Field, record: str) -> None:
    """Browsers follow it in place of the addresses. It keeps a new domain from being verified, and takes none down."""
    domain = await field.register()
    field.dns.put("shops.elsewhere.example", A, "198.51.100.9")
    field.dns.put(APP, A, OURS)
    field.dns.put(APP, HTTPS, record)
    assert await field.verify(domain) == "cname_not_found: https_record_elsewhere"
    (finding,) = await field.blocking(domain)
    assert [(one.action, one.type, one.value) for one in finding.records] == [("delete", "HTTPS", record)]
    field.dns.put(APP, HTTPS)
    assert await field.verify(domain) == "verified"
    field.dns.put(APP, HTTPS, record)
    checked = await field.world.verification(field.lookup).check_custom_domain(domain.id)
    assert (checked.status, checked.check.result) == ("verified", "valid")
    assert await field.codes(domain) == ["https_record_elsewhere"]


@pytest.mark.parametrize("ttl", [0, 60])
@pytest.mark.parametrize("record", [CNAME, A])
async def test_servers_that_do_not_say_that_they_are_in_charge(field: Field, record: RecordType, ttl: int) -> None:
    """Asked from the root down: right records without the AA bit verify the domain, with a remark; with a SOA record beside
    what is not there, and without."""
    domain = await field.register()
    async with Internet(TOP, "miosa.ai", ttl=ttl) as internet:
        for server in (internet.first, internet.second):
            server.put(APP, record, VERIFY if record is CNAME else OURS)
            server.put(VERIFY, A, OURS)
            server.put(TOP, RecordType.SOA, SOA)
            server.authoritative = False
        field.lookup = DnsLookup([], ManualClock(), query_timeout=PATIENCE, **internet.options)
        try:
            assert await field.verify(domain) == "verified"
            assert "not_authoritative" in await field.codes(domain)
        finally:
            await field.lookup.close()
