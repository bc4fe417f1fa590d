"""Whether CAA records let our authority issue."""

import pytest

from router.domains.checks.caa import ACCOUNT, DIFFERING, CaaFinding, CaaVerdict, check_caa, judge
from router.domains.lookup import RecordType
from router.settings import Ca
from tests.support.memory_dns import MemoryLookup

CAA, CNAME = RecordType.CAA, RecordType.CNAME
APP, ZONE = "app.example.com", "example.com"
ACCOUNT_URI = "https://ca.test/acct/7"
OURS = Ca()
WITH_ACCOUNT = Ca(account_uri=ACCOUNT_URI)

ALLOWED, FORBIDDEN, UNKNOWN = CaaVerdict.ALLOWED, CaaVerdict.FORBIDDEN, CaaVerdict.UNKNOWN


@pytest.mark.parametrize(
    ("records", "plain", "wildcard"),
    [
        (['0 issue "letsencrypt.org"'], ALLOWED, ALLOWED),
        (['0 issue "LetsEncrypt.org"'], ALLOWED, ALLOWED),
        (['0 issue " letsencrypt.org ; "'], ALLOWED, ALLOWED),
        (['128 issue "letsencrypt.org"'], ALLOWED, ALLOWED),
        (['0 issue "other.example"'], FORBIDDEN, FORBIDDEN),
        (['0 issue "other.example"', '0 issue "letsencrypt.org"'], ALLOWED, ALLOWED),
        (['0 issue ";"'], FORBIDDEN, FORBIDDEN),
        (['0 issue ""'], FORBIDDEN, FORBIDDEN),
        (['0 issue ";"', '0 issue "letsencrypt.org"'], ALLOWED, ALLOWED),
        # A name is compared whole.
        (['0 issue "letsencrypt.org.example"'], FORBIDDEN, FORBIDDEN),
        (['0 issue "notletsencrypt.org"'], FORBIDDEN, FORBIDDEN),
        # issuewild is for wildcards only, and outweighs issue there.
        (['0 issuewild ";"'], ALLOWED, FORBIDDEN),
        (['0 issue "letsencrypt.org"', '0 issuewild ";"'], ALLOWED, FORBIDDEN),
        (['0 issue ";"', '0 issuewild "letsencrypt.org"'], FORBIDDEN, ALLOWED),
        # What says nothing about issuing.
        (['0 iodef "mailto:security@example.com"'], ALLOWED, ALLOWED),
        (['128 iodef "mailto:security@example.com"'], ALLOWED, ALLOWED),
        (['0 issuemail ";"'], ALLOWED, ALLOWED),
        (['0 contactemail "ca@example.com"'], ALLOWED, ALLOWED),
        # Critical, and nobody knows what it means.
        (['128 future "x"'], FORBIDDEN, FORBIDDEN),
        (['128 future "x"', '0 issue "letsencrypt.org"'], FORBIDDEN, FORBIDDEN),
        (['0 future "x"', '0 issue "letsencrypt.org"'], ALLOWED, ALLOWED),
        (['1 future "x"', '0 issue "letsencrypt.org"'], ALLOWED, ALLOWED),
        # RFC 8657.
        (['0 issue "letsencrypt.org; validationmethods=http-01"'], ALLOWED, ALLOWED),
        (['0 issue "letsencrypt.org;validationmethods=dns-01,tls-alpn-01"'], ALLOWED, ALLOWED),
        (['0 issue "letsencrypt.org; validationmethods=dns-01"'], FORBIDDEN, FORBIDDEN),
        (['0 issue "letsencrypt.org; validationmethods="'], FORBIDDEN, FORBIDDEN),
        (['0 issue "letsencrypt.org; other=1"'], ALLOWED, ALLOWED),
        # Twice the same, or no parameter at all: nothing satisfies it.
        (
            ['0 issue "letsencrypt.org; validationmethods=http-01; validationmethods=http-01"'],
            FORBIDDEN,
            FORBIDDEN,
        ),
        (['0 issue "letsencrypt.org; nonsense"'], FORBIDDEN, FORBIDDEN),
        (['0 issue "letsencrypt.org;; validationmethods=http-01"'], FORBIDDEN, FORBIDDEN),
        (['0 issue "letsencrypt.org x"'], FORBIDDEN, FORBIDDEN),
        # Cut off on its way here, or never right.
        (['0 issue "letsencrypt.org'], FORBIDDEN, FORBIDDEN),
        (['128 future "cut'], FORBIDDEN, FORBIDDEN),
        (["garbage"], ALLOWED, ALLOWED),
    ],
)
def test_a_set_of_records(records: list[str], plain: CaaVerdict, wildcard: CaaVerdict) -> None:
    """What a name, and what a wildcard below it, may have."""
    assert judge(ZONE, records, OURS).verdict is plain
    assert judge(ZONE, records, OURS, wildcard=True).verdict is wildcard


@pytest.mark.parametrize(
    ("parameters", "known", "unknown"),
    [
        (f"accounturi={ACCOUNT_URI}", ALLOWED, UNKNOWN),
        (f"accounturi={ACCOUNT_URI}; validationmethods=http-01", ALLOWED, UNKNOWN),
        (f"accounturi={ACCOUNT_URI}; validationmethods=dns-01", FORBIDDEN, FORBIDDEN),
        ("accounturi=https://ca.test/acct/8", FORBIDDEN, UNKNOWN),
        (f"accounturi={ACCOUNT_URI}; accounturi={ACCOUNT_URI}", FORBIDDEN, FORBIDDEN),
    ],
)
def test_a_record_that_names_an_account(parameters: str, known: CaaVerdict, unknown: CaaVerdict) -> None:
    """Where we were not told which account is ours, nobody can say whether it is meant."""
    records = [f'0 issue "letsencrypt.org; {parameters}"']
    assert judge(ZONE, records, WITH_ACCOUNT).verdict is known
    found = judge(ZONE, records, OURS)
    assert (found.verdict, found.reason) == (unknown, ACCOUNT if unknown is UNKNOWN else None)


def test_any_of_several_authorities_will_do() -> None:
    """Caddy falls over from one to the other; customers are told of the first."""
    both = Ca(identities=("one.example", "two.example"))
    assert judge(ZONE, ['0 issue "two.example"'], both).verdict is ALLOWED
    assert judge(ZONE, ['0 issue "three.example"'], both).add == '0 issue "one.example"'


def test_what_would_allow_it() -> None:
    """The record to add, or the one to delete, and a sentence that says so."""
    assert judge(ZONE, ['0 issue "other.example"'], OURS) == CaaFinding(
        FORBIDDEN,
        ZONE,
        ('0 issue "other.example"',),
        record='0 issue "other.example"',
        add='0 issue "letsencrypt.org"',
        advice=(
            "the CAA records at example.com do not let letsencrypt.org issue a certificate: "
            'add the CAA record 0 issue "letsencrypt.org" at example.com'
        ),
    )
    several = ('0 issue "one.example"', '0 issue "two.example"')
    assert judge(ZONE, several, OURS).record is None
    wild = judge(ZONE, ['0 issue "letsencrypt.org"', '0 issuewild ";"'], OURS, wildcard=True)
    assert (wild.record, wild.add) == ('0 issuewild ";"', '0 issuewild "letsencrypt.org"')
    assert "for a wildcard" in str(wild.advice)
    strange = judge(ZONE, ['128 future "x"'], OURS)
    assert (strange.record, strange.add, strange.delete) == ('128 future "x"', None, '128 future "x"')
    assert "delete it" in str(strange.advice)


async def checked(dns: MemoryLookup, name: str = APP, *, wildcard: bool = False) -> CaaFinding:
    return await check_caa(dns, name, OURS, 10.0, wildcard=wildcard)


@pytest.fixture
def dns() -> MemoryLookup:
    return MemoryLookup()


@pytest.mark.asyncio
async def test_nobody_said_anything(dns: MemoryLookup) -> None:
    """Then everybody may issue, whether the name exists or not."""
    assert await checked(dns) == CaaFinding(ALLOWED)
    dns.put(APP, CNAME, "proxy.miosa.ai")
    assert await checked(dns) == CaaFinding(ALLOWED)
    assert [question.name for question in dns.asked[:3]] == [APP, ZONE, "com"]


@pytest.mark.asyncio
async def test_the_nearest_set_counts(dns: MemoryLookup) -> None:
    """The name's own, else its parent's; sets are not joined."""
    dns.put("com", CAA, '0 issue ";"')
    assert await checked(dns) == judge("com", ['0 issue ";"'], OURS)
    dns.put(ZONE, CAA, '0 issue "other.example"')
    found = await checked(dns)
    assert (found.verdict, found.at) == (FORBIDDEN, ZONE)
    dns.put(APP, CAA, '0 issue "letsencrypt.org"')
    found = await checked(dns)
    assert (found.verdict, found.at) == (ALLOWED, APP)


@pytest.mark.asyncio
async def test_an_alias_brings_its_own_set(dns: MemoryLookup) -> None:
    """RFC 8659 §3: what an alias leads to counts for the name, what is above that does not."""
    dns.put(APP, CNAME, "edge.agency.example")
    dns.put("agency.example", CAA, '0 issue ";"')
    dns.put("edge.agency.example", RecordType.A, "192.0.2.7")
    assert (await checked(dns)).verdict is ALLOWED
    dns.put("edge.agency.example", CAA, '0 issue ";"')
    found = await checked(dns)
    assert (found.verdict, found.at) == (FORBIDDEN, "edge.agency.example")


@pytest.mark.asyncio
async def test_not_knowing_is_neither(dns: MemoryLookup) -> None:
    """An authority that gets no answer does not issue; below a set that was found it does not matter."""
    dns.fail(ZONE, "bogus", "6 DNSSEC Bogus")
    found = await checked(dns)
    assert (found.verdict, found.at, found.reason, found.errors) == (UNKNOWN, ZONE, "bogus", ("6 DNSSEC Bogus",))
    dns.put(APP, CAA, '0 issue "letsencrypt.org"')
    assert (await checked(dns)).verdict is ALLOWED


@pytest.mark.asyncio
async def test_servers_that_differ(dns: MemoryLookup) -> None:
    """Where each of them comes to the same, that holds; else an authority may meet either."""
    dns.differ(ZONE, CAA, ['0 issue "letsencrypt.org"'], ['0 issue ";"'])
    found = await checked(dns)
    assert (found.verdict, found.at, found.reason) == (UNKNOWN, ZONE, DIFFERING)
    dns.differ(ZONE, CAA, ['0 issue "letsencrypt.org"'], [])
    assert (await checked(dns)).verdict is UNKNOWN
    dns.differ(ZONE, CAA, ['0 issue "other.example"'], ['0 issue ";"'])
    assert (await checked(dns)).verdict is FORBIDDEN
    dns.differ(ZONE, CAA, ['0 issue "letsencrypt.org"'], ['0 issue "letsencrypt.org"', '0 issue ";"'])
    assert (await checked(dns)).verdict is ALLOWED


@pytest.mark.asyncio
async def test_a_wildcard(dns: MemoryLookup) -> None:
    """Starts at the name it is under."""
    dns.put(ZONE, CAA, '0 issue "letsencrypt.org"', '0 issuewild ";"')
    assert (await checked(dns, ZONE)).verdict is ALLOWED
    assert (await checked(dns, ZONE, wildcard=True)).verdict is FORBIDDEN
