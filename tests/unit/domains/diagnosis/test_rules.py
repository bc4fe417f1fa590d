"""Every diagnosis, from what DNS answers to the sentence that is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.challenge import Fetched
from router.domains.checks.evidence import check_token
from router.domains.checks.judgement import Check, Seen, judge_custom
from router.domains.checks.pointing import CheckResult, follow
from router.domains.checks.proof import Evidence, Need
from router.domains.diagnosis.findings import Context, Finding
from router.domains.diagnosis.rules import diagnose
from router.domains.diagnosis.snapshot import Target, of_host, of_zone, take_snapshot
from router.domains.lookup import NOT_AUTHORITATIVE, Answer, Lookup, Question, RecordType
from router.routes.records import DomainStatus
from router.settings import Ca
from tests.support.domains import custom_domain
from tests.support.memory_dns import MemoryLookup

APP, TOP = "app.example.com", "example.com"
ZONE = "preview.example.com"
VERIFY, PROXY = "verify.miosa.ai", "proxy.miosa.ai"
TOKEN = "0123456789abcdef0123456789abcdef"
SOA = "ns.example.com hostmaster.example.com 1 3600 600 86400 60"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PENDING = Context(now=NOW, status="pending")
ACTIVE = Context(now=NOW, status="active", routes=True, verified_at=NOW - timedelta(days=3))

HOST = of_host(APP, VERIFY)
APEX = of_host(TOP, VERIFY)
OWNED = of_host(APP, VERIFY, token=TOKEN)
PROOF = "f0" * 16
NEVER = float("inf")  # no deadline
CLAIMED = of_host(APP, VERIFY, token=TOKEN, to_prove=True)
WILD = of_zone(ZONE, PROXY, ("*", "*.sandbox"), (f"5173-box.sandbox.{ZONE}", f"box.{ZONE}"))

OWN = of_host(APP, VERIFY, token=TOKEN, own=f"{TOKEN}.{VERIFY}")
NEEDED = (
    "app.example.com leads to us, but needs a proof that it is yours, because another account has, or had within the last 30 "
    "days, a name of the same domain. Add a TXT record"
)

Records = Mapping[str, Sequence[str]]  # by name: "TYPE value" each
Prepare = Callable[[Any], None]

HEALTHY = ("info all_right", "Everything is right: app.example.com leads to us.")
UNVERIFIED = ("info not_verified", "app.example.com is pending here, and nothing is wrong with its DNS. Verify it now.")


PROXIED: Records = {APP: ["A 104.16.1.1"], f"_miosa-challenge.{APP}": [f"TXT {TOKEN}"]}
PASSED = Fetched(200, PROOF.encode())
THROUGH = (
    "info behind_cdn",
    (
        "app.example.com is proxied by Cloudflare, which hides where it leads. That works as long as Cloudflare sends visitors "
        f"on to {TOKEN}.{VERIFY}."
    ),
)
NOTHING_WRONG = "Nothing is wrong with app.example.com, as far as DNS shows it."


class Data(Protocol):
    """What DNS knows."""

    def put(self, name: str, record_type: RecordType, *values: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Case:
    """`records` are put into DNS beside a zone example.com and our targets. Each of `said` is the severity and code, the
    sentence, and the records to act on."""

    subject: Target
    records: Records
    said: Sequence[Sequence[str]]
    context: Context = PENDING
    prepare: Prepare = lambda _: None
    need: Need | None = None
    fetched: Fetched | None = None
    visit: Fetched | None = None
    unsure: bool = False  # whether there is a proof is not known

    async def check(self, dns: Lookup) -> Check | None:
        """What a check came to, where the case is about one: as the checker sees it, with what `fetched` and `visit` say."""
        if self.need is None and self.fetched is None and not self.unsure:
            return None
        (pointing,) = await follow(dns, [self.subject.name], (VERIFY, PROXY), NEVER)
        evidence = Evidence(own=False, names=(self.subject.name,)) if pointing.result is CheckResult.VALID else None
        ownership = None if evidence is not None else await check_token(dns, self.subject.name, TOKEN, NEVER)
        seen = Seen(
            pointing=pointing,
            caa=CaaFinding(CaaVerdict.ALLOWED),
            ownership=ownership,
            fetched=self.fetched,
            visit=self.visit,
            evidence=None if self.unsure else evidence,
        )
        status = DomainStatus(self.context.status or "pending")
        domain = custom_domain(self.subject.name, token=TOKEN, proof=PROOF, status=status)
        check = judge_custom(domain, seen)
        return check if self.need is None else check.unproven(self.need)


def failing_both(reason: str, *errors: str) -> Prepare:
    """The zone, and all in it."""

    def prepare(dns: Any) -> None:
        for name in (TOP, APP):
            dns.fail(name, reason, *errors)

    return prepare


def nothing(dns: Any) -> None:
    """The zone does not exist."""
    for name in (TOP, f"ns.{TOP}"):
        dns.remove(name)


def failing(reason: str, *errors: str, name: str = TOP) -> Prepare:
    return lambda dns: dns.fail(name, reason, *errors)


def differing(record_type: str, *views: Sequence[str]) -> Prepare:
    return lambda dns: dns.differ(APP, RecordType(record_type), *views)


def silent(what: str, *, name: str = TOP) -> Sequence[str]:
    return (
        "error name_servers_silent",
        (
            f"The name servers of {name} could not be asked: {what}. Nothing changes because of that; try again in a few "
            "minutes, and ask the DNS provider where it lasts."
        ),
    )


CASES: Mapping[str, Case] = {
    # Everything is right.
    "right, and verified": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "info all_right",
                "Everything is right: app.example.com leads to us. It was verified at 2026-11-22T12:00:00Z.",
            )
        ],
        ACTIVE,
    ),
    "right, and not verified yet": Case(HOST, {APP: [f"CNAME {PROXY}"]}, [UNVERIFIED, HEALTHY]),
    "right, and nobody's": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [("info not_registered", "app.example.com is not registered here."), HEALTHY],
        Context(now=NOW),
    ),
    "a top that is flattened": Case(
        APEX,
        {TOP: ["A 192.0.2.1", "AAAA 2001:db8::1"]},
        [
            ("info not_verified", "example.com is pending here, and nothing is wrong with its DNS. Verify it now."),
            ("info all_right", "Everything is right: example.com leads to us."),
        ],
    ),
    "wildcards that are right": Case(
        WILD,
        {f"*.{ZONE}": [f"CNAME {PROXY}"], f"*.sandbox.{ZONE}": [f"CNAME {PROXY}"]},
        [
            (
                "info all_right",
                (
                    "Everything is right: *.preview.example.com and *.sandbox.preview.example.com lead to us. It was "
                    "verified at 2026-11-22T12:00:00Z."
                ),
            )
        ],
        replace(ACTIVE, status="verified"),
    ),
    # The zone.
    "the domain does not exist": Case(
        HOST,
        {},
        [
            (
                "error domain_not_found",
                (
                    "example.com does not exist in DNS: it is not registered, has expired, or has no name servers at its "
                    "registry. Register or renew it, or set its name servers at the registrar."
                ),
                "add CNAME app.example.com app verify.miosa.ai",
            )
        ],
        prepare=nothing,
    ),
    "signatures that are wrong": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "error dnssec_bogus",
                (
                    "example.com is signed with DNSSEC, and its signatures are wrong (7 Signature Expired): most resolvers "
                    "refuse to answer for it. Have the DNS provider sign it anew, or delete its DS record at the registrar."
                ),
            )
        ],
        prepare=failing_both("bogus", "7 Signature Expired"),
    ),
    "signatures that are wrong, nobody says why": Case(
        HOST,
        {},
        [
            (
                "error dnssec_bogus",
                (
                    "app.example.com is signed with DNSSEC, and its signatures are wrong: most resolvers refuse to answer for "
                    "it. Have the DNS provider sign it anew, or delete its DS record at the registrar."
                ),
            )
        ],
        prepare=failing("bogus", name=APP),
    ),
    "servers that are not in charge": Case(
        HOST,
        {},
        [
            (
                "error name_servers_lame",
                (
                    "The name servers that the registry has for example.com are not in charge of it. Make the zone at the DNS "
                    "provider, or set the provider's name servers at the registrar."
                ),
            )
        ],
        prepare=failing_both("lame"),
    ),
    "servers that are silent": Case(HOST, {}, [silent("they did not answer in time")], prepare=failing_both("timeout")),
    "servers that fail": Case(
        HOST, {}, [silent("they failed (SERVFAIL)", name=APP)], prepare=failing("servfail", name=APP)
    ),
    "servers that refuse": Case(HOST, {}, [silent("they refused (REFUSED)")], prepare=failing_both("refused")),
    "servers out of reach": Case(HOST, {}, [silent("they can't be reached")], prepare=failing_both("unreachable")),
    "no servers": Case(HOST, {}, [silent("there are none to ask")], prepare=failing_both("no_servers")),
    "servers that talk nonsense": Case(
        HOST, {}, [silent("what they said is no answer (bad_answer)")], prepare=failing_both("bad_answer")
    ),
    "servers that differ": Case(
        HOST,
        {},
        [
            (
                "warning servers_differ",
                (
                    "The name servers of app.example.com don't agree: ns1.example.net says verify.miosa.ai, ns2.example.net "
                    "says nothing. A change takes a while to reach all of them; where it lasts for hours, ask the DNS "
                    "provider."
                ),
            )
        ],
        prepare=differing("CNAME", [VERIFY], []),
    ),
    # A record.
    "nothing there": Case(
        HOST,
        {},
        [
            (
                "error nothing_there",
                "app.example.com has no address yet. Add a CNAME to verify.miosa.ai.",
                "add CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "nothing there, in a zone below": Case(
        of_host(f"a.b.{APP}", VERIFY),
        {f"b.{APP}": [f"SOA {SOA}"]},
        [
            (
                "error nothing_there",
                "a.b.app.example.com has no address yet. Add a CNAME to verify.miosa.ai.",
                "add CNAME a.b.app.example.com a verify.miosa.ai",
            )
        ],
    ),
    "nothing at the top": Case(
        APEX,
        {},
        [
            (
                "error nothing_there",
                (
                    "example.com has no address yet. It is the top of its zone, where no CNAME can be: add an ALIAS (or "
                    "ANAME) record to verify.miosa.ai, or A and AAAA records with its addresses."
                ),
                "add A example.com @ 192.0.2.1",
                "add AAAA example.com @ 2001:db8::1",
            )
        ],
    ),
    "an alias to somebody else": Case(
        HOST,
        {APP: ["CNAME pages.elsewhere.example"], "pages.elsewhere.example": ["A 198.51.100.9"]},
        [
            (
                "error wrong_target",
                (
                    "app.example.com leads to pages.elsewhere.example, which is not ours. Change its CNAME to "
                    "verify.miosa.ai."
                ),
                "change CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "an alias to nothing": Case(
        HOST,
        {APP: ["CNAME pages.elsewhere.example"]},
        [
            (
                "error wrong_target",
                (
                    "app.example.com leads to pages.elsewhere.example, which does not exist. Change its CNAME to "
                    "verify.miosa.ai."
                ),
                "change CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "an alias without the dot at its end": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}.{TOP}"]},
        [
            (
                "error target_doubled",
                (
                    "app.example.com leads to verify.miosa.ai.example.com: the DNS provider adds example.com to a value "
                    "without a dot at its end. Enter the value as verify.miosa.ai. with the dot."
                ),
                "change CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "addresses of somebody else": Case(
        HOST,
        {APP: ["A 198.51.100.9", "AAAA 2001:db8::9"]},
        [
            (
                "error wrong_address",
                (
                    "app.example.com leads to 198.51.100.9, 2001:db8::9, which is not ours. Put a CNAME to verify.miosa.ai in "
                    "the place of its A and AAAA records."
                ),
                "delete A app.example.com app 198.51.100.9",
                "delete AAAA app.example.com app 2001:db8::9",
                "add CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "a top with addresses of somebody else": Case(
        APEX,
        {TOP: ["A 198.51.100.9"]},
        [
            (
                "error wrong_address",
                (
                    "example.com leads to 198.51.100.9, which is not ours. Put an ALIAS (or ANAME) record to "
                    "verify.miosa.ai, or A and AAAA records with its addresses, in the place of its A records."
                ),
                "delete A example.com @ 198.51.100.9",
                "add A example.com @ 192.0.2.1",
                "add AAAA example.com @ 2001:db8::1",
            )
        ],
    ),
    "servers that differ, all wrong": Case(
        HOST,
        {APP: ["MX 10 mail.example.com"]},
        [
            (
                "error wrong_address",
                (
                    "app.example.com leads to 198.51.100.8, 198.51.100.9, which is not ours. Put a CNAME to verify.miosa.ai "
                    "in the place of its addresses."
                ),
                "add CNAME app.example.com app verify.miosa.ai",
            )
        ],
        prepare=differing("A", ["198.51.100.8"], ["198.51.100.9"]),
    ),
    "a stray AAAA": Case(
        HOST,
        {APP: ["A 192.0.2.1", "AAAA 2001:db8::9"]},
        [
            (
                "error stray_aaaa",
                (
                    "app.example.com leads to us, and also to 2001:db8::9, which is not ours: visitors with IPv6 would go "
                    "there. Delete what is not ours."
                ),
                "delete AAAA app.example.com app 2001:db8::9",
            )
        ],
    ),
    "a stray A": Case(
        HOST,
        {APP: ["A 192.0.2.1", "A 198.51.100.9"]},
        [
            (
                "error stray_address",
                (
                    "app.example.com leads to us, and also to 198.51.100.9, which is not ours: a part of its visitors would "
                    "go there. Delete what is not ours."
                ),
                "delete A app.example.com app 198.51.100.9",
            )
        ],
    ),
    "the name typed in full": Case(
        HOST,
        {f"{APP}.{TOP}": [f"CNAME {VERIFY}"]},
        [
            (
                "error doubled_name",
                (
                    "The record is at app.example.com.example.com: the DNS provider adds example.com to whatever is typed. "
                    "Enter its name as app."
                ),
                "delete CNAME app.example.com.example.com app.example.com verify.miosa.ai",
                "add CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "the name of a top typed in full": Case(
        APEX,
        {f"{TOP}.{TOP}": ["A 192.0.2.1"]},
        [
            (
                "error doubled_name",
                (
                    "The record is at example.com.example.com: the DNS provider adds example.com to whatever is typed. Enter "
                    "its name as @."
                ),
                "delete A example.com.example.com example.com 192.0.2.1",
                "add A example.com @ 192.0.2.1",
                "add AAAA example.com @ 2001:db8::1",
            )
        ],
    ),
    "a wildcard is no name typed in full": Case(
        HOST,
        {f"*.{TOP}": ["CNAME elsewhere.example"], f"x.{APP}": ["A 192.0.2.1"]},
        [
            (
                "error nothing_there",
                "app.example.com has no address yet. Add a CNAME to verify.miosa.ai.",
                "add CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "an alias at the top, to us": Case(
        APEX,
        {TOP: [f"CNAME {VERIFY}"]},
        [
            (
                "warning apex_cname",
                (
                    "example.com is the top of its zone, where a CNAME can't stand beside the SOA and NS records: some "
                    "resolvers lose the zone's mail and name servers. Put an ALIAS (or ANAME) record to verify.miosa.ai, or A "
                    "and AAAA records with its addresses, in its place."
                ),
                "delete CNAME example.com @ verify.miosa.ai",
                "add A example.com @ 192.0.2.1",
                "add AAAA example.com @ 2001:db8::1",
            ),
        ],
    ),
    "an alias at the top, to somebody else": Case(
        APEX,
        {TOP: ["CNAME elsewhere.example"]},
        [
            (
                "error apex_cname",
                (
                    "example.com is the top of its zone, where a CNAME can't stand beside the SOA and NS records: some "
                    "resolvers lose the zone's mail and name servers. Put an ALIAS (or ANAME) record to verify.miosa.ai, or A "
                    "and AAAA records with its addresses, in its place."
                ),
                "delete CNAME example.com @ elsewhere.example",
                "add A example.com @ 192.0.2.1",
                "add AAAA example.com @ 2001:db8::1",
            )
        ],
    ),
    "an alias beside other records": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}", "A 198.51.100.9", "MX 10 mail.example.com"]},
        [
            (
                "warning cname_beside_others",
                (
                    "app.example.com has a CNAME beside other records (A, MX), which DNS forbids: resolvers take the one or "
                    "the others. Delete the others."
                ),
                "delete A app.example.com app 198.51.100.9",
                "delete MX app.example.com app 10 mail.example.com",
            ),
        ],
    ),
    "several aliases": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}", "CNAME elsewhere.example"]},
        [
            (
                "error several_cnames",
                (
                    "app.example.com has 2 CNAME records (elsewhere.example, verify.miosa.ai), where DNS allows one. Keep the "
                    "one to verify.miosa.ai."
                ),
                "delete CNAME app.example.com app elsewhere.example",
            )
        ],
    ),
    "several aliases, none to us": Case(
        HOST,
        {APP: ["CNAME a.elsewhere.example", "CNAME b.elsewhere.example"]},
        [
            (
                "error several_cnames",
                (
                    "app.example.com has 2 CNAME records (a.elsewhere.example, b.elsewhere.example), where DNS allows one. "
                    "Put one to verify.miosa.ai in their place."
                ),
                "delete CNAME app.example.com app a.elsewhere.example",
                "delete CNAME app.example.com app b.elsewhere.example",
                "add CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "aliases in a circle": Case(
        HOST,
        {APP: [f"CNAME b.{TOP}"], f"b.{TOP}": [f"CNAME {APP}"]},
        [
            (
                "error cname_loop",
                (
                    "The CNAME records of app.example.com lead in a circle: app.example.com → b.example.com → "
                    "app.example.com. Change the first to verify.miosa.ai."
                ),
                "change CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "aliases without end": Case(
        HOST,
        {APP: [f"CNAME n0.{TOP}"]} | {f"n{n}.{TOP}": [f"CNAME n{n + 1}.{TOP}"] for n in range(12)},
        [
            (
                "error cname_loop",
                (
                    "The CNAME records of app.example.com are too many: app.example.com → n0.example.com → n1.example.com → "
                    "n2.example.com → n3.example.com → n4.example.com → n5.example.com → n6.example.com → n7.example.com. "
                    "Change the first to verify.miosa.ai."
                ),
                "change CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "behind a proxy": Case(
        HOST,
        {APP: ["A 104.16.1.1", "AAAA 2606:4700::1"]},
        [
            (
                "error behind_cdn",
                (
                    "app.example.com is proxied by Cloudflare, which hides where it leads. Switch the proxy off for this "
                    "record (DNS only), and let it be a CNAME to verify.miosa.ai."
                ),
                "change CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "behind a proxy, told by its name": Case(
        HOST,
        {APP: ["CNAME d111.cloudfront.net"]},
        [
            (
                "error behind_cdn",
                (
                    "app.example.com is proxied by CloudFront, which hides where it leads. Switch the proxy off for this "
                    "record (DNS only), and let it be a CNAME to verify.miosa.ai."
                ),
                "change CNAME app.example.com app verify.miosa.ai",
            )
        ],
    ),
    "behind a proxy, and not proved": Case(
        OWNED,
        {APP: ["A 104.16.1.1"]},
        [
            (
                "error behind_cdn",
                (
                    "app.example.com is proxied by Cloudflare, which hides where it leads. Switch the proxy off for this "
                    "record (DNS only); or let Cloudflare send visitors on to verify.miosa.ai, and add a TXT record at "
                    f"_miosa-challenge.app.example.com that says {TOKEN}."
                ),
                f"add TXT _miosa-challenge.app.example.com _miosa-challenge.app {TOKEN}",
            )
        ],
    ),
    "right, without a proof that nobody needs": Case(OWNED, {APP: [f"CNAME {VERIFY}"]}, [UNVERIFIED, HEALTHY]),
    "behind a proxy, and proved": Case(
        OWNED,
        {APP: ["A 151.101.1.1"], f"_miosa-challenge.{APP}": [f"TXT {TOKEN}"]},
        [
            (
                "info behind_cdn",
                (
                    "app.example.com is proxied by Fastly, which hides where it leads. That works as long as Fastly sends "
                    "visitors on to verify.miosa.ai."
                ),
            ),
            UNVERIFIED,
            ("info all_right", "Nothing is wrong with app.example.com, as far as DNS shows it."),
        ],
    ),
    "behind a proxy, and verified": Case(
        HOST,
        {APP: ["A 104.16.1.1"]},
        [
            (
                "info behind_cdn",
                (
                    "app.example.com is proxied by Cloudflare, which hides where it leads. That works as long as Cloudflare "
                    "sends visitors on to verify.miosa.ai."
                ),
            ),
            (
                "info all_right",
                "Nothing is wrong with app.example.com, as far as DNS shows it. It was verified at 2026-11-22T12:00:00Z.",
            ),
        ],
        ACTIVE,
    ),
    "behind a proxy, in a circle": Case(
        OWN,
        PROXIED,
        [
            (
                "error cdn_circle",
                (
                    "app.example.com is proxied by Cloudflare, and goes in a circle: Cloudflare sends our check on to https, "
                    "where it gets no further (status 526), because we have no certificate for app.example.com before it is "
                    "verified. Switch the proxy off for this record (DNS only) and let it be a CNAME to "
                    f"{TOKEN}.{VERIFY}, verify it, and switch the proxy on again once the domain is active."
                ),
                f"change CNAME app.example.com app {TOKEN}.{VERIFY}",
            )
        ],
        fetched=Fetched(526, https=True),
    ),
    "at the top, behind something unknown, in a circle": Case(
        of_host(TOP, VERIFY, token=TOKEN),
        {TOP: ["A 198.51.100.9"], f"_miosa-challenge.{TOP}": [f"TXT {TOKEN}"]},
        [
            (
                "error cdn_circle",
                (
                    "example.com leads to 198.51.100.9, which is not ours, and goes in a circle: the proxy before it sends our "
                    "check on to https, where it gets no further (it refuses connections), because we have no certificate for "
                    "example.com before it is verified. Switch the proxy off for this record (DNS only) and let it be an ALIAS "
                    "(or ANAME) record to verify.miosa.ai, or A and AAAA records with its addresses, verify it, and switch the "
                    "proxy on again once the domain is active."
                ),
                "add A example.com @ 192.0.2.1",
                "add AAAA example.com @ 2001:db8::1",
            )
        ],
        fetched=Fetched(None, reason="refused", https=True),
    ),
    "behind a proxy that speaks https alone": Case(
        OWN,
        PROXIED,
        [
            (
                "error cdn_can_not_reach_us",
                (
                    "app.example.com is proxied by Cloudflare, and Cloudflare answers our check with status 502: it can't reach "
                    f"us. Let it connect to {TOKEN}.{VERIFY} by plain HTTP, at port 80, until the domain is active: before that "
                    "we have no certificate for app.example.com."
                ),
            )
        ],
        fetched=Fetched(502),
    ),
    "behind a proxy that redirects elsewhere": Case(
        OWN,
        PROXIED,
        [
            (
                "error cdn_redirects",
                (
                    "app.example.com is proxied by Cloudflare, and Cloudflare redirects our check to another host, in place of "
                    "passing it on. Make an exception from its redirects for /.well-known/miosa-challenge/*."
                ),
            )
        ],
        fetched=Fetched(302, reason="redirected_elsewhere"),
    ),
    "behind a proxy that refuses programs": Case(
        OWN,
        PROXIED,
        [
            (
                "error cdn_refuses",
                (
                    "app.example.com is proxied by Cloudflare, and Cloudflare refuses our check (status 403). Let requests for "
                    "/.well-known/miosa-challenge/* through: no access rule, no challenge for bots, no password."
                ),
            )
        ],
        fetched=Fetched(403),
    ),
    "behind a proxy that sends another Host": Case(
        OWN,
        PROXIED,
        [
            (
                "error cdn_other_name",
                (
                    "app.example.com is proxied by Cloudflare, and Cloudflare passes requests on to us under another name. Let "
                    "it send app.example.com as the Host header, and as the name of the TLS handshake (SNI)."
                ),
            )
        ],
        fetched=Fetched(404, problem="host_not_found"),
    ),
    "behind a proxy that is silent": Case(
        OWN,
        PROXIED,
        [
            (
                "error cdn_silent",
                (
                    "app.example.com is proxied by Cloudflare, and our check got no answer from there: it did not answer in "
                    "time. Nothing changes because of that; see that the proxy is up for this name, and try again in a minute."
                ),
            )
        ],
        fetched=Fetched(None, reason="timeout"),
    ),
    "behind a proxy that asks somebody else": Case(
        OWN,
        PROXIED,
        [
            (
                "error not_through_to_us",
                (
                    "app.example.com is proxied by Cloudflare, and our check does not reach us through Cloudflare. Set the "
                    f"server that it passes requests on to (its origin) to {TOKEN}.{VERIFY}."
                ),
            )
        ],
        fetched=Fetched(404),
    ),
    "through a proxy, and all is well": Case(
        OWN, PROXIED, [THROUGH, UNVERIFIED, (HEALTHY[0], NOTHING_WRONG)], fetched=PASSED, visit=Fetched(526, https=True)
    ),
    "through a proxy, in a loop of redirects": Case(
        OWN,
        PROXIED,
        [
            THROUGH,
            (
                "error redirect_loop",
                (
                    "Visitors of app.example.com are redirected in a circle: Cloudflare asks us by plain HTTP for what they ask "
                    "for by https, and we send plain HTTP to https. Let Cloudflare connect to us by https (at Cloudflare: "
                    'SSL/TLS mode "Full (strict)").'
                ),
            ),
        ],
        fetched=PASSED,
        visit=Fetched(308, reason="redirect_loop", https=True),
    ),
    "through a proxy without https": Case(
        OWN,
        PROXIED,
        [
            THROUGH,
            (
                "warning redirect_loop",
                (
                    "Cloudflare passes plain HTTP on to us, which we redirect to https, and there we got no answer for "
                    "app.example.com (it refuses connections). Let Cloudflare serve https and connect to us by https (at "
                    'Cloudflare: SSL/TLS mode "Full (strict)"): by plain HTTP ("Flexible") visitors are redirected in a circle.'
                ),
            ),
        ],
        fetched=PASSED,
        visit=Fetched(None, reason="refused", https=True),
    ),
    "through a proxy that sends another name in its handshake": Case(
        OWN,
        PROXIED,
        [
            THROUGH,
            (
                "error cdn_other_name",
                (
                    "Visitors of app.example.com do not reach us by https (status 525): Cloudflare connects to us under another "
                    "name, for which we have no certificate. Let it send app.example.com as the name of the TLS handshake (SNI) "
                    "and as the Host header."
                ),
            ),
        ],
        replace(ACTIVE, verified_at=None),
        fetched=PASSED,
        visit=Fetched(525, https=True),
    ),
    "through something unknown": Case(
        OWN,
        {APP: ["A 198.51.100.9"], f"_miosa-challenge.{APP}": [f"TXT {TOKEN}"]},
        [
            (
                "info behind_cdn",
                (
                    "app.example.com leads to 198.51.100.9, and through it to us. That works as long as it sends visitors on to "
                    "us."
                ),
            ),
            UNVERIFIED,
            (HEALTHY[0], NOTHING_WRONG),
        ],
        fetched=PASSED,
    ),
    "nobody tells what is beside it": Case(
        OWN,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "error proof_unknown",
                (
                    "app.example.com leads to us, but its name servers do not answer for the names beside it, which would show "
                    "whether it needs a proof that it is yours. Nothing changes because of that. Let it be a CNAME to "
                    f"{TOKEN}.{VERIFY}, which proves it by itself."
                ),
                f"change CNAME app.example.com app {TOKEN}.{VERIFY}",
            )
        ],
        unsure=True,
    ),
    "nobody tells what is beside a top": Case(
        of_host(TOP, VERIFY, token=TOKEN, own=f"{TOKEN}.{VERIFY}"),
        {TOP: ["A 192.0.2.1", "AAAA 2001:db8::1"]},
        [
            (
                "error proof_unknown",
                (
                    "example.com leads to us, but its name servers do not answer for the names beside it, which would show "
                    "whether it needs a proof that it is yours. Nothing changes because of that. Add a TXT record at "
                    f"_miosa-challenge.example.com that says {TOKEN}."
                ),
                f"add TXT _miosa-challenge.example.com _miosa-challenge {TOKEN}",
            )
        ],
        unsure=True,
    ),
    # Preview zones.
    "no wildcard": Case(
        WILD,
        {},
        [
            (
                "error nothing_there",
                "*.preview.example.com has no address yet. Add a CNAME to proxy.miosa.ai.",
                "add CNAME *.preview.example.com *.preview proxy.miosa.ai",
            ),
            (
                "error nothing_there",
                "*.sandbox.preview.example.com has no address yet. Add a CNAME to proxy.miosa.ai.",
                "add CNAME *.sandbox.preview.example.com *.sandbox.preview proxy.miosa.ai",
            ),
        ],
        replace(PENDING, status="pending_dns"),
    ),
    "the inner wildcard is missing": Case(
        WILD,
        {f"*.{ZONE}": [f"CNAME {PROXY}"], f"sandbox.{ZONE}": [f"CNAME {PROXY}"]},
        [
            (
                "error wildcard_missing",
                (
                    "*.preview.example.com leads to us, but *.sandbox.preview.example.com has no record, and neither covers "
                    "what the other is for. Add a CNAME to proxy.miosa.ai."
                ),
                "add CNAME *.sandbox.preview.example.com *.sandbox.preview proxy.miosa.ai",
            )
        ],
        replace(PENDING, status="pending_dns"),
    ),
    "the outer wildcard is missing": Case(
        WILD,
        {f"*.sandbox.{ZONE}": [f"CNAME {PROXY}"]},
        [
            (
                "error wildcard_missing",
                (
                    "*.sandbox.preview.example.com leads to us, but *.preview.example.com has no record, and neither covers "
                    "what the other is for. Add a CNAME to proxy.miosa.ai."
                ),
                "add CNAME *.preview.example.com *.preview proxy.miosa.ai",
            )
        ],
        replace(PENDING, status="pending_dns"),
    ),
    "a wildcard typed in full": Case(
        WILD,
        {f"*.{ZONE}": [f"CNAME {PROXY}"], f"sandbox.{ZONE}": [], f"*.sandbox.{ZONE}.{TOP}": [f"CNAME {PROXY}"]},
        [
            (
                "error doubled_name",
                (
                    "The record is at *.sandbox.preview.example.com.example.com: the DNS provider adds example.com to "
                    "whatever is typed. Enter its name as *.sandbox.preview."
                ),
                "delete CNAME *.sandbox.preview.example.com.example.com *.sandbox.preview.example.com proxy.miosa.ai",
                "add CNAME *.sandbox.preview.example.com *.sandbox.preview proxy.miosa.ai",
            )
        ],
        replace(PENDING, status="pending_dns"),
    ),
    "records that hide a wildcard": Case(
        WILD,
        {
            f"*.{ZONE}": [f"CNAME {PROXY}"],
            f"*.sandbox.{ZONE}": [f"CNAME {PROXY}"],
            f"5173-box.sandbox.{ZONE}": ["A 198.51.100.9"],
            f"_acme-challenge.box.{ZONE}": ["TXT token"],
        },
        [
            (
                "error wildcard_hidden",
                (
                    "5173-box.sandbox.preview.example.com has records of its own (A), which hide "
                    "*.sandbox.preview.example.com from it. Delete them."
                ),
                "delete A 5173-box.sandbox.preview.example.com 5173-box.sandbox.preview 198.51.100.9",
            ),
            (
                "error wildcard_hidden",
                (
                    "Names below box.preview.example.com have records, which hides *.preview.example.com from it. Add a CNAME "
                    "to proxy.miosa.ai for it."
                ),
                "add CNAME box.preview.example.com box.preview proxy.miosa.ai",
            ),
        ],
        replace(ACTIVE, status="verified"),
    ),
    # Certificates.
    "another authority's alone": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"], TOP: [f"SOA {SOA}", 'CAA 0 issue "ca.example"']},
        [
            (
                "error caa_forbids",
                (
                    "The CAA records at example.com do not let letsencrypt.org issue a certificate: add the CAA record 0 issue "
                    '"letsencrypt.org" at example.com.'
                ),
                'add CAA example.com @ 0 issue "letsencrypt.org"',
            )
        ],
    ),
    "a critical record that nobody knows": Case(
        WILD,
        {
            f"*.{ZONE}": [f"CNAME {PROXY}"],
            f"*.sandbox.{ZONE}": [f"CNAME {PROXY}"],
            ZONE: ['CAA 128 tbs "x"'],
        },
        [
            (
                "error caa_forbids",
                (
                    'The CAA record 128 tbs "x" at preview.example.com is critical and no certificate authority knows it: '
                    "delete it."
                ),
                'delete CAA preview.example.com preview 128 tbs "x"',
            )
        ],
        replace(ACTIVE, status="verified"),
    ),
    "an account that is not ours to tell": Case(
        HOST,
        {
            APP: [f"CNAME {VERIFY}"],
            TOP: [f"SOA {SOA}", 'CAA 0 issue "letsencrypt.org; accounturi=https://ca.example/1"'],
        },
        [UNVERIFIED, HEALTHY],
    ),
    "servers that don't know CAA": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "warning caa_unknown",
                (
                    "No name server answered for the CAA records at com (servfail), and certificate authorities issue nothing without an "
                    "answer. Ask the DNS provider to let its servers answer for CAA."
                ),
            )
        ],
        ACTIVE,
        prepare=failing("servfail", name="com"),
    ),
    # What DNS does not know.
    "somebody else's": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "error held_by_another",
                (
                    "app.example.com is held by another account, or was within the last 30 days. Remove it there, or "
                    "register it here to be given the record that proves that it is yours."
                ),
            )
        ],
        Context(now=NOW, held_by_another=True),
    ),
    "somebody else's, to be proved": Case(
        CLAIMED,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "error held_by_another",
                (
                    "app.example.com is held by another account, or was within the last 30 days. Remove it there, or prove "
                    "that it is yours."
                ),
            ),
            (
                "error challenge_missing",
                (
                    "app.example.com needs a proof that it is yours. Add a TXT record at _miosa-challenge.app.example.com "
                    f"that says {TOKEN}."
                ),
                f"add TXT _miosa-challenge.app.example.com _miosa-challenge.app {TOKEN}",
            ),
        ],
        replace(PENDING, held_by_another=True),
    ),
    "a proof that is another's": Case(
        CLAIMED,
        {APP: [f"CNAME {VERIFY}"], f"_miosa-challenge.{APP}": ["TXT other"]},
        [
            (
                "error challenge_wrong",
                (
                    "The TXT record at _miosa-challenge.app.example.com says other, which is not this domain's. Add one that "
                    f"says {TOKEN}."
                ),
                f"add TXT _miosa-challenge.app.example.com _miosa-challenge.app {TOKEN}",
            )
        ],
    ),
    "a proof typed in full": Case(
        CLAIMED,
        {APP: [f"CNAME {VERIFY}"], f"_miosa-challenge.{APP}.{TOP}": [f"TXT {TOKEN}"]},
        [
            (
                "error challenge_doubled",
                (
                    "The TXT record is at _miosa-challenge.app.example.com.example.com: the DNS provider adds example.com to "
                    "whatever is typed. Enter its name as _miosa-challenge.app."
                ),
                f"delete TXT _miosa-challenge.app.example.com.example.com _miosa-challenge.app.example.com {TOKEN}",
                f"add TXT _miosa-challenge.app.example.com _miosa-challenge.app {TOKEN}",
            )
        ],
    ),
    "a proof is needed": Case(
        OWN,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "error domain_used_by_another_account",
                f"{NEEDED} at _miosa-challenge.app.example.com that says {TOKEN}, or let it be a CNAME to {TOKEN}.{VERIFY}.",
                f"add TXT _miosa-challenge.app.example.com _miosa-challenge.app {TOKEN}",
                f"change CNAME app.example.com app {TOKEN}.{VERIFY}",
            )
        ],
        need=Need.DOMAIN,
    ),
    "a proof is needed, by TXT alone": Case(
        OWNED,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "error domain_used_by_another_account",
                f"{NEEDED} at _miosa-challenge.app.example.com that says {TOKEN}.",
                f"add TXT _miosa-challenge.app.example.com _miosa-challenge.app {TOKEN}",
            )
        ],
        need=Need.DOMAIN,
    ),
    "a proof is needed, and a wildcard answers": Case(
        OWN,
        {f"*.{TOP}": [f"CNAME {VERIFY}"]},
        [
            (
                "error wildcard_record",
                (
                    "app.example.com leads to us, but needs a proof that it is yours, because a wildcard record answers for it, which "
                    f"says nothing about this name. Add a CNAME for app.example.com to {TOKEN}.{VERIFY}. A TXT record at "
                    "_miosa-challenge.app.example.com alone would take it down, where only the wildcard answers for it."
                ),
                f"add CNAME app.example.com app {TOKEN}.{VERIFY}",
            )
        ],
        need=Need.WILDCARD,
    ),
    "a TXT record that took the name out of a wildcard": Case(
        OWN,
        {f"*.{TOP}": [f"CNAME {VERIFY}"], f"_miosa-challenge.{APP}": [f"TXT {TOKEN}"]},
        [
            (
                "error wildcard_hidden",
                (
                    "The TXT record at _miosa-challenge.app.example.com makes app.example.com a name of its own, which "
                    "*.example.com no longer covers, so it has no address any more (RFC 4592). Add a CNAME for app.example.com to "
                    f"{TOKEN}.{VERIFY}."
                ),
                f"add CNAME app.example.com app {TOKEN}.{VERIFY}",
            )
        ],
    ),
    "a proof by a wildcard": Case(
        of_host(TOP, VERIFY, token=TOKEN),
        {TOP: ["A 192.0.2.1"], f"*.{TOP}": [f"TXT {TOKEN}"]},
        [
            (
                "error challenge_by_wildcard",
                (
                    "The TXT record at _miosa-challenge.example.com is a wildcard's, as every name beside it has it, and so no "
                    f"proof. Delete that of *.example.com and add one at _miosa-challenge.example.com itself that says {TOKEN}."
                ),
                f"delete TXT *.example.com * {TOKEN}",
                f"add TXT _miosa-challenge.example.com _miosa-challenge {TOKEN}",
            )
        ],
        need=Need.CLAIMED,
    ),
    "a wildcard on its way": Case(
        OWN,
        {APP: ["CNAME shop.service.example.net"], "*.service.example.net": [f"CNAME {VERIFY}"]},
        [
            (
                "error wildcard_record",
                (
                    "app.example.com leads to us, but needs a proof that it is yours, because a wildcard record answers for it, "
                    f"which says nothing about this name. Change its CNAME to {TOKEN}.{VERIFY}."
                ),
                f"change CNAME app.example.com app {TOKEN}.{VERIFY}",
            )
        ],
        need=Need.WILDCARD,
    ),
    "another record that did, two labels down": Case(
        of_host(f"a.b.{TOP}", VERIFY),
        {f"*.{TOP}": [f"CNAME {VERIFY}"], f"x.b.{TOP}": ["A 198.51.100.9"]},
        [
            (
                "error wildcard_hidden",
                (
                    f"A record below it makes a.b.{TOP} a name of its own, which *.{TOP} no longer covers, so it has no address any "
                    f"more (RFC 4592). Add a CNAME for a.b.{TOP} to {VERIFY}."
                ),
                f"add CNAME a.b.{TOP} a.b {VERIFY}",
            )
        ],
    ),
    # HTTPS records.
    "an HTTPS record with stale hints": Case(
        HOST,
        {APP: ["A 192.0.2.1", 'HTTPS 1 . alpn="h2" ipv4hint="198.51.100.9"']},
        [
            (
                "error https_record_elsewhere",
                (
                    'The addresses of app.example.com are ours, but its HTTPS record sends browsers elsewhere (1 . alpn="h2" '
                    'ipv4hint="198.51.100.9"). Delete it.'
                ),
                'delete HTTPS app.example.com app 1 . alpn="h2" ipv4hint="198.51.100.9"',
            )
        ],
    ),
    "an HTTPS record that is an alias": Case(
        APEX,
        {TOP: ["A 192.0.2.1", "HTTPS 0 shops.elsewhere.example."], "shops.elsewhere.example": ["A 198.51.100.9"]},
        [
            (
                "error https_record_elsewhere",
                (
                    "The addresses of example.com are ours, but its HTTPS record sends browsers elsewhere (0 "
                    "shops.elsewhere.example.). Delete it."
                ),
                "delete HTTPS example.com @ 0 shops.elsewhere.example.",
            )
        ],
    ),
    "HTTPS records that are right": Case(
        APEX,
        {
            TOP: [
                "A 192.0.2.1",
                f"HTTPS 0 {VERIFY}.",
                f"HTTPS 0 www.{TOP}.",
                "HTTPS 0 silent.example.net.",
                'HTTPS 1 . alpn="h3" ipv4hint="192.0.2.1" ipv6hint="2001:db8:0::1"',
            ],
            f"www.{TOP}": ["A 192.0.2.1"],
        },
        [
            ("info not_verified", "example.com is pending here, and nothing is wrong with its DNS. Verify it now."),
            ("info all_right", "Everything is right: example.com leads to us."),
        ],
        prepare=failing("servfail", name="silent.example.net"),
    ),
    "suspended": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [("error suspended", "app.example.com is suspended, whatever its DNS says. Contact support.")],
        replace(ACTIVE, suspended=True),
    ),
    "out of certificates": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "warning certificate_rate_limited",
                (
                    "As many certificates as are allowed have been asked for, so app.example.com has to wait for its own. The "
                    "next try is at 2026-11-25T13:00:00Z. There is nothing to do."
                ),
            )
        ],
        replace(ACTIVE, limited=True, retry_at=NOW + timedelta(hours=1), certificate_error="429"),
    ),
    "a certificate that failed": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [
            (
                "error certificate_failed",
                (
                    "app.example.com could not get a certificate: the challenge timed out. The next try is at "
                    "2026-11-25T13:00:00Z."
                ),
            )
        ],
        replace(ACTIVE, retry_at=NOW + timedelta(hours=1), certificate_error="the challenge timed out"),
    ),
    "a limit that is over": Case(
        HOST,
        {APP: [f"CNAME {VERIFY}"]},
        [("error certificate_failed", "app.example.com could not get a certificate: too many.")],
        replace(ACTIVE, limited=True, certificate_error="too many"),
    ),
}


def fill(dns: Data) -> None:
    """A zone with nothing in it, and our targets."""
    dns.put(TOP, RecordType.SOA, SOA)
    dns.put(TOP, RecordType.NS, "ns.example.com")
    for target in (VERIFY, PROXY):
        dns.put(target, RecordType.A, "192.0.2.1")
        dns.put(target, RecordType.AAAA, "2001:db8::1")


def put(dns: Data, records: Records) -> None:
    for name, lines in records.items():
        by_type: dict[RecordType, list[str]] = {RecordType.TXT: []}
        for line in lines:
            kind, value = line.split(" ", 1)
            by_type.setdefault(RecordType(kind), []).append(value)
        for record_type, values in by_type.items():
            dns.put(name, record_type, *values)


def shown(finding: Finding) -> tuple[str, ...]:
    records = (f"{one.action} {one.type} {one.name} {one.host} {one.value}" for one in finding.records)
    return (f"{finding.severity} {finding.code}", finding.message, *records)


class Unsure(MemoryLookup):
    """Servers that have the records and do not say that they are in charge."""

    async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
        answers = await super().ask(questions, until, fresh=fresh)
        return [replace(answer, remark=NOT_AUTHORITATIVE) for answer in answers]


@pytest.mark.asyncio
async def test_servers_that_do_not_say_that_they_are_in_charge() -> None:
    """A warning beside a domain that works."""
    dns = Unsure()
    fill(dns)
    put(dns, {APP: [f"CNAME {VERIFY}"]})
    seen = await take_snapshot(dns, HOST, (VERIFY, PROXY), Ca(), NEVER)
    assert [shown(finding) for finding in diagnose(seen, PENDING)] == [
        (
            "warning not_authoritative",
            (
                "The name servers of app.example.com answer, but none says that it is in charge of the name (the AA bit is missing), "
                "and some resolvers do not believe such answers. Ask the DNS provider to mend that."
            ),
        )
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_is_said(case: Case) -> None:
    """The severity and code, the sentence, and each record with what to do with it."""
    dns = MemoryLookup()
    fill(dns)
    put(dns, case.records)
    case.prepare(dns)
    check = await case.check(dns)
    seen = await take_snapshot(dns, case.subject, (VERIFY, PROXY), Ca(), NEVER, check=check)
    findings = diagnose(seen, replace(case.context, check=check))
    assert [shown(finding) for finding in findings] == [tuple(said) for said in case.said]
