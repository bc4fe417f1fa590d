"""The way back from a DNS provider: whose domain is checked, and which states open nothing."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from router.base.clock import ManualClock
from router.base.rs256 import RsaKey
from router.domains.connect_templates import Service
from router.domains.custom import CustomDomain
from router.domains.domain_connect import VALID_DAYS, DomainConnect, Offer
from router.domains.preview_domains import PreviewDomain
from router.routes.records import Kind, Scope
from tests.support.links import Known, link
from tests.support.world import World

pytestmark = pytest.mark.asyncio

ZONE, APP, PREVIEW = "example.com", "app.example.com", "preview.example.com"
OFFER = Offer(
    zone=ZONE,
    provider="x",
    sync_url="https://x.example",
    services=frozenset({Service.HOST, Service.APEX, Service.ZONE}),
)


def state_of(url: str | None) -> str:
    assert url is not None
    return parse_qs(urlsplit(url).query)["state"][0]


async def owned(world: World) -> tuple[CustomDomain, PreviewDomain]:
    tenant = await world.tenant()
    computer = await world.sandbox(tenant, "desk", kind=Kind.COMPUTER)
    custom = await world.domain(computer, APP, verified=False)
    preview = await world.previews.set(Scope.TENANT, tenant.id, PREVIEW)
    return custom, preview


async def test_who_comes_back_has_the_domain_checked(world: World, clock: ManualClock) -> None:
    """Now, and gently again from there, however long it has waited; not at each load of the page."""
    connect = DomainConnect(world.store, clock, link=link(), discovery=Known(OFFER))
    custom, preview = await owned(world)
    states = state_of(connect.of_custom(custom)), state_of(await connect.of_preview(preview))
    late = replace(custom.check, checks=100, next_check_at=clock.now() + timedelta(hours=4))
    async with world.store.begin() as tx:
        await tx.custom_domains.save(replace(custom, check=late))
    clock.advance(86_400)
    assert [await connect.returned(state) for state in states] == [APP, PREVIEW]
    custom = await world.domains.get(custom.id)
    again = await world.previews.get(Scope.TENANT, preview.scope_id)
    assert again is not None
    assert [(one.check.next_check_at, one.check.checks) for one in (custom, again)] == [(clock.now(), 0)] * 2
    clock.advance(5)
    assert await connect.returned(states[0]) == APP
    assert (await world.domains.get(custom.id)).check.next_check_at == clock.now() - timedelta(seconds=5)


async def test_who_comes_back_at_once(world: World, clock: ManualClock) -> None:
    """Right after a check that its owner has asked for: it is checked as soon as one may be asked for again."""
    connect = DomainConnect(world.store, clock, link=link(), discovery=Known(OFFER))
    custom, _ = await owned(world)
    asked_at = clock.now()
    await world.custom_results.request_check(custom.id)
    clock.advance(3)
    assert await connect.returned(state_of(connect.of_custom(custom))) == APP
    assert (await world.domains.get(custom.id)).check.next_check_at == asked_at + timedelta(seconds=10)


async def test_a_domain_that_routes_is_left_alone(world: World, clock: ManualClock) -> None:
    """There is no link for it, and who comes back late changes nothing."""
    connect = DomainConnect(world.store, clock, link=link(), discovery=Known(OFFER))
    custom, _ = await owned(world)
    state = state_of(connect.of_custom(custom))
    routed = await world.verify(custom.id)
    assert connect.of_custom(routed) is None
    assert await connect.returned(state) == APP
    assert (await world.domains.get(custom.id)).check == routed.check


async def test_states_that_open_nothing(world: World, clock: ManualClock) -> None:
    """Made up, changed, of another key, of another day, too old, or of a domain that is gone."""
    connect = DomainConnect(world.store, clock, link=link(), discovery=Known(OFFER))
    custom, preview = await owned(world)
    state = state_of(connect.of_custom(custom))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    strange = RsaKey(other.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    theirs = DomainConnect(world.store, clock, link=replace(link(), key=strange), discovery=Known(OFFER))
    changed = [
        f"{state[:place]}{'A' if state[place] != 'A' else 'B'}{state[place + 1 :]}" for place in range(len(state) - 1)
    ]
    wrong = [*changed, "", "x", "=", "é", state * 2, "A" * len(state), state_of(theirs.of_custom(custom))]
    assert [await connect.returned(one) for one in wrong] == [None] * len(wrong)
    assert await connect.returned(state) == APP
    clock.advance((VALID_DAYS + 1) * 86_400)
    assert await connect.returned(state) is None
    tomorrow = ManualClock()
    tomorrow.advance((VALID_DAYS + 2) * 86_400)
    ahead = DomainConnect(world.store, tomorrow, link=link(), discovery=Known(OFFER))
    assert await connect.returned(state_of(ahead.of_custom(custom))) is None
    state = state_of(connect.of_custom(custom))
    zone_state = state_of(await connect.of_preview(preview))
    await world.domains.remove(custom.id)
    await world.previews.clear(Scope.TENANT, preview.scope_id)
    assert [await connect.returned(one) for one in (state, zone_state)] == [None, None]


async def test_a_state_is_its_tenant_s(world: World, clock: ManualClock) -> None:
    """The same id with another tenant behind it is another domain: what was made for the first is void."""
    connect = DomainConnect(world.store, clock, link=link(), discovery=Known(OFFER))
    custom, _ = await owned(world)
    state = state_of(connect.of_custom(replace(custom, tenant_id="somebody else")))
    assert await connect.returned(state) is None
