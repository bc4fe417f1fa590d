"""Diagnoses from what a real name server answers: the cases of the unit tests, over the wire."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.dns import DnsLookup
from router.domains.diagnosis.rules import diagnose
from router.domains.diagnosis.snapshot import take_snapshot
from router.settings import Ca
from tests.support.nameserver import NameServer
from tests.unit.domains.diagnosis.test_delegation_rules import CASES as DELEGATIONS
from tests.unit.domains.diagnosis.test_delegation_rules import found
from tests.unit.domains.diagnosis.test_rules import CASES, PROXY, VERIFY, fill, put, shown

pytestmark = pytest.mark.asyncio

# Those that are about what one server says in good health, or about how it fails.
OVER_THE_WIRE = (
    "right, and verified",
    "a top that is flattened",
    "wildcards that are right",
    "the domain does not exist",
    "servers that fail",
    "signatures that are wrong",
    "nothing there",
    "nothing there, in a zone below",
    "an alias to somebody else",
    "an alias to nothing",
    "an alias without the dot at its end",
    "addresses of somebody else",
    "a stray AAAA",
    "the name typed in full",
    "an alias at the top, to us",
    "an alias beside other records",
    "aliases in a circle",
    "behind a proxy, and proved",
    "no wildcard",
    "the inner wildcard is missing",
    "a wildcard typed in full",
    "records that hide a wildcard",
    "a proof is needed, and a wildcard answers",
    "a TXT record that took the name out of a wildcard",
    "another record that did, two labels down",
    "an HTTPS record with stale hints",
    "an HTTPS record that is an alias",
    "another authority's alone",
    "a critical record that nobody knows",
    "a proof that is another's",
    "a proof typed in full",
)


DELEGATIONS_OVER_THE_WIRE = (
    "both are delegated",
    "by way of another name",
    "nobody has begun",
    "nobody has begun, and the wildcards have addresses",
    "the inner one is missing",
    "another tenant's token",
    "another's validation",
    "an old TXT record",
    "name servers of its own",
    "the name typed in full",
    "servers that say nothing of the name: servfail",
    "servers that say nothing of the name: refused",
    "no wildcards",
)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[NameServer]:
    async with NameServer() as started:
        started.recursive = True
        yield started


@pytest.mark.parametrize("name", OVER_THE_WIRE)
async def test_over_the_wire(server: NameServer, name: str) -> None:
    """The same sentences."""
    case = CASES[name]
    fill(server)
    put(server, case.records)
    case.prepare(server)
    clock = SystemClock()
    lookup = DnsLookup([server.server], clock)
    try:
        check = await case.check(lookup)
        seen = await take_snapshot(lookup, case.subject, (VERIFY, PROXY), Ca(), clock.monotonic() + 10, check=check)
    finally:
        await lookup.close()
    assert [shown(finding) for finding in diagnose(seen, replace(case.context, check=check))] == [
        tuple(said) for said in case.said
    ]


@pytest.mark.parametrize("name", DELEGATIONS_OVER_THE_WIRE)
async def test_delegations_over_the_wire(server: NameServer, name: str) -> None:
    """The same sentences of what a zone's owner delegates."""
    case, clock = DELEGATIONS[name], SystemClock()
    lookup = DnsLookup([server.server], clock)
    try:
        assert await found(case, server, lookup, clock.monotonic() + 10) == [tuple(said) for said in case.said]
    finally:
        await lookup.close()
