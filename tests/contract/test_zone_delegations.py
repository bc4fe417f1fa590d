"""What the owners of zones may delegate, as the diagnosis and links at DNS providers are told; on a real store."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from router.base.clock import ManualClock
from router.certificates.delegation import DelegationState, challenge_names
from router.certificates.zone_delegations import ZoneDelegations
from router.domains.connect_templates import Service
from router.domains.domain_connect import DomainConnect, Offer
from router.routes.records import Scope
from tests.support.held_certificates import a_held
from tests.support.links import Known, link
from tests.support.world import World

pytestmark = pytest.mark.asyncio

ZONE, ACME = "preview.example.com", "acme.miosa.ai"
OFFER = Offer(zone="example.com", provider="x", sync_url="https://x.example", services=frozenset({Service.WILDCARD}))


async def test_whose_delegation_it_is(world: World, clock: ManualClock) -> None:
    """The zone's own target, told to its own tenant alone, and to nobody once it is let go."""
    delegations = ZoneDelegations(world.store, clock, ACME)
    acme, globex = await world.tenant("Acme"), await world.tenant("Globex")
    await world.zone(Scope.TENANT, acme.id, ZONE, verified=False)
    found = await delegations.delegated(ZONE, acme.id)
    assert found is not None
    assert found.names == challenge_names(ZONE)
    async with world.store.read() as tx:
        stored = await tx.delegations.get(ZONE)
    assert stored is not None
    assert found.target == f"{stored.token}.{ACME}"
    assert found.held_until is None
    held = a_held(ZONE, clock.now(), acme.id)
    async with world.store.begin() as tx:
        await tx.held_certificates.put(held)
    assert await delegations.delegated(ZONE, acme.id) == replace(found, held_until=held.not_after)
    assert await delegations.delegated(ZONE, globex.id) is None
    assert await delegations.delegated("other.example.com", acme.id) is None
    await world.previews.clear(Scope.TENANT, acme.id)
    assert await delegations.delegated(ZONE, acme.id) is None


async def test_who_comes_back_has_the_delegation_checked(world: World, clock: ManualClock) -> None:
    """A zone that is verified already is checked for its new records at once, and one whose records were seen is left alone."""
    delegations = ZoneDelegations(world.store, clock, ACME)
    connect = DomainConnect(world.store, clock, link=link(), discovery=Known(OFFER), delegations=delegations)
    acme = await world.tenant("Acme")
    preview = await world.previews.set(Scope.TENANT, acme.id, ZONE)
    later = clock.now() + timedelta(hours=6)
    url = await connect.of_preview(preview)
    assert url is not None
    query = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
    for state, due in ((DelegationState.PRESENT, later), (DelegationState.MISSING, clock.now())):
        async with world.store.begin() as tx:
            stored = await tx.delegations.get(ZONE)
            assert stored is not None
            assert query["delegation"] == stored.token
            await tx.delegations.save(replace(stored, state=state, next_check_at=later))
        await delegations.check_soon(ZONE, "somebody else")
        assert await connect.returned(query["state"]) == ZONE
        async with world.store.read() as tx:
            stored = await tx.delegations.get(ZONE)
        assert stored is not None
        assert (stored.state, stored.next_check_at) == (state, due)
