"""Verify and diagnose never contradict each other: over worlds of DNS, CDNs and other tenants that nobody thought of."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from router.base.clock import ManualClock
from router.domains.checks.checker import Checker
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult
from router.domains.checks.proof import NONE, Others, needed
from router.domains.checks.refusals import refusal
from router.domains.checks.schedule import begin
from router.domains.diagnosis.findings import Action, Context, Finding, Severity
from router.domains.diagnosis.rules import diagnose
from router.domains.diagnosis.snapshot import of_host, of_zone, take_snapshot
from router.domains.lookup import RecordType
from router.domains.names import WILDCARDS
from router.domains.preview_domains import PreviewDomain
from router.routes.records import Scope
from router.settings import Ca
from tests.support.domains import NOW, custom_domain
from tests.support.memory_dns import MemoryFetch, MemoryLookup

TOP, VERIFY, PROXY, NEVER = "example.com", "verify.miosa.ai", "proxy.miosa.ai", float("inf")
TOKEN, PROOF, ANOTHERS = "0123456789abcdef" * 2, "f0" * 16, "0b" * 16
OURS, OURS_6, STRANGE, STRANGE_6, CLOUDFLARE = "192.0.2.1", "2001:db8::1", "198.51.100.9", "2001:db8::9", "104.16.1.1"
NAMES = (f"app.{TOP}", TOP, f"a.b.{TOP}")
SOA = "ns.example.com hostmaster.example.com 1 3600 600 86400 60"

Records = dict[RecordType, tuple[str, ...]]


@dataclass
class World:
    """`at` are the name's own records, `wildcard` those of the wildcard in its zone, `elsewhere` those of an alias; `txt` is
    what stands at its challenge, `failing` who does not answer, `web` what comes of a request for our challenge."""

    fqdn: str
    at: Records = field(default_factory=dict)
    wildcard: Records = field(default_factory=dict)
    elsewhere: Records = field(default_factory=dict)
    txt: tuple[str, ...] = ()
    differing: Sequence[Sequence[str]] = ()
    failing: Sequence[tuple[str, str]] = ()
    web: Sequence[Any] = (None, "", "timeout", False, None)
    others: Others = NONE

    @property
    def dns(self) -> MemoryLookup:
        lookup = MemoryLookup()
        lookup.put(TOP, RecordType.SOA, SOA)
        for target in (VERIFY, PROXY, f"*.{VERIFY}"):
            lookup.put(target, RecordType.A, OURS)
            lookup.put(target, RecordType.AAAA, OURS_6)
        for name, records in ((self.fqdn, self.at), (f"*.{TOP}", self.wildcard), ("other.example.net", self.elsewhere)):
            for kind, values in records.items():
                lookup.put(name, kind, *values)
        if self.txt:
            lookup.put(f"_miosa-challenge.{self.fqdn}", RecordType.TXT, *self.txt)
        if self.differing:
            lookup.differ(self.fqdn, RecordType.CNAME, *self.differing)
        for name, reason in self.failing:
            lookup.fail(name, reason)
        return lookup

    @property
    def fetch(self) -> MemoryFetch:
        web = MemoryFetch()
        status, body, reason, https, problem = self.web
        web.put(self.fqdn, status, body, reason, https=https, problem=problem)
        return web


targets = st.sampled_from(
    [
        VERIFY,
        PROXY,
        f"{TOKEN}.{VERIFY}",
        f"{ANOTHERS}.{VERIFY}",
        "other.example.net",
        "app.cdn.cloudflare.net",
        f"{VERIFY}.{TOP}",
    ]
)
aliases = st.lists(targets, min_size=1, max_size=2, unique=True).map(lambda some: {RecordType.CNAME: tuple(some)})
bindings = st.sampled_from(
    [
        f"0 {VERIFY}.",
        "0 other.example.net.",
        f'1 . alpn="h2" ipv4hint="{OURS}"',
        f'1 . ipv4hint="{STRANGE}"',
        '1 . port="8443"',
    ]
)
addresses = st.builds(
    lambda four, six, https: {
        kind: tuple(some)
        for kind, some in ((RecordType.A, four), (RecordType.AAAA, six), (RecordType.HTTPS, https))
        if some
    },
    st.lists(st.sampled_from([OURS, STRANGE, CLOUDFLARE]), max_size=2, unique=True),
    st.lists(st.sampled_from([OURS_6, STRANGE_6]), max_size=2, unique=True),
    st.lists(bindings, max_size=1),
)
nodes = st.one_of(st.just({}), aliases, addresses, st.just({RecordType.MX: ("10 mail.example.com",)}))
reasons = st.sampled_from(["servfail", "timeout", "bogus", "lame", "refused"])
txts = st.lists(st.sampled_from([TOKEN, f'"{TOKEN.upper()}" ', ANOTHERS, "v=spf1 -all"]), max_size=2, unique=True).map(
    tuple
)
webs = st.tuples(
    st.sampled_from([200, 301, 403, 404, 421, 502, 526, None]),
    st.sampled_from([PROOF, "", "hello"]),
    st.sampled_from([None, "redirect_loop", "redirected_elsewhere", "too_many_redirects", "refused"]),
    st.booleans(),
    st.sampled_from([None, "host_not_found"]),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    fqdn = draw(st.sampled_from(NAMES))
    who = st.sampled_from([fqdn, TOP, "com", f"_miosa-challenge.{fqdn}", "other.example.net", VERIFY])
    return World(
        fqdn,
        at=draw(nodes),
        wildcard=draw(st.one_of(nodes, st.just({RecordType.TXT: (TOKEN,)}))),
        elsewhere=draw(nodes),
        txt=draw(txts),
        differing=draw(st.one_of(st.just(()), st.lists(st.lists(targets, max_size=1), min_size=2, max_size=2))),
        failing=draw(st.lists(st.tuples(who, reasons), max_size=1)),
        web=draw(webs),
        others=Others(**{name: draw(st.booleans()) for name in ("target", "claimed", "own_zone")})
        if draw(st.booleans())
        else NONE,
    )


async def check_of(world: World, dns: MemoryLookup) -> Check:
    """The check that verify makes, as it counts beside other tenants."""
    domain = custom_domain(world.fqdn, token=TOKEN, proof=PROOF)
    checker = Checker(lookup=dns, fetch=world.fetch, ca=Ca(), targets=(VERIFY, PROXY), clock=ManualClock())
    check = await checker.custom_domain(domain, fresh=True)
    need = needed(check.evidence, world.others) if check.evidence is not None else None
    return check if need is None else check.unproven(need)


async def diagnosis_of(world: World, dns: MemoryLookup, check: Check) -> tuple[Finding, ...]:
    subject = of_host(world.fqdn, VERIFY, token=TOKEN, own=f"{TOKEN}.{VERIFY}")
    seen = await take_snapshot(dns, subject, (VERIFY, PROXY), Ca(), NEVER, check=check)
    return diagnose(seen, Context(now=NOW, status="pending", check=check))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
@example(world=World(NAMES[0], wildcard={RecordType.CNAME: (VERIFY,)}, txt=(TOKEN,)))
@example(world=World(NAMES[0], at={RecordType.A: (OURS,)}, failing=[(TOP, "servfail")]))
@example(world=World(TOP, at={RecordType.A: (OURS,)}, wildcard={RecordType.TXT: (TOKEN,)}, others=Others(claimed=True)))
def test_verify_succeeds_exactly_where_diagnose_has_nothing_that_blocks(world: World) -> None:
    """And where it does not, both have the same sentence and the same records; where it does, diagnose has no other name to
    change for it."""

    async def both() -> None:
        dns = world.dns
        check = await check_of(world, dns)
        findings = await diagnosis_of(world, dns, await check_of(world, dns))
        blocking = [finding for finding in findings if finding.blocks]
        assert (check.result is CheckResult.VALID) == (not blocking)
        codes = {finding.code for finding in findings}
        assert ("not_verified" in codes) <= (check.result is CheckResult.VALID)
        if not blocking:
            return
        assert all(finding.severity is not Severity.INFO and finding.message for finding in blocking)
        explained = await diagnosis_of(world, dns, check)
        refused: Any = refusal(custom_domain(world.fqdn, token=TOKEN, proof=PROOF), check, explained)
        assert refused.fields == {"fqdn": [blocking[0].message]}
        assert [(one["type"], one["value"]) for one in refused.beside["records"]] == [
            (one.type, one.value) for one in blocking[0].records
        ]

    asyncio.run(both())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
@example(
    world=World(
        TOP,
        at={RecordType.A: (CLOUDFLARE,)},
        wildcard={RecordType.TXT: (TOKEN,)},
        web=(200, PROOF, None, False, None),
    )
)
@example(
    world=World(
        NAMES[0],
        at={RecordType.CNAME: ("other.example.net",)},
        elsewhere={RecordType.A: (OURS, CLOUDFLARE)},
        web=(404, "hello", None, False, None),
    )
)
@example(
    world=World(
        NAMES[0],
        at={RecordType.CNAME: ("other.example.net",)},
        elsewhere={RecordType.CNAME: (VERIFY, "app.cdn.cloudflare.net")},
        web=(404, "hello", None, False, None),
    )
)
def test_doing_what_is_said_helps(world: World) -> None:
    """Where the records of the findings that block are added, changed and deleted as they say, the domain verifies in the end;
    unless its servers fail or differ, which no record mends."""
    world.failing, world.differing = (), ()
    world.at, world.elsewhere, world.wildcard = dict(world.at), dict(world.elsewhere), dict(world.wildcard)

    async def mended() -> None:
        for _ in range(6):
            dns = world.dns
            check = await check_of(world, dns)
            if check.result is CheckResult.VALID:
                return
            records = [
                one for finding in await diagnosis_of(world, dns, check) if finding.blocks for one in finding.records
            ]
            if not records:  # something to do at the CDN
                return
            for one in records:
                apply(world, one.action, one.name, RecordType(one.type), one.value)
        raise AssertionError(f"not verified after doing all that was said: {world}")

    asyncio.run(mended())


def apply(world: World, action: Action, name: str, kind: RecordType, value: str) -> None:
    """As the owner does it at the DNS provider, which has no CNAME beside other records."""
    if name == f"_miosa-challenge.{world.fqdn}":
        world.txt = (*world.txt, value)
        return
    records = {world.fqdn: world.at, "other.example.net": world.elsewhere, f"*.{TOP}": world.wildcard}[name]
    if action is Action.DELETE:
        left = tuple(one for one in records.get(kind, ()) if one != value)
        records.pop(kind, None)
        records |= {kind: left} if left else {}
    elif kind is RecordType.CNAME:
        records.clear()
        records[kind] = (value,)
    else:
        records.pop(RecordType.CNAME, None)
        records[kind] = tuple({*records.get(kind, ()), value})


# Preview domains: what stands at their two wildcards and at the one above.

ZONE = f"preview.{TOP}"
zone_nodes = st.one_of(
    st.just({}),
    st.sampled_from([PROXY, VERIFY, f"{TOKEN}.{PROXY}", f"{ANOTHERS}.{PROXY}", "other.example.net"]).map(
        lambda target: {RecordType.CNAME: (target,)}
    ),
    st.sampled_from([OURS, STRANGE, CLOUDFLARE]).map(lambda address: {RecordType.A: (address,)}),
)


@st.composite
def zones(draw: st.DrawFn) -> dict[str, Records]:
    """By name, of those that have any."""
    names = (f"*.{ZONE}", f"*.sandbox.{ZONE}", f"*.{TOP}")
    found = {name: dict(draw(zone_nodes)) for name in names}
    txt = draw(st.sampled_from([(), (TOKEN,), (ANOTHERS,)]))
    found[f"_miosa-challenge.{ZONE}"] = {RecordType.TXT: txt} if txt else {}
    return {name: records for name, records in found.items() if records}


async def zone_of(records: dict[str, Records], others: Others) -> tuple[Check, list[Finding]]:
    dns = World(ZONE).dns
    dns.put(f"*.{PROXY}", RecordType.A, OURS)
    for name, of_name in records.items():
        for kind, values in of_name.items():
            dns.put(name, kind, *values)
    checker = Checker(lookup=dns, fetch=MemoryFetch(), ca=Ca(), targets=(VERIFY, PROXY), clock=ManualClock())
    preview = PreviewDomain(
        id="p",
        scope=Scope.TENANT,
        scope_id="t",
        tenant_id="t",
        domain=ZONE,
        token=TOKEN,
        check=begin(NOW),
        created_at=NOW,
        updated_at=NOW,
    )
    check = await checker.zone(preview, fresh=True)
    need = needed(check.evidence, others) if check.evidence is not None else None
    check = check if need is None else check.unproven(need)
    subject = of_zone(ZONE, PROXY, WILDCARDS, token=TOKEN, own=f"{TOKEN}.{PROXY}")
    seen = await take_snapshot(dns, subject, (VERIFY, PROXY), Ca(), NEVER, check=check)
    found = diagnose(seen, Context(now=NOW, status="pending_dns", check=check))
    return check, [finding for finding in found if finding.blocks]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records=zones(), claimed=st.booleans())
def test_preview_domains_likewise(records: dict[str, Records], claimed: bool) -> None:
    """A check succeeds exactly where diagnose has nothing that blocks, and doing what is said makes it succeed."""

    async def mended() -> None:
        for _ in range(6):
            check, blocking = await zone_of(records, Others(claimed=claimed))
            assert (check.result is CheckResult.VALID) == (not blocking)
            if not blocking:
                return
            for one in (one for finding in blocking for one in finding.records):
                of_name = records.setdefault(one.name, {})
                kind = RecordType(one.type)
                if one.action is Action.DELETE:
                    of_name.pop(kind, None)
                elif kind is RecordType.CNAME:
                    records[one.name] = {kind: (one.value,)}
                else:
                    of_name[kind] = (one.value,)
        raise AssertionError(f"not verified after doing all that was said: {records}")

    asyncio.run(mended())
