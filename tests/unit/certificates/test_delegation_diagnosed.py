"""The check that decides over orders and the diagnosis that its owner reads see the same of each delegation."""

from typing import Any

import pytest

from router.certificates.delegation import DelegationState, challenge_names
from router.certificates.delegation_check import check_delegation
from router.settings import Ca
from tests.support.memory_dns import MemoryLookup
from tests.unit.domains.diagnosis.test_delegation_rules import CASES, DELEGATED, OWN, found
from tests.unit.domains.diagnosis.test_rules import NEVER, ZONE

STATES = {
    "delegation_shadowed": DelegationState.SHADOWED,
    "delegation_of_another": DelegationState.ELSEWHERE,
    "delegation_elsewhere": DelegationState.ELSEWHERE,
    "delegation_target_doubled": DelegationState.ELSEWHERE,
    "delegation_missing": DelegationState.MISSING,
    "delegation_partial": DelegationState.MISSING,
    "delegation_doubled": DelegationState.MISSING,
    "delegation_servers_silent": DelegationState.UNREACHABLE,
    "delegation_servers_differ": DelegationState.UNREACHABLE,
    "caa_forbids": DelegationState.FORBIDDEN,
    "caa_forbids_wildcard": DelegationState.FORBIDDEN,
    "all_right": DelegationState.PRESENT,
}
# Of two CNAME records at one name resolvers take any: the check takes the first, and the owner is told to delete one.
UNDECIDED = {"two aliases, one of them ours", "two aliases of others"}


def test_the_names_are_the_same() -> None:
    """Both look where the zone's certificate is validated."""
    assert DELEGATED.names == challenge_names(ZONE)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [name for name in CASES if name not in UNDECIDED])
async def test_both_see_the_same(name: str) -> None:
    """The state that is stored is that of the first finding."""
    case = CASES[name]
    dns: Any = MemoryLookup()
    first = (await found(case, dns, dns, NEVER))[0][0].partition(" ")[2]
    state = (await check_delegation(dns, ZONE, OWN, Ca(methods=("dns-01",)), NEVER)).state
    assert state is STATES[first]
