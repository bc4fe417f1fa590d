"""What is found in the field around DNS: each situation has one true sentence and one thing to do, by verify and diagnose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from router.domains.checks.pointing import CheckResult
from router.domains.checks.proof import NONE, Others
from router.domains.diagnosis.findings import Severity
from router.domains.lookup import RecordType
from tests.unit.domains.diagnosis.test_one_judgement import (
    ANOTHERS,
    CLOUDFLARE,
    OURS,
    OURS_6,
    PROOF,
    SOA,
    STRANGE,
    STRANGE_6,
    TOKEN,
    TOP,
    VERIFY,
    World,
    check_of,
    diagnosis_of,
)

pytestmark = pytest.mark.asyncio

APP = f"app.{TOP}"
IDN = "xn--bcher-kva.example.com"
OWN = f"{TOKEN}.{VERIFY}"
CDN = "app.cdn.cloudflare.net"
TXT = f"TXT {TOKEN}"


@dataclass(frozen=True)
class Situation:
    """`records` by name, "TYPE value" each; `code` is the one thing that is said, None: that all is right. `does` is the first
    record to act on, `blocks` whether it keeps the name from being verified."""

    records: Mapping[str, Sequence[str]]
    code: str | None = None
    does: str | None = None
    blocks: bool = True
    fqdn: str = APP
    failing: Sequence[tuple[str, str]] = ()
    web: Sequence[Any] = (None, "", "timeout", False, None)
    others: Others = field(default=NONE)


def chain(length: int, end: str) -> dict[str, list[str]]:
    names = [APP, *(f"n{number}.example.net" for number in range(length - 1)), end]
    return {name: [f"CNAME {to}"] for name, to in pairwise(names)}


ADD, CHANGE = f"add CNAME {OWN}", f"change CNAME {OWN}"
SITUATIONS: dict[str, Situation] = {
    "a CNAME at the apex, to us": Situation({TOP: [f"CNAME {OWN}"]}, "apex_cname", f"delete CNAME {OWN}", False, TOP),
    "a CNAME at the apex, elsewhere": Situation(
        {TOP: ["CNAME x.example.net"]}, "apex_cname", "delete CNAME x.example.net", fqdn=TOP
    ),
    "a CNAME beside mail, to us": Situation(
        {APP: [f"CNAME {OWN}", "MX 10 mail.example.com"]}, "cname_beside_others", "delete MX 10 mail.example.com", False
    ),
    "a CNAME beside mail, elsewhere": Situation(
        {APP: ["CNAME x.example.net", "MX 10 mail.example.com"]}, "wrong_target", CHANGE
    ),
    "two CNAMEs": Situation(
        {APP: [f"CNAME {OWN}", "CNAME x.example.net"]}, "several_cnames", "delete CNAME x.example.net"
    ),
    "below a DNAME": Situation(
        {f"old.{TOP}": ["DNAME new.example.net"], f"app.old.{TOP}": ["CNAME app.new.example.net"]},
        "below_dname",
        "delete DNAME new.example.net",
        fqdn=f"app.old.{TOP}",
    ),
    "an inside view of the zone": Situation({APP: ["A 10.0.0.5"]}, "wrong_address", "delete A 10.0.0.5"),
    "broken signatures": Situation({}, "dnssec_bogus", failing=[(APP, "bogus"), (TOP, "bogus")]),
    "a zone that its servers don't have": Situation({}, "name_servers_lame", failing=[(APP, "lame"), (TOP, "lame")]),
    "servers that fail": Situation({}, "name_servers_silent", failing=[(APP, "servfail"), (TOP, "servfail")]),
    "servers that fail for the name alone": Situation({}, "name_servers_silent", failing=[(APP, "servfail")]),
    "servers that fail for the top alone": Situation(
        {APP: [f"CNAME {OWN}"]}, failing=[(TOP, "servfail")], code="caa_unknown", blocks=False
    ),
    "servers that refuse": Situation({}, "name_servers_silent", failing=[(APP, "refused"), (TOP, "refused")]),
    "a chain of twenty": Situation(chain(20, OWN), "cname_loop", CHANGE),
    "a chain of seven": Situation(chain(7, OWN)),
    "a chain that ends in nothing": Situation(chain(3, "gone.example.net"), "wrong_target", CHANGE),
    "a circle": Situation(chain(3, APP), "cname_loop", CHANGE),
    "an international name": Situation({IDN: [f"CNAME {OWN}"]}, fqdn=IDN),
    "an international name, elsewhere": Situation({IDN: ["CNAME x.example.net"]}, "wrong_target", CHANGE, fqdn=IDN),
    "a target without the dot at its end": Situation({APP: [f"CNAME {OWN}.{TOP}"]}, "target_doubled", CHANGE),
    "a target with a scheme": Situation({APP: [f"CNAME https://{VERIFY}"]}, "wrong_target", CHANGE),
    "a name typed in full": Situation({f"{APP}.{TOP}": [f"CNAME {OWN}"]}, "doubled_name", f"delete CNAME {OWN}"),
    "a parking page's wildcard": Situation({f"*.{TOP}": [f"A {STRANGE}"]}, "wildcard_elsewhere", ADD),
    "a parking page's wildcard, as a CNAME": Situation(
        {f"*.{TOP}": ["CNAME parked.example.net"]}, "wildcard_elsewhere", ADD
    ),
    "a wildcard behind a CDN": Situation({f"*.{TOP}": [f"A {CLOUDFLARE}"]}, "wildcard_elsewhere", ADD),
    "our wildcard": Situation({f"*.{TOP}": [f"CNAME {VERIFY}"]}, "wildcard_record", ADD),
    "our wildcard, and a TXT record": Situation(
        {f"*.{TOP}": [f"CNAME {VERIFY}"], f"_miosa-challenge.{APP}": [TXT]}, "wildcard_hidden", ADD
    ),
    "a registrar's forwarding": Situation({APP: [f"A {STRANGE}"]}, "wrong_address", f"delete A {STRANGE}"),
    "mail alone": Situation({APP: ["MX 10 mail.example.com"]}, "nothing_there", ADD),
    "a zone of its own, empty": Situation({APP: [f"SOA {SOA}", "NS ns.example.net"]}, "nothing_there", f"add A {OURS}"),
    "one of our addresses": Situation({APP: [f"A {OURS}"]}),
    "our addresses and a stray one": Situation(
        {APP: [f"A {OURS}", f"AAAA {STRANGE_6}"]}, "stray_aaaa", f"delete AAAA {STRANGE_6}"
    ),
    "our addresses and a CDN's": Situation(
        {APP: [f"A {OURS}", f"A {CLOUDFLARE}"]}, "stray_address", f"delete A {CLOUDFLARE}"
    ),
    "an HTTPS record of the last CDN": Situation(
        {APP: [f"A {OURS}", f'HTTPS 1 . alpn="h2" ipv4hint="{CLOUDFLARE}" ipv6hint="{OURS_6}"']},
        "https_record_elsewhere",
        f'delete HTTPS 1 . alpn="h2" ipv4hint="{CLOUDFLARE}" ipv6hint="{OURS_6}"',
    ),
    "an HTTPS record at another port": Situation(
        {APP: [f"A {OURS}", 'HTTPS 1 . port="8443"']}, "https_record_elsewhere", 'delete HTTPS 1 . port="8443"'
    ),
    "an HTTPS record that is ours": Situation({APP: [f"A {OURS}", f'HTTPS 1 . alpn="h2" ipv4hint="{OURS}"']}),
    "another account's target": Situation(
        {APP: [f"CNAME {ANOTHERS}.{VERIFY}"]},
        "leads_to_another_account",
        f"add TXT {TOKEN}",
        others=Others(target=True),
    ),
    "a proof with another token": Situation(
        {APP: [f"CNAME {VERIFY}"], f"_miosa-challenge.{APP}": [f"TXT {ANOTHERS}"]},
        "challenge_wrong",
        f"add TXT {TOKEN}",
        others=Others(claimed=True),
    ),
    "a proof typed in full": Situation(
        {APP: [f"CNAME {VERIFY}"], f"_miosa-challenge.{APP}.{TOP}": [TXT]},
        "challenge_doubled",
        f"delete TXT {TOKEN}",
        others=Others(claimed=True),
    ),
    "a proof at the top in place of the name": Situation(
        {APP: [f"CNAME {VERIFY}"], f"_miosa-challenge.{TOP}": [TXT]},
        "claimed_by_another_account",
        f"add TXT {TOKEN}",
        others=Others(claimed=True),
    ),
    "a CDN, and no proof": Situation(
        {APP: [f"CNAME {CDN}"], CDN: [f"A {CLOUDFLARE}"]}, "behind_cdn", f"add TXT {TOKEN}"
    ),
    "a CDN, and a wildcard's TXT record": Situation(
        {APP: [f"A {CLOUDFLARE}"], f"*.{APP}": [TXT]}, "behind_cdn", f"delete TXT {TOKEN}"
    ),
    "a CDN, and a TXT record beside a wildcard's": Situation(
        {APP: [f"A {CLOUDFLARE}"], f"*.{APP}": [TXT], f"_miosa-challenge.{APP}": [TXT]},
        "behind_cdn",
        f"delete TXT {TOKEN}",
    ),
    "a CDN in a circle": Situation(
        {APP: [f"CNAME {CDN}"], f"_miosa-challenge.{APP}": [TXT]}, "cdn_circle", CHANGE, web=(526, "", None, True, None)
    ),
    "a CDN's CAA records": Situation(
        {APP: [f"CNAME {CDN}"], CDN: [f"A {CLOUDFLARE}", 'CAA 0 issue "ca.example"'], f"_miosa-challenge.{APP}": [TXT]},
        "caa_forbids",
        CHANGE,
        False,
        web=(200, PROOF, None, False, None),
    ),
    "CAA records of one's own": Situation(
        {APP: [f"CNAME {OWN}"], TOP: ['CAA 0 issue "ca.example"']},
        "caa_forbids",
        'add CAA 0 issue "letsencrypt.org"',
        False,
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS.keys())
async def test_one_sentence_and_one_action(situation: Situation) -> None:
    """The first finding is the code, names the domain, and ends with what to do; verify says the same or succeeds."""
    world = World(situation.fqdn, failing=situation.failing, web=situation.web, others=situation.others)
    dns = world.dns
    for name, lines in situation.records.items():
        by_type: dict[RecordType, list[str]] = {}
        for line in lines:
            kind, value = line.split(" ", 1)
            by_type.setdefault(RecordType(kind), []).append(value)
        for record_type, values in by_type.items():
            dns.put(name, record_type, *values)
    check = await check_of(world, dns)
    found = [one for one in await diagnosis_of(world, dns, check) if one.severity is not Severity.INFO]
    assert (check.result is not CheckResult.VALID) == any(one.blocks for one in found)
    if situation.code is None:
        assert found == []
        return
    (finding,) = found
    assert (finding.code, finding.blocks) == (situation.code, situation.blocks)
    assert TOP in finding.message
    assert finding.message.endswith(".")
    first = next(iter(finding.records), None)
    assert (None if first is None else f"{first.action} {first.type} {first.value}") == situation.does
