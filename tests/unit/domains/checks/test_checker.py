"""What one check asks, and what it comes to: custom domains, preview domains, proofs of claims."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from router.base.clock import ManualClock
from router.domains.checks.caa import CaaFinding, CaaVerdict
from router.domains.checks.challenge import Fetched
from router.domains.checks.checker import CHECK_TIME, Checker
from router.domains.checks.evidence import find_evidence
from router.domains.checks.judgement import Check, as_it_counts, dns_status, in_a_loop, of_fetch
from router.domains.checks.pointing import BINDING, UNCOMPARED, CheckResult, Pointing, follow
from router.domains.checks.proof import Need
from router.domains.checks.schedule import Method, begin
from router.domains.lookup import Answer, Outcome, Question, RecordType
from router.domains.preview_domains import PreviewDomain, PreviewStatus
from router.routes.records import DomainStatus, Scope
from router.settings import Ca
from tests.support.domains import NOW, custom_domain
from tests.support.memory_dns import MemoryFetch, MemoryLookup

APP, ZONE, TOP, VERIFY, PROXY = (
    "app.example.com",
    "preview.example.com",
    "example.com",
    "verify.miosa.ai",
    "proxy.miosa.ai",
)
TOKEN, PROOF, OURS = "0a" * 16, "f0" * 16, "192.0.2.1"
A, CNAME, TXT = RecordType.A, RecordType.CNAME, RecordType.TXT
NEVER = float("inf")


class Checked:
    """A checker over DNS and hosts that a test fills."""

    def __init__(self) -> None:
        self.dns, self.web, self.clock = MemoryLookup(), MemoryFetch(), ManualClock()
        for target in (VERIFY, PROXY):
            self.dns.put(target, A, OURS)
        self.checker = Checker(lookup=self.dns, fetch=self.web, ca=Ca(), targets=(VERIFY, PROXY), clock=self.clock)

    async def custom(self, **fields: Any) -> Check:
        return await self.checker.custom_domain(custom_domain(APP, token=TOKEN, proof=PROOF, **fields), fresh=True)

    async def zone(self, status: PreviewStatus = PreviewStatus.PENDING_DNS) -> Check:
        preview = PreviewDomain(
            id="p",
            scope=Scope.TENANT,
            scope_id="t",
            tenant_id="t",
            domain=ZONE,
            token=TOKEN,
            status=status,
            check=begin(NOW),
            created_at=NOW,
            updated_at=NOW,
        )
        return await self.checker.zone(preview)

    def zone_leads_to(self, target: str) -> None:
        for name in ("*", "*.sandbox"):
            self.dns.put(f"{name}.{ZONE}", CNAME, target)


@pytest.fixture
def checked() -> Checked:
    return Checked()


@pytest.mark.asyncio
async def test_a_custom_domain_by_its_records(checked: Checked) -> None:
    """By the CNAME or the addresses, with evidence; nothing is asked by HTTP."""
    checked.dns.put(APP, CNAME, f"{TOKEN}.{VERIFY}")
    check = await checked.custom()
    assert (check.result, check.method, check.dns_status, check.caa_forbids) == (
        "valid",
        Method.CNAME,
        "verified",
        False,
    )
    assert check.evidence is not None
    assert check.evidence.own
    checked.dns.remove(APP)
    checked.dns.put(APP, A, OURS)
    assert (await checked.custom()).method is Method.ADDRESS
    assert checked.web.asked == []
    assert replace(check, caa=CaaFinding(CaaVerdict.UNKNOWN)).caa_forbids is None


@pytest.mark.asyncio
async def test_a_custom_domain_through_a_cdn(checked: Checked) -> None:
    """The TXT record and the challenge together; what visitors get is tried by https, or else by plain HTTP."""
    checked.dns.put(APP, A, "198.51.100.9")
    assert (await checked.custom()).result is CheckResult.WRONG
    checked.dns.put(f"_miosa-challenge.{APP}", TXT, TOKEN)
    checked.web.put(APP, 200, PROOF)
    checked.web.put(APP, 200, "hello", by_https=True)
    check = await checked.custom()
    assert (check.result, check.method, check.proof_given) == ("valid", Method.PROXIED, True)
    assert check.visit == Fetched(200, b"hello")
    checked.web.put(APP, 308, reason="redirect_loop", by_https=True, https=True)
    assert (await checked.custom()).records[0].reason == "redirect_loop"
    checked.web.put(APP, None, reason="refused", by_https=True, https=True)
    assert (await checked.custom()).visit == Fetched(200, PROOF.encode())


@pytest.mark.asyncio
async def test_a_cdn_in_trouble(checked: Checked) -> None:
    """It keeps up what it has led here before, and verifies nothing."""
    checked.dns.put(APP, A, "198.51.100.9")
    checked.dns.put(f"_miosa-challenge.{APP}", TXT, TOKEN)
    checked.web.put(APP, 502)
    assert (await checked.custom()).result is CheckResult.WRONG
    before = replace(begin(NOW), method=Method.PROXIED)
    check = await checked.custom(check=before, status=DomainStatus.ACTIVE)
    assert (check.result, check.method) == ("unknown", Method.PROXIED)


@pytest.mark.asyncio
async def test_a_domain_that_waits_without_evidence(checked: Checked) -> None:
    """Its servers do not answer for the names beside it: nobody knows whether a wildcard gave the answer."""

    class Quiet(MemoryLookup):
        async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
            answers = await super().ask(questions, until, fresh=fresh)
            unknown = Answer(Outcome.UNKNOWN, reason="servfail")
            pairs = zip(questions, answers, strict=True)
            return [unknown if question.name.startswith("miosa-") else answer for question, answer in pairs]

    dns = Quiet()
    dns.put(APP, CNAME, VERIFY)
    checker = Checker(lookup=dns, fetch=checked.web, ca=Ca(), targets=(VERIFY,), clock=checked.clock)
    check = await checker.custom_domain(custom_domain(APP, token=TOKEN))
    assert (check.result, check.evidence) == (CheckResult.UNKNOWN, None)
    assert check.unproven(None).result is CheckResult.UNKNOWN


@pytest.mark.asyncio
async def test_an_answer_that_needs_a_proof(checked: Checked) -> None:
    """Wrong, in its own word, and noted with the reason."""
    checked.dns.put(APP, CNAME, VERIFY)
    checked.dns.put(TOP, RecordType.CAA, '0 issue "ca.example"')
    check = (await checked.custom()).unproven(Need.CLAIMED)
    assert (check.result, check.dns_status, check.caa_forbids) == (CheckResult.WRONG, "unproven", True)
    noted = check.noted(NOW)
    assert (noted["proof_needed"], noted["records"][1]["reason"]) == (Need.CLAIMED.value, Need.CLAIMED.value)
    assert "letsencrypt.org" in noted["caa"]
    assert (dns_status(None), dns_status(CheckResult.WRONG)) == ("pending", "wrong")
    checked.dns.fail(f"_miosa-challenge.{APP}")
    assert (await checked.custom()).unproven(Need.CLAIMED).result is CheckResult.UNKNOWN


@pytest.mark.asyncio
async def test_the_name_servers_are_noted(checked: Checked) -> None:
    """Those of the zone that the name lies in, for whoever says where records are entered; nothing where DNS does not tell."""
    checked.dns.put(TOP, RecordType.NS, "ns1.example.net")
    for check in (await checked.custom(), await checked.zone()):
        noted = check.noted(NOW)
        assert (noted["zone"], noted["name_servers"]) == (TOP, ["ns1.example.net"])
    checked.dns.fail(TOP)
    assert "name_servers" not in (await checked.custom()).noted(NOW)


@pytest.mark.asyncio
async def test_a_preview_domain(checked: Checked) -> None:
    """Both wildcards; the worst of their names counts. One that is verified needs no evidence."""
    assert (await checked.zone()).result is CheckResult.MISSING
    checked.zone_leads_to(PROXY)
    check = await checked.zone()
    assert (check.result, check.method, len(check.records)) == (CheckResult.VALID, Method.CNAME, 3)
    assert len(check.pointings) == 2
    verified = await checked.zone(PreviewStatus.VERIFIED)
    assert (verified.result, verified.evidence, len(verified.records)) == (CheckResult.VALID, None, 2)
    checked.zone_leads_to(f"{TOKEN}.{PROXY}")
    own = await checked.zone()
    assert own.evidence is not None
    assert own.evidence.own
    for name in ("*", "*.sandbox"):
        checked.dns.remove(f"{name}.{ZONE}")
        checked.dns.put(f"{name}.{ZONE}", A, OURS)
    assert (await checked.zone(PreviewStatus.VERIFIED)).method is Method.ADDRESS


@pytest.mark.asyncio
async def test_a_claim_is_proven(checked: Checked) -> None:
    """By the TXT record, or by CNAMEs to its own target: of a preview domain by both wildcards."""
    assert await checked.checker.proven(APP, TOKEN, zone=False) is CheckResult.MISSING
    checked.dns.put(APP, CNAME, f"{TOKEN}.{VERIFY}")
    assert await checked.checker.proven(APP, TOKEN, zone=False) is CheckResult.VALID
    checked.zone_leads_to(f"{TOKEN}.{PROXY}")
    assert await checked.checker.proven(ZONE, TOKEN, zone=True) is CheckResult.VALID
    checked.dns.put(f"_miosa-challenge.{TOP}", TXT, TOKEN)
    assert await checked.checker.proven(TOP, TOKEN, zone=False) is CheckResult.VALID


@pytest.mark.asyncio
async def test_a_check_has_a_deadline(checked: Checked) -> None:
    """Its own, or its caller's."""
    asked: list[float] = []

    class Watched(MemoryLookup):
        async def ask(self, questions: Sequence[Question], until: float, *, fresh: bool = False) -> Sequence[Answer]:
            asked.append(until)
            return await super().ask(questions, until, fresh=fresh)

    checker = Checker(lookup=Watched(), fetch=checked.web, ca=Ca(), targets=(VERIFY,), clock=checked.clock)
    domain = custom_domain(APP, token=TOKEN)
    await checker.custom_domain(domain)
    assert set(asked) == {checked.clock.monotonic() + CHECK_TIME}
    asked.clear()
    await checker.custom_domain(domain, until=7.0)
    assert set(asked) == {7.0}


@pytest.mark.asyncio
async def test_a_txt_record_that_a_wildcard_gives(checked: Checked) -> None:
    """It proves nothing: every name beside it has the same. One whose servers differ counts where all of them have it."""
    checked.dns.put(APP, CNAME, VERIFY)
    checked.dns.put("*.app.example.com", TXT, TOKEN)
    (pointing,) = await follow(checked.dns, [APP], (VERIFY,), NEVER)
    _, ownership = await find_evidence(checked.dns, [pointing], APP, TOKEN, (VERIFY,), NEVER)
    assert ownership is not None
    assert (ownership.result, ownership.reason) == (CheckResult.WRONG, Need.WILDCARD.value)
    challenge = f"_miosa-challenge.{APP}"
    checked.dns.remove("*.app.example.com")
    for views, result in (([[TOKEN], [TOKEN, "x"]], CheckResult.VALID), ([[TOKEN], []], CheckResult.PROPAGATING)):
        checked.dns.differ(challenge, TXT, *views)
        _, ownership = await find_evidence(checked.dns, [pointing], APP, TOKEN, (VERIFY,), NEVER)
        assert ownership is not None
        assert ownership.result is result


@pytest.mark.asyncio
async def test_an_alias_on_the_way(checked: Checked) -> None:
    """It is looked at beside as well: a wildcard there gave the answer."""
    checked.dns.put(APP, CNAME, "shop.service.example.net")
    checked.dns.put("*.service.example.net", CNAME, VERIFY)
    check = await checked.custom()
    assert check.evidence is not None
    assert (check.evidence.names, check.evidence.wildcard) == ((APP, "shop.service.example.net"), True)


@pytest.mark.asyncio
async def test_a_wildcard_that_gives_addresses_of_ours(checked: Checked) -> None:
    """Each answer may show others of them; a name beside that leads elsewhere shows that there is no wildcard."""
    checked.dns.put(f"*.{TOP}", A, OURS)
    (pointing,) = await follow(checked.dns, [APP], (VERIFY,), NEVER)
    evidence, _ = await find_evidence(checked.dns, [pointing], APP, TOKEN, (VERIFY,), NEVER)
    assert evidence is not None
    assert evidence.wildcard
    checked.dns.put(APP, A, OURS)
    checked.dns.put(f"*.{TOP}", A, "198.51.100.9")
    evidence, _ = await find_evidence(checked.dns, [pointing], APP, TOKEN, (VERIFY,), NEVER)
    assert evidence is not None
    assert not evidence.wildcard


def test_what_is_no_fault_of_a_domain() -> None:
    """Our own addresses are missing; its HTTPS record leads elsewhere while it is served."""
    uncompared = Pointing(APP, CheckResult.WRONG, reason=UNCOMPARED)
    assert as_it_counts(uncompared, Method.ADDRESS, routes=False).result is CheckResult.UNKNOWN
    assert as_it_counts(uncompared, None, routes=False) == uncompared
    binding = Pointing(APP, CheckResult.WRONG, reason=BINDING)
    assert as_it_counts(binding, None, routes=True).result is CheckResult.VALID
    assert as_it_counts(binding, None, routes=False) == binding


@pytest.mark.parametrize(
    ("fetched", "result", "reason"),
    [
        (Fetched(200, f"{PROOF}\n".encode()), CheckResult.VALID, None),
        (Fetched(200, b"other"), CheckResult.WRONG, "not_through_to_us"),
        (Fetched(308, reason="redirect_loop"), CheckResult.WRONG, "redirect_loop"),
        (Fetched(403), CheckResult.UNKNOWN, "status_403"),
        (Fetched(502), CheckResult.UNKNOWN, "status_502"),
        (Fetched(None, reason="timeout"), CheckResult.UNKNOWN, "timeout"),
    ],
)
def test_what_comes_of_a_challenge(fetched: Fetched, result: CheckResult, reason: str | None) -> None:
    """The proof, something else, or nothing that says anything."""
    assert of_fetch(fetched, PROOF) == (result, reason)
    assert of_fetch(replace(fetched, body=b""), "")[0] is not CheckResult.VALID
    assert in_a_loop(replace(fetched, https=True)) is (fetched.reason == "redirect_loop")
    assert not in_a_loop(None)


def test_the_name_at_the_end() -> None:
    """The last alias, whose addresses count; the name itself without any."""
    assert Pointing(APP, CheckResult.VALID, (VERIFY, OURS)).last == VERIFY
    assert Pointing(APP, CheckResult.VALID, (OURS, "2001:db8::1")).last == APP
