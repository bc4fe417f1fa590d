"""What a check of a delegation makes of DNS: each state of both names, by a table of records."""

import pytest

from router.certificates.delegation import DelegationState, challenge_names
from router.certificates.delegation_check import check_delegation
from router.domains.lookup import RecordType
from router.settings import Ca
from tests.support.memory_dns import MemoryLookup

pytestmark = pytest.mark.asyncio

ZONE = "preview.acme.com"
TARGET = f"{'a' * 32}.acme.miosa.ai"
OTHER = f"{'b' * 32}.acme.miosa.ai"
FIRST, SECOND = challenge_names(ZONE)
CA = Ca(methods=("dns-01",))
S = DelegationState


@pytest.fixture
def dns() -> MemoryLookup:
    """The zone leads here, and both names are delegated."""
    lookup = MemoryLookup()
    for wildcard in ("*", "*.sandbox"):
        lookup.put(f"{wildcard}.{ZONE}", RecordType.CNAME, "proxy.miosa.ai")
    for name in (FIRST, SECOND):
        lookup.put(name, RecordType.CNAME, TARGET)
    return lookup


async def state_of(dns: MemoryLookup) -> tuple[DelegationState, str | None, str | None]:
    found = await check_delegation(dns, ZONE, TARGET, CA, 10.0)
    return found.state, found.names[0].reason, found.names[1].reason


async def test_present(dns: MemoryLookup) -> None:
    """Both lead to the token, the second by a way of its owner's; what is noted is JSON."""
    dns.put(SECOND, RecordType.CNAME, "acme.internal.acme.com")
    dns.put("acme.internal.acme.com", RecordType.CNAME, TARGET)
    found = await check_delegation(dns, ZONE, TARGET, CA, 10.0)
    assert found.state is S.PRESENT
    assert found.noted() == {
        "names": {
            FIRST: {"state": "present", "observed": [TARGET], "reason": None},
            SECOND: {"state": "present", "observed": ["acme.internal.acme.com", TARGET], "reason": None},
        },
        "caa": {"verdict": "allowed", "at": None, "advice": None, "reason": None},
    }
    assert RecordType.TXT not in {question.type for question in dns.asked}


async def test_missing(dns: MemoryLookup) -> None:
    """One name is enough for that. The zone's own wildcard answers for it, and is no delegation that leads elsewhere."""
    dns.remove(SECOND)
    assert await state_of(dns) == (S.MISSING, None, "wildcard")
    for wildcard in ("*", "*.sandbox"):
        dns.remove(f"{wildcard}.{ZONE}")
    assert await state_of(dns) == (S.MISSING, None, None)


@pytest.mark.parametrize("target", [OTHER, "validation.other-ca.example"])
async def test_elsewhere(dns: MemoryLookup, target: str) -> None:
    """To another tenant's token, also one that was this zone's before; or to somebody else's."""
    dns.put(FIRST, RecordType.CNAME, target)
    assert await state_of(dns) == (S.ELSEWHERE, None, None)
    dns.put(FIRST, RecordType.CNAME, FIRST)
    assert (await state_of(dns))[0] is S.ELSEWHERE


async def test_shadowed(dns: MemoryLookup) -> None:
    """TXT records of another client stand in the place of the CNAME, or the name is a zone of its own."""
    dns.put(FIRST, RecordType.CNAME)
    dns.put(FIRST, RecordType.TXT, "someone-elses")
    assert await state_of(dns) == (S.SHADOWED, "other_records", None)
    dns.put(FIRST, RecordType.NS, "ns1.example.net")
    assert await state_of(dns) == (S.SHADOWED, "own_zone", None)


async def test_unreachable(dns: MemoryLookup) -> None:
    """Nobody answers, or the servers differ: nothing is known, which is told apart from nothing there."""
    dns.fail(SECOND, "timeout")
    assert await state_of(dns) == (S.UNREACHABLE, None, "timeout")
    dns.fail(SECOND, None)
    dns.differ(SECOND, RecordType.CNAME, [TARGET], [])
    assert await state_of(dns) == (S.UNREACHABLE, None, "servers_differ")
    dns.put(FIRST, RecordType.CNAME, "elsewhere.example")
    assert (await state_of(dns))[0] is S.ELSEWHERE


@pytest.mark.parametrize(
    ("name", "records", "state"),
    [
        ("acme.com", ['0 issue "letsencrypt.org"'], S.PRESENT),
        ("acme.com", ['0 issue "letsencrypt.org"', '0 issuewild ";"'], S.FORBIDDEN),
        ("acme.com", ['0 issue ";"', '0 issuewild "letsencrypt.org"'], S.PRESENT),
        ("acme.com", ['0 issue "other.example"'], S.FORBIDDEN),
        ("acme.com", ['0 issue "letsencrypt.org; validationmethods=http-01"'], S.FORBIDDEN),
        ("acme.com", ['0 issue "letsencrypt.org; validationmethods=dns-01"'], S.PRESENT),
        ("acme.com", ['0 issue "letsencrypt.org; accounturi=https://ca.example/acct/2"'], S.UNREACHABLE),
    ],
)
async def test_caa(dns: MemoryLookup, name: str, records: list[str], state: DelegationState) -> None:
    """What lets our authority issue for names need not let it issue wildcards."""
    dns.put(name, RecordType.CAA, *records)
    assert (await state_of(dns))[0] is state


async def test_caa_that_is_not_known(dns: MemoryLookup) -> None:
    """An authority does not issue then."""
    dns.fail("acme.com", "servfail")
    assert (await state_of(dns))[0] is S.UNREACHABLE
