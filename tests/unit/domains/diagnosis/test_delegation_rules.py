"""Every diagnosis of a zone's delegation, from what DNS answers to the sentence that is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from router.base.clock import iso
from router.domains.diagnosis.delegation_snapshot import Delegated
from router.domains.diagnosis.findings import Context
from router.domains.diagnosis.rules import diagnose
from router.domains.diagnosis.snapshot import of_zone, take_snapshot
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.domains.names import WILDCARDS
from router.settings import Ca
from tests.support.checks import leads_here
from tests.support.memory_dns import MemoryLookup
from tests.unit.domains.diagnosis.test_rules import NEVER, NOW, PROXY, TOP, VERIFY, ZONE, fill, put, shown

OUTER, INNER = f"_acme-challenge.{ZONE}", f"_acme-challenge.sandbox.{ZONE}"
ACME = "acme.miosa.ai"
OWN, OTHER = f"{'a' * 32}.{ACME}", f"{'b' * 32}.{ACME}"
DELEGATED = Delegated(names=(OUTER, INNER), target=OWN, acme_zone=ACME)
VERIFIED = Context(now=NOW, status="verified", routes=True)
HEALTHY = ("info all_right", f"Everything is right: *.{ZONE} and *.sandbox.{ZONE} lead to us.")
BOTH = {OUTER: [f"CNAME {OWN}"], INNER: [f"CNAME {OWN}"]}
WHY = "so no authority can validate a certificate for the whole zone"
ADD_OUTER = f"add CNAME {OUTER} _acme-challenge.preview {OWN}"
ADD_INNER = f"add CNAME {INNER} _acme-challenge.sandbox.preview {OWN}"
CHANGE_OUTER = f"change CNAME {OUTER} _acme-challenge.preview {OWN}"
PER_HOST = f"Until then each host of {ZONE} gets a certificate of its own."

Records = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Case:
    """`records` are put into DNS beside a zone whose wildcards lead to us. Each of `said` is the severity and code, the sentence, and
    the records to act on."""

    records: Records
    said: Sequence[Sequence[str]]
    prepare: Callable[[Any], None] = lambda _: None


def partial(name: str, add: str, *, other: str, wildcard: bool = True) -> Sequence[str]:
    by = " but what a wildcard gives it" if wildcard else ""
    return (
        "warning delegation_partial",
        f"{other} is delegated, but {name} has no record{by}, and the zone's certificate needs both. Add a CNAME to {OWN}.",
        add,
    )


def plain_wildcards(dns: Any) -> None:
    """Wildcards by addresses, and with a TXT record: what they give to the challenge names is not the names' own."""
    for wildcard in WILDCARDS:
        dns.put(f"{wildcard}.{ZONE}", RecordType.CNAME)
        dns.put(f"{wildcard}.{ZONE}", RecordType.A, "192.0.2.1")
        dns.put(f"{wildcard}.{ZONE}", RecordType.TXT, "v=spf1 -all")


ADVICE = (
    "info delegation_missing",
    (
        f"Each host of {ZONE} gets a certificate of its own, when it is first visited. With CNAMEs for {OUTER} and {INNER} to {OWN}, "
        "all of them have one certificate, before anybody visits."
    ),
    ADD_OUTER,
    ADD_INNER,
)

CASES: Mapping[str, Case] = {
    "both are delegated": Case(BOTH, [HEALTHY]),
    "by way of another name": Case(
        {**BOTH, OUTER: ["CNAME acme.example.net"], "acme.example.net": [f"CNAME {OWN}"]}, [HEALTHY]
    ),
    # The wildcards answer for both names: nobody has begun.
    "nobody has begun": Case({}, [ADVICE, HEALTHY]),
    "nobody has begun, and the wildcards have addresses": Case({}, [ADVICE, HEALTHY], plain_wildcards),
    "the inner one is missing": Case({OUTER: [f"CNAME {OWN}"]}, [partial(INNER, ADD_INNER, other=OUTER)]),
    "the outer one is missing": Case({INNER: [f"CNAME {OWN}"]}, [partial(OUTER, ADD_OUTER, other=INNER)]),
    "one is missing, where the name exists without records": Case(
        {OUTER: [f"CNAME {OWN}"], f"below.{INNER}": ["A 192.0.2.7"]},
        [partial(INNER, ADD_INNER, other=OUTER, wildcard=False)],
    ),
    "another tenant's token": Case(
        {**BOTH, OUTER: [f"CNAME {OTHER}"]},
        [
            (
                "warning delegation_of_another",
                (
                    f"{OUTER} leads to {OTHER}, which belongs to another zone or to an earlier owner of this one, and opens nothing. "
                    f"Change its CNAME to {OWN}."
                ),
                CHANGE_OUTER,
            )
        ],
    ),
    "another's validation": Case(
        {**BOTH, OUTER: [f"CNAME {ZONE}.dcv.cdn.example"]},
        [
            (
                "warning delegation_elsewhere",
                (
                    f"{OUTER} leads to {ZONE}.dcv.cdn.example, which is not ours, {WHY}. Change its CNAME to {OWN}; who uses the present "
                    "one to get certificates for this zone can't any more then."
                ),
                CHANGE_OUTER,
            )
        ],
    ),
    "one leads elsewhere, the other is missing": Case(
        {OUTER: ["CNAME dcv.cdn.example"], "dcv.cdn.example": ["CNAME a.example"]},
        [
            (
                "warning delegation_elsewhere",
                (
                    f"{OUTER} leads to dcv.cdn.example → a.example, which is not ours, {WHY}. Change its CNAME to {OWN}; who uses the "
                    "present one to get certificates for this zone can't any more then."
                ),
                CHANGE_OUTER,
            ),
            (
                "warning delegation_partial",
                f"{INNER} has no record but what a wildcard gives it, and the zone's certificate needs both. Add a CNAME to {OWN}.",
                ADD_INNER,
            ),
        ],
    ),
    "a circle": Case(
        {**BOTH, OUTER: ["CNAME a.example"], "a.example": ["CNAME b.example"], "b.example": ["CNAME a.example"]},
        [
            (
                "warning delegation_elsewhere",
                (
                    f"{OUTER} leads to a.example → b.example, which is not ours, {WHY}. Change its CNAME to {OWN}; who uses the present "
                    "one to get certificates for this zone can't any more then."
                ),
                CHANGE_OUTER,
            )
        ],
    ),
    "an old TXT record": Case(
        {**BOTH, OUTER: ["TXT of-an-older-order"]},
        [
            (
                "warning delegation_shadowed",
                f"{OUTER} has records of its own (TXT), beside which no CNAME can be, {WHY}. Delete them, and add a CNAME to {OWN}.",
                f"delete TXT {OUTER} _acme-challenge.preview of-an-older-order",
                ADD_OUTER,
            )
        ],
    ),
    "name servers of its own": Case(
        {**BOTH, INNER: ["NS ns1.acme.example", "NS ns2.acme.example"]},
        [
            (
                "warning delegation_shadowed",
                (
                    f"{INNER} has name servers of its own (ns1.acme.example, ns2.acme.example), which answer in the place of the record "
                    f"that we need, {WHY}. Delete the NS records, and let it be a CNAME to {OWN}."
                ),
                f"delete NS {INNER} _acme-challenge.sandbox.preview ns1.acme.example",
                f"delete NS {INNER} _acme-challenge.sandbox.preview ns2.acme.example",
                ADD_INNER,
            )
        ],
    ),
    "two aliases, one of them ours": Case(
        {**BOTH, OUTER: [f"CNAME {OWN}", "CNAME z.example"]},
        [
            (
                "warning delegation_several",
                (
                    f"{OUTER} has 2 CNAME records ({OWN}, z.example), where DNS allows one: an authority takes any of them. Keep the one "
                    f"to {OWN}."
                ),
                f"delete CNAME {OUTER} _acme-challenge.preview z.example",
            )
        ],
    ),
    "two aliases of others": Case(
        {**BOTH, OUTER: ["CNAME a.example", "CNAME z.example"]},
        [
            (
                "warning delegation_several",
                (
                    f"{OUTER} has 2 CNAME records (a.example, z.example), where DNS allows one: an authority takes any of them. Put the "
                    f"one to {OWN} in their place."
                ),
                f"delete CNAME {OUTER} _acme-challenge.preview a.example",
                f"delete CNAME {OUTER} _acme-challenge.preview z.example",
                ADD_OUTER,
            )
        ],
    ),
    "the value without its dot": Case(
        {**BOTH, OUTER: [f"CNAME {OWN}.{TOP}"]},
        [
            (
                "warning delegation_target_doubled",
                (
                    f"{OUTER} leads to {OWN}.{TOP}: the DNS provider adds {TOP} to a value without a dot at its end. Enter the value as "
                    f"{OWN}. with the dot."
                ),
                CHANGE_OUTER,
            )
        ],
    ),
    "the name typed in full": Case(
        {INNER: [f"CNAME {OWN}"], f"{OUTER}.{TOP}": [f"CNAME {OWN}"]},
        [
            (
                "warning delegation_doubled",
                (
                    f"The record is at {OUTER}.{TOP}: the DNS provider adds {TOP} to whatever is typed. Enter its name as "
                    "_acme-challenge.preview."
                ),
                f"delete CNAME {OUTER}.{TOP} _acme-challenge.preview.example.com {OWN}",
                ADD_OUTER,
            )
        ],
    ),
    **{
        f"servers that say nothing of the name: {reason}": Case(
            BOTH,
            [
                (
                    "warning delegation_servers_silent",
                    (
                        f"The name servers of the zone answer for its other names, but {what} for {INNER}, {WHY}. Look for NS records at "
                        "that name or the one above it that lead to servers which do not know it, and ask the DNS provider where there "
                        "are none."
                    ),
                )
            ],
            lambda dns, reason=reason: dns.fail(INNER, reason),
        )
        for reason, what in (
            ("servfail", "fail (SERVFAIL)"),
            ("refused", "refuse to answer (REFUSED)"),
            ("lame", "are not in charge of that name"),
            ("timeout", "do not answer"),
            ("bad_answer", "give no usable answer (bad_answer)"),
        )
    },
    "servers that differ: a change is on its way": Case(
        BOTH,
        [
            (
                "warning delegation_servers_differ",
                (
                    f"The name servers of {INNER} don't agree about it. A change takes a while to reach all of them; where it lasts for "
                    "hours, ask the DNS provider."
                ),
            )
        ],
        lambda dns: dns.differ(INNER, RecordType.CNAME, [OWN], []),
    ),
    "servers of a name between that differ": Case(
        {**BOTH, OUTER: ["CNAME acme.example.net"]},
        [
            (
                "warning delegation_servers_differ",
                (
                    "The name servers of acme.example.net don't agree about it. A change takes a while to reach all of them; where it "
                    "lasts for hours, ask the DNS provider."
                ),
            )
        ],
        lambda dns: dns.differ("acme.example.net", RecordType.CNAME, [OWN], ["other.example"]),
    ),
    "a name between whose servers fail": Case(
        {**BOTH, OUTER: ["CNAME acme.example.net"]},
        [
            (
                "warning delegation_servers_silent",
                (
                    f"{OUTER} leads to acme.example.net, whose name servers fail (SERVFAIL), {WHY}. Change its CNAME to {OWN}, which "
                    "needs no other name between."
                ),
                CHANGE_OUTER,
            )
        ],
        lambda dns: dns.fail("acme.example.net"),
    ),
    # CAA, which counts once there is a delegation.
    "no wildcards": Case(
        {**BOTH, TOP: ['CAA 0 issue "letsencrypt.org"', 'CAA 0 issuewild ";"']},
        [
            (
                "warning caa_forbids_wildcard",
                (
                    "The CAA records at example.com do not let letsencrypt.org issue a certificate for a wildcard: add the CAA record 0 "
                    f'issuewild "letsencrypt.org" at example.com. {PER_HOST}'
                ),
                'add CAA example.com @ 0 issuewild "letsencrypt.org"',
            )
        ],
    ),
    "wildcards of another authority's, at the inner zone": Case(
        {**BOTH, f"sandbox.{ZONE}": ['CAA 0 issuewild "ca.example"']},
        [
            (
                "warning caa_forbids_wildcard",
                (
                    f"The CAA records at sandbox.{ZONE} do not let letsencrypt.org issue a certificate for a wildcard: add the CAA record "
                    f'0 issuewild "letsencrypt.org" at sandbox.{ZONE}. {PER_HOST}'
                ),
                f'add CAA sandbox.{ZONE} sandbox.preview 0 issuewild "letsencrypt.org"',
            )
        ],
    ),
    "issue holds for wildcards too, and allows none of the ways that we have for them": Case(
        {**BOTH, TOP: ['CAA 0 issue "letsencrypt.org; validationmethods=http-01"']},
        [
            (
                "warning caa_forbids_wildcard",
                (
                    "The CAA records at example.com do not let letsencrypt.org issue a certificate for a wildcard: add the CAA record 0 "
                    f'issue "letsencrypt.org" at example.com. {PER_HOST}'
                ),
                'add CAA example.com @ 0 issue "letsencrypt.org"',
            )
        ],
    ),
    "issue holds for wildcards too, and lets us": Case({**BOTH, TOP: ['CAA 0 issue "letsencrypt.org"']}, [HEALTHY]),
    "what forbids every certificate is said once": Case(
        {**BOTH, TOP: ['CAA 0 issue "ca.example"']},
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
    "CAA says nothing to who has not begun": Case({TOP: ['CAA 0 issuewild ";"']}, [ADVICE, HEALTHY]),
}


async def found(
    case: Case, dns: Any, lookup: Lookup, until: float, delegated: Delegated = DELEGATED
) -> list[tuple[str, ...]]:
    """What a diagnosis says, where `dns` has what the case is about and `lookup` asks it."""
    fill(dns)
    for wildcard in WILDCARDS:
        dns.put(f"{wildcard}.{ZONE}", RecordType.CNAME, PROXY)
    put(dns, case.records)
    case.prepare(dns)
    subject = of_zone(ZONE, PROXY, WILDCARDS, delegated=delegated)
    snapshot = await take_snapshot(lookup, subject, (VERIFY, PROXY), Ca(), until)
    return [shown(finding) for finding in diagnose(snapshot, VERIFIED)]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", CASES)
async def test_a_delegation(name: str) -> None:
    """What is wrong, and the record to change."""
    case, dns = CASES[name], MemoryLookup()
    assert await found(case, dns, dns, NEVER) == [tuple(said) for said in case.said]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            {**BOTH, TOP: ['CAA 0 issue "letsencrypt.org"', 'CAA 0 issuewild ";"']},
            (
                "warning caa_forbids_wildcard",
                (
                    "The CAA records at example.com do not let letsencrypt.org issue a certificate for a wildcard: add the CAA record 0 "
                    f'issuewild "letsencrypt.org" at example.com. All hosts of {ZONE} have one certificate until {iso(NOW)}, which can\'t be '
                    "renewed without that record; from then on each gets one of its own."
                ),
                'add CAA example.com @ 0 issuewild "letsencrypt.org"',
            ),
        ),
        (
            {**BOTH, TOP: ['CAA 0 issue ";"']},
            (
                "error caa_forbids",
                (
                    'The CAA records at example.com do not let letsencrypt.org issue a certificate: add the CAA record 0 issue "letsencrypt.org"'
                    f" at example.com. All hosts of {ZONE} have one certificate until {iso(NOW)}, which can't be renewed before that is done."
                ),
                'add CAA example.com @ 0 issue "letsencrypt.org"',
            ),
        ),
        (
            {},
            (
                "warning delegation_missing",
                (
                    f"All hosts of {ZONE} have one certificate until {iso(NOW)}, which can't be renewed any more. Put the CNAMEs for {OUTER} "
                    f"and {INNER} to {OWN} back; without them each host gets a certificate of its own from then on."
                ),
                ADD_OUTER,
                ADD_INNER,
            ),
        ),
    ],
)
async def test_a_zone_that_has_its_certificate(records: Records, said: Sequence[str]) -> None:
    """Its hosts have that until it ends: when, and which record lets it be renewed."""
    dns: Any = MemoryLookup()
    assert await found(Case(records, []), dns, dns, NEVER, replace(DELEGATED, held_until=NOW)) == [said]


@pytest.mark.asyncio
async def test_a_zone_whose_servers_are_all_silent() -> None:
    """That is said of the zone: nothing is known of the delegation, and nothing is said of it."""

    class Silent(MemoryLookup):
        def _answer(self, question: Question) -> Answer:
            return Answer(Outcome.UNKNOWN, reason="timeout")

    subject = of_zone(ZONE, PROXY, WILDCARDS, delegated=DELEGATED)
    snapshot = await take_snapshot(Silent(), subject, (VERIFY, PROXY), Ca(), NEVER)
    for context in (VERIFIED, replace(VERIFIED, check=leads_here(ZONE))):  # a check had seen it in good health
        codes = [finding.code for finding in diagnose(snapshot, context)]
        assert not [code for code in codes if "delegation" in code or "wildcard" in code], codes


@pytest.mark.asyncio
async def test_nothing_to_delegate() -> None:
    """Where there is no zone of ours for it, nobody is told of it, and nothing is asked."""
    dns = MemoryLookup()
    fill(dns)
    for wildcard in WILDCARDS:
        dns.put(f"{wildcard}.{ZONE}", RecordType.CNAME, PROXY)
    snapshot = await take_snapshot(dns, of_zone(ZONE, PROXY, WILDCARDS), (VERIFY, PROXY), Ca(), NEVER)
    assert [shown(finding) for finding in diagnose(snapshot, VERIFIED)] == [HEALTHY]
    assert not [question for question in dns.asked if "acme" in question.name]
