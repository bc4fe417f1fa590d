"""Domain Connect: what a DNS provider offers, found out over real DNS and HTTPS; the links, as the provider
takes them; and providers that are hostile."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from router.base.clock import ManualClock, SystemClock
from router.certificates.delegation import challenge_names
from router.dns.lookup import DnsLookup
from router.domains.connect_templates import EXAMPLE, Service, template
from router.domains.diagnosis.delegation_snapshot import Delegated
from router.domains.domain_connect import Discovery, DomainConnect, Offer
from router.domains.lookup import Question, RecordType
from router.domains.preview_domains import PreviewDomain
from router.outbound import domain_connect
from router.outbound.domain_connect import ProviderDiscovery
from router.outbound.provider_http import ProviderHttp
from router.routes.records import Scope
from router.tenancy.destinations import Destinations
from tests.support.authority import Authority
from tests.support.connect_provider import ConnectProvider, visit
from tests.support.domains import custom_domain
from tests.support.links import RETURN, Known, link, private_key
from tests.support.nameserver import NameServer

pytestmark = pytest.mark.asyncio

PROVIDER = "domainconnect.dns-provider.example"
ZONE, APP, PREVIEW = "example.com", "app.example.com", "preview.example.com"
HERE = (ipaddress.ip_network("127.0.0.0/8"),)
TEMPLATES = {str(service): template(EXAMPLE, service) for service in EXAMPLE.services}
DELEGATION = "abcdefghijklmnopqrstuvwxyz234567"
WAIT = 10.0
TENANT = "acme"
NO_STORE: Any = None  # links need none


class Stage:
    """A name server, a provider that hosts the zone, and our discovery, whose clock a test moves."""

    def __init__(
        self,
        server: NameServer,
        provider: ConnectProvider,
        discovery: ProviderDiscovery,
        clock: ManualClock,
        authority: Authority,
    ) -> None:
        self.server, self.provider, self.discovery, self.clock = server, provider, discovery, clock
        self.authority = authority

    async def find(self, name: str = APP, *, is_zone: bool = False, again: bool = False) -> Offer | None:
        self.discovery.begin(name, tenant_id=TENANT, is_zone=is_zone, again=again)
        await self.discovery.wait(name, self.clock.monotonic() + WAIT, is_zone=is_zone)
        return self.discovery.known(name, is_zone=is_zone)


@pytest_asyncio.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with opened_stage(tmp_path, monkeypatch) as opened:
        yield opened


@asynccontextmanager
async def opened_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: Any = HERE) -> AsyncIterator[Stage]:
    authority = Authority()
    # The machine's list of CAs is read when aiohttp is imported; this one has the tests' CA alone.
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cadata=authority.pem))
    clock = ManualClock()
    async with NameServer() as server:
        lookup = DnsLookup([server.server], SystemClock())
        async with ConnectProvider(PROVIDER, server, TEMPLATES, authority.server(tmp_path, PROVIDER)) as provider:
            provider.host_zone(ZONE)
            http = ProviderHttp(
                lookup, Destinations(private=private), SystemClock(), purpose="tests", max_body=64 * 1024
            )
            discovery = ProviderDiscovery(
                OnRealTime(lookup), http, clock, provider_id=EXAMPLE.provider_id, services=EXAMPLE.services
            )
            try:
                yield Stage(server, provider, discovery, clock, authority)
            finally:
                await discovery.close()
                await lookup.close()


class OnRealTime:
    """A Lookup whose caller's clock stands still: each question has the time that a search has."""

    def __init__(self, lookup: DnsLookup) -> None:
        self._lookup = lookup

    async def ask(self, questions: Any, until: float, *, fresh: bool = False) -> Any:
        return await self._lookup.ask(questions, SystemClock().monotonic() + domain_connect.SEARCH_TIME, fresh=fresh)


def publish_key(server: NameServer) -> None:
    """As `miosa-router domain-connect public-key` prints it."""
    text = private_key().public_text()
    parts = [f"p=1,a=RS256,d={text[:200]}", f"p=2,a=RS256,d={text[200:]}"]
    server.put(f"_dcpubkeyv1.{EXAMPLE.key_domain}", RecordType.TXT, *parts)


async def follow(stage: Stage, url: str) -> tuple[int, str]:
    """What a browser gets: the status, and where it is sent."""
    return await asyncio.to_thread(visit, url, "127.0.0.1", stage.authority)


# Discovery.


@pytest.mark.parametrize(
    ("name", "is_zone", "services"),
    [
        (APP, False, {Service.HOST}),
        (ZONE, False, {Service.APEX}),
        (PREVIEW, True, {Service.ZONE, Service.WILDCARD}),
        (ZONE, True, {Service.ZONE, Service.WILDCARD}),
    ],
)
async def test_what_a_provider_offers(stage: Stage, name: str, is_zone: bool, services: set[Service]) -> None:
    """Of the templates that fit the domain those that the provider has; nobody waits for it, and it is asked once."""
    stage.discovery.begin(name, tenant_id=TENANT, is_zone=is_zone)
    assert stage.discovery.known(name, is_zone=is_zone) is None
    offer = await stage.find(name, is_zone=is_zone)
    url = f"https://{stage.provider.authority}"
    assert offer == Offer(zone=ZONE, provider="DNS Provider", sync_url=url, services=frozenset(services))
    asked = list(stage.provider.asked)
    assert asked[0] == f"/v2/{ZONE}/settings"
    assert await stage.find(name, is_zone=is_zone, again=True) == offer
    assert stage.provider.asked == asked


async def test_a_zone_of_its_own_below(stage: Stage) -> None:
    """A delegated subdomain is a zone, whose own provider counts: here it has none."""
    stage.server.put(PREVIEW, RecordType.NS, "ns.example.net")
    assert await stage.find(f"a.{PREVIEW}") is None
    assert stage.provider.asked == []


async def test_for_how_long_it_is_remembered(stage: Stage) -> None:
    """An hour where something was found, five minutes where nothing was; asked for again, nothing is asked again at once."""
    del stage.provider.templates[Service.HOST]
    assert await stage.find() is None
    stage.provider.templates = dict(TEMPLATES)
    assert await stage.find() is None
    assert await stage.find(again=True) is not None
    asked = len(stage.provider.asked)
    stage.clock.advance(domain_connect.FOUND_FOR - 1)
    assert await stage.find() is not None
    assert len(stage.provider.asked) == asked
    stage.clock.advance(2)
    stage.provider.zones.clear()
    assert await stage.find() is None
    stage.provider.zones.add(ZONE)
    stage.clock.advance(domain_connect.NOTHING_FOR + 1)
    assert await stage.find() is not None


async def test_many_at_once(stage: Stage) -> None:
    """A list of many domains begins few searches; the others begin with the next time that they are shown."""
    stage.provider.delay = 0.05
    names = [f"app{number}.example.com" for number in range(domain_connect.MAX_SEARCHES + 4)]
    for number, name in enumerate(names):
        stage.discovery.begin(name, tenant_id=f"tenant {number % 5}", is_zone=False)
    for name in names:
        await stage.discovery.wait(name, stage.clock.monotonic() + WAIT, is_zone=False)
    found = [stage.discovery.known(name, is_zone=False) is not None for name in names]
    assert found == [True] * domain_connect.MAX_SEARCHES + [False] * 4
    assert await stage.find(names[-1]) is not None


async def test_many_of_one_tenant(stage: Stage) -> None:
    """A tenant has a quarter of the searches at most, so slow providers of its own leave the others room; afterwards it has all of
    its share again."""
    stage.provider.delay = 0.05
    share = domain_connect.MAX_SEARCHES // 4
    for _ in range(2):
        names = [f"app{number}.example.com" for number in range(share + 1)]
        for name in names:
            stage.discovery.begin(name, tenant_id="greedy", is_zone=False)
        stage.discovery.begin(PREVIEW, tenant_id=TENANT, is_zone=True)
        for name in names:
            await stage.discovery.wait(name, stage.clock.monotonic() + WAIT, is_zone=False)
        await stage.discovery.wait(PREVIEW, stage.clock.monotonic() + WAIT, is_zone=True)
        found = [stage.discovery.known(name, is_zone=False) is not None for name in names]
        assert found == [True] * share + [False]
        assert stage.discovery.known(PREVIEW, is_zone=True) is not None
        stage.clock.advance(domain_connect.FOUND_FOR + 1)


# Hostile providers: nothing comes of any of them.


def says(**settings: Any) -> Callable[[Stage], None]:
    return lambda stage: stage.provider.settings.update(settings)


def answers(status: bytes, body: bytes, path: str = f"/v2/{ZONE}/settings") -> Callable[[Stage], None]:
    return lambda stage: stage.provider.answers.update({path: (status, body)})


def names(*records: str) -> Callable[[Stage], None]:
    return lambda stage: stage.server.put(f"_domainconnect.{ZONE}", RecordType.TXT, *records)


def redirects(location: bytes) -> Callable[[Stage], None]:
    return lambda stage: setattr(stage.provider, "location", location)


def failing(stage: Stage) -> None:
    stage.server.fail(f"_domainconnect.{ZONE}", "servfail")


PADDING = b'{"providerName": "' + b"x" * (200 * 1024) + b'"}'


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(names(), id="no record"),
        pytest.param(failing, id="name servers that fail"),
        pytest.param(names("http://domainconnect.dns-provider.example"), id="no location"),
        pytest.param(names("127.0.0.1:1"), id="a port of this machine where nobody listens"),
        pytest.param(answers(b"404 Not Found", b"{}"), id="not its zone"),
        pytest.param(answers(b"500 Internal Server Error", b"{}"), id="trouble"),
        pytest.param(answers(b"200 OK", b"<html>"), id="no JSON"),
        pytest.param(answers(b"200 OK", b"[" * 60_000), id="deep JSON"),
        pytest.param(answers(b"200 OK", PADDING), id="more than it may send"),
        pytest.param(redirects(b"http://127.0.0.1:8082/metrics"), id="a redirect to this machine"),
        pytest.param(redirects(b"https://domainconnect.dns-provider.example/v2/x/settings"), id="a redirect to itself"),
        pytest.param(says(urlSyncUX="http://domainconnect.dns-provider.example"), id="a link by http"),
        pytest.param(says(urlSyncUX=None), id="no link"),
        pytest.param(says(urlAPI="http://domainconnect.dns-provider.example"), id="an API by http"),
        pytest.param(says(urlAPI="https://127.0.0.1:1"), id="an API on this machine where nobody listens"),
        pytest.param(says(crit=["vnd.x"], **{"vnd.x": True}), id="what must be understood"),
    ],
)
async def test_a_hostile_provider(stage: Stage, hostile: Callable[[Stage], None]) -> None:
    """No offer, nothing raised, and no redirect is followed."""
    hostile(stage)
    assert await stage.find() is None
    assert len([path for path in stage.provider.asked if path.endswith("/settings")]) <= 2


async def test_a_slow_provider(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole search has one time; whoever waits for it may stop earlier."""
    stage.provider.delay = 30.0
    stage.discovery.begin(APP, tenant_id=TENANT, is_zone=False)
    await asyncio.wait_for(stage.discovery.wait(APP, stage.clock.monotonic() + 0.05, is_zone=False), 5)
    assert stage.discovery.known(APP, is_zone=False) is None
    await stage.discovery.close()


async def test_a_search_ends_with_its_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long each step takes: there is nothing then."""
    monkeypatch.setattr(domain_connect, "SEARCH_TIME", 0.2)
    stage.provider.delay = 30.0
    assert await stage.find() is None


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.7", "::1", "fd00::7"])
async def test_an_address_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """A provider whose name leads into our network is not asked, whatever it calls itself."""
    async with opened_stage(tmp_path, monkeypatch, private=()) as stage:
        stage.server.put(PROVIDER, RecordType.A)
        stage.server.put(PROVIDER, RecordType.AAAA if ":" in address else RecordType.A, address)
        assert await stage.find() is None
        stage.server.put(f"_domainconnect.{ZONE}", RecordType.TXT, f"{address}:{stage.provider.port}")
        assert await stage.find(again=True) is None
        assert stage.provider.asked == []


# Links, at the provider that takes them.


def preview_domain(domain: str = PREVIEW) -> PreviewDomain:
    check = custom_domain().check
    now = ManualClock().now()
    return PreviewDomain(
        id="70000000-0000-4000-8000-000000000000",
        scope=Scope.TENANT,
        scope_id="acme",
        tenant_id="acme",
        domain=domain,
        token="0b" * 16,
        check=check,
        created_at=now,
        updated_at=now,
    )


TOKEN = "0a" * 16  # of the custom domain
ZONE_TOKEN = "0b" * 16
WILDCARDS = {
    (f"*.{PREVIEW}", "CNAME"): [f"{ZONE_TOKEN}.proxy.miosa.ai"],
    (f"*.sandbox.{PREVIEW}", "CNAME"): [f"{ZONE_TOKEN}.proxy.miosa.ai"],
    (f"_miosa-challenge.{PREVIEW}", "TXT"): [ZONE_TOKEN],
}
DELEGATED = {
    (f"_acme-challenge.{PREVIEW}", "CNAME"): [f"{DELEGATION}.acme.miosa.ai"],
    (f"_acme-challenge.sandbox.{PREVIEW}", "CNAME"): [f"{DELEGATION}.acme.miosa.ai"],
}


class Delegating:
    """A Delegations of one tenant's zone."""

    async def delegated(self, domain: str, tenant_id: str) -> Delegated | None:
        if (domain, tenant_id) != (PREVIEW, "acme"):
            return None
        return Delegated(names=challenge_names(domain), target=f"{DELEGATION}.acme.miosa.ai", acme_zone="acme.miosa.ai")

    async def check_soon(self, domain: str, tenant_id: str) -> None:
        raise AssertionError("nobody comes back here")


async def link_of(connect: DomainConnect, name: str, *, is_zone: bool) -> str | None:
    return await connect.of_preview(preview_domain(name)) if is_zone else connect.of_custom(custom_domain(name))


def connected(discovery: Discovery, clock: ManualClock, delegations: Delegating | None = None) -> DomainConnect:
    return DomainConnect(NO_STORE, clock, link=link(), discovery=discovery, delegations=delegations)


@pytest.mark.parametrize(
    ("name", "is_zone", "delegations", "records"),
    [
        (
            APP,
            False,
            None,
            {(APP, "CNAME"): [f"{TOKEN}.verify.miosa.ai"], (f"_miosa-challenge.{APP}", "TXT"): [TOKEN]},
        ),
        (
            ZONE,
            False,
            None,
            {
                (ZONE, "A"): ["192.0.2.1"],
                (ZONE, "AAAA"): ["2001:db8::1"],
                (f"_miosa-challenge.{ZONE}", "TXT"): [TOKEN],
            },
        ),
        (PREVIEW, True, None, WILDCARDS),
        (PREVIEW, True, Delegating(), WILDCARDS | DELEGATED),
    ],
)
async def test_a_link(
    stage: Stage,
    name: str,
    is_zone: bool,
    delegations: Delegating | None,
    records: dict[tuple[str, str], list[str]],
) -> None:
    """The provider verifies our signature, sets exactly the records of the template, and sends people back to us with the state."""
    connect = connected(stage.discovery, stage.clock, delegations)
    assert await link_of(connect, name, is_zone=is_zone) is None
    await stage.find(name, is_zone=is_zone)
    url = await link_of(connect, name, is_zone=is_zone)
    assert url is not None
    assert url == await link_of(connect, name, is_zone=is_zone)
    status, _ = await follow(stage, url)
    assert (status, stage.provider.refusals) == (400, ["no public key"])
    publish_key(stage.server)
    status, location = await follow(stage, url)
    assert (status, stage.provider.refusals[1:]) == (302, [])
    assert location.startswith(f"{RETURN}?state=")
    lookup = DnsLookup([stage.server.server], SystemClock())
    try:
        questions = [Question(one, RecordType(kind)) for one, kind in records]
        said = await lookup.ask(questions, SystemClock().monotonic() + WAIT)
    finally:
        await lookup.close()
    assert [list(answer.values) for answer in said] == list(records.values())


async def test_a_link_that_was_changed(stage: Stage) -> None:
    """Whoever changes what a link says has no signature for it."""
    connect = connected(stage.discovery, stage.clock, Delegating())
    publish_key(stage.server)
    await stage.find()
    url = connect.of_custom(custom_domain(APP))
    assert url is not None
    for changed in (url.replace(TOKEN, "0c" * 16), url.replace("host=app", "host=www"), url.partition("&sig=")[0]):
        assert (await follow(stage, changed))[0] == 400
    assert stage.provider.refusals == ["wrong signature", "wrong signature", "not signed"]


async def test_a_template_that_the_provider_does_not_have(stage: Stage) -> None:
    """A preview domain gets the link without the certificate where only that template is there; else none."""
    connect = connected(stage.discovery, stage.clock, Delegating())
    del stage.provider.templates[Service.WILDCARD]
    await stage.find(PREVIEW, is_zone=True)
    url = await connect.of_preview(preview_domain())
    assert url is not None
    assert urlsplit(url).path.endswith("/services/previews/apply")
    assert "delegation" not in url
    only = Known(Offer(zone=ZONE, provider="x", sync_url="https://x.example", services=frozenset({Service.WILDCARD})))
    connect = connected(only, stage.clock, Delegating())
    assert await connect.of_preview(preview_domain("other.example.com")) is None
