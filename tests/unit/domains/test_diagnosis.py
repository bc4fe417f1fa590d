"""Every diagnosis, from what DNS answers to the sentence that is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from router.domains.diagnosis import diagnose
from router.domains.lookup import RecordType
from router.domains.memory import MemoryLookup
from router.domains.remarks import Facts, Remark
from router.domains.survey import Subject, of_host, of_zone, survey
from router.settings import Ca

APP, TOP = "app.example.com", "example.com"
ZONE = "preview.example.com"
VERIFY, PROXY = "verify.miosa.ai", "proxy.miosa.ai"
TOKEN = "0123456789abcdef0123456789abcdef"
SOA = "ns.example.com hostmaster.example.com 1 3600 600 86400 60"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PENDING = Facts(now=NOW, status="pending")
ACTIVE = Facts(now=NOW, status="active", routes=True, verified_at=NOW - timedelta(days=3))

HOST = of_host(APP, VERIFY)
APEX = of_host(TOP, VERIFY)
OWNED = of_host(APP, VERIFY, token=TOKEN)
CLAIMED = of_host(APP, VERIFY, token=TOKEN, to_prove=True)
WILD = of_zone(ZONE, PROXY, ("*", "*.sandbox"), (f"5173-box.sandbox.{ZONE}", f"box.{ZONE}"))

Records = Mapping[str, Sequence[str]]  # by name: "TYPE value" each
Prepare = Callable[[Any], None]

HEALTHY = ("info all_right", "Everything is right: app.example.com leads to us.")
UNVERIFIED = ("info not_verified", "app.example.com is pending here, and nothing is wrong with its DNS. Verify it now.")


class Data(Protocol):
    """What DNS knows."""

    def put(self, name: str, record_type: RecordType, *values: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Case:
    """`records` are put into DNS beside a zone example.com and our targets. Each of `said` is the severity and code, the
    sentence, and the records to act on."""

    subject: Subject
    records: Records
    said: Sequence[Sequence[str]]
    facts: Facts = PENDING
    prepare: Prepare = lambda _: None


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
        [("info not_registered", "Nobody has registered app.example.com here."), HEALTHY],
        Facts(now=NOW),
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
        prepare=failing("bogus", "7 Signature Expired"),
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
        prepare=failing("lame"),
    ),
    "servers that are silent": Case(HOST, {}, [silent("they did not answer in time")], prepare=failing("timeout")),
    "servers that fail": Case(
        HOST, {}, [silent("they failed (SERVFAIL)", name=APP)], prepare=failing("servfail", name=APP)
    ),
    "servers that refuse": Case(HOST, {}, [silent("they refused (REFUSED)")], prepare=failing("refused")),
    "servers out of reach": Case(HOST, {}, [silent("they can't be reached")], prepare=failing("unreachable")),
    "no servers": Case(HOST, {}, [silent("there are none to ask")], prepare=failing("no_servers")),
    "servers that talk nonsense": Case(
        HOST, {}, [silent("what they said is no answer (bad_answer)")], prepare=failing("bad_answer")
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
                    "The CAA records at com could not be told (servfail), and no certificate authority issues where it can't. "
                    "Ask the DNS provider to let its servers answer for CAA."
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
        Facts(now=NOW, held_by_another=True),
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


def shown(remark: Remark) -> tuple[str, ...]:
    records = (f"{one.action} {one.type} {one.name} {one.host} {one.value}" for one in remark.records)
    return (f"{remark.severity} {remark.code}", remark.message, *records)


@pytest.mark.asyncio
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_is_said(case: Case) -> None:
    """The severity and code, the sentence, and each record with what to do with it."""
    dns = MemoryLookup()
    fill(dns)
    put(dns, case.records)
    case.prepare(dns)
    seen = await survey(dns, case.subject, (VERIFY, PROXY), Ca(), 10.0)
    assert [shown(remark) for remark in diagnose(seen, case.facts)] == [tuple(said) for said in case.said]
