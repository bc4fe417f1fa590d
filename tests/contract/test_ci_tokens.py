"""What tokens of CI systems are worth by the rules of a tenant: a real store, and a provider over real HTTP."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from router.access.ci_tokens import CiOutcome, CiVerdict
from router.base.clock import ManualClock
from router.domains.lookup import RecordType
from router.outbound import ci_tokens
from router.outbound.ci_tokens import CiTokens
from router.outbound.identity_providers import LEEWAY, Providers
from router.outbound.provider_http import ProviderHttp
from router.store import Store
from router.tenancy.destinations import Destinations
from router.tenancy.trusted_issuers import TrustedIssuer, TrustedIssuers
from tests.support.identity_provider import OTHER_RSA_KEY, IdentityProvider
from tests.support.memory_dns import MemoryLookup
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.asyncio

START = int(ManualClock().now().timestamp())
# As GitHub Actions has them, with the claims that matter.
JOB: dict[str, Any] = {
    "sub": "repo:acme/shop:ref:refs/heads/main",
    "aud": "https://previews.example.com",
    "exp": START + 300,
    "nbf": START - 300,
    "iat": START,
    "jti": "6f1f9a4e",
    "repository": "acme/shop",
    "repository_owner": "acme",
    "repository_id": "1296269",
    "ref": "refs/heads/main",
    "ref_protected": "true",
    "run_attempt": 1,
}
WRONG, UNAVAILABLE = CiVerdict(CiOutcome.WRONG), CiVerdict(CiOutcome.UNAVAILABLE)
PRIVATE = Destinations(private=(ipaddress.ip_network("127.0.0.0/8"),))


class Scene:
    """A verifier, its rules and a provider."""

    def __init__(self, store: Store, clock: ManualClock, provider: IdentityProvider) -> None:
        lookup = MemoryLookup()
        lookup.put("idp.test", RecordType.A, "127.0.0.1")
        self.provider = provider
        self.providers = Providers(ProviderHttp(lookup, PRIVATE, clock), clock)
        self.issuers = TrustedIssuers(store, clock, destinations=PRIVATE)
        self.tokens = CiTokens(self.issuers, self.providers, clock)

    async def trust(self, tenant_id: str, **changes: Any) -> TrustedIssuer:
        rule = {
            "name": "ci",
            "issuer": self.provider.issuer,
            "audience": JOB["aud"],
            "claims": {"repository": "acme/*"},
        }
        return await self.issuers.create(tenant_id, **{**rule, **changes})

    async def verify(self, tenant_id: str, **changes: Any) -> CiVerdict:
        claims = {name: value for name, value in {**JOB, **changes}.items() if value is not None}
        return await self.tokens.verify(tenant_id, self.provider.token(claims))


@pytest_asyncio.fixture
async def scene(store: Store, clock: ManualClock) -> AsyncIterator[Scene]:
    async with IdentityProvider("idp.test") as provider:
        made = Scene(store, clock, provider)
        yield made
        await made.providers.close()


def accepted(*rules: TrustedIssuer, subject: str = JOB["sub"], until: float = JOB["exp"] + LEEWAY) -> CiVerdict:
    return CiVerdict(CiOutcome.ACCEPTED, tuple((rule.id, rule.generation) for rule in rules), subject, until)


async def test_a_token_meets_rules(world: World, scene: Scene, clock: ManualClock) -> None:
    """All of the tenant's that it meets, by what they are now."""
    tenant = await world.tenant()
    first = await scene.trust(tenant.id)
    clock.advance(1)
    await scene.trust(tenant.id, claims={"repository": "acme/other"})
    second = await scene.trust(tenant.id, claims={"ref": "refs/heads/*", "run_attempt": "1", "repository": "acme/shop"})
    assert await scene.verify(tenant.id) == accepted(first, second)
    second = await scene.issuers.update(tenant.id, second.id, claims={"run_attempt": "1"})
    assert second.generation == 2
    assert await scene.verify(tenant.id) == accepted(first, second)
    await scene.issuers.update(tenant.id, first.id, enabled=False)
    await scene.issuers.delete(tenant.id, second.id)
    assert await scene.verify(tenant.id) == WRONG


async def test_two_tenants_with_one_issuer(world: World, scene: Scene) -> None:
    """Each by its own rules, whatever the other trusts."""
    acme, evil = await world.tenant("Acme"), await world.tenant("Evil")
    ours = await scene.trust(acme.id, claims={"repository_owner": "acme"})
    theirs = await scene.trust(evil.id, claims={"repository_owner": "evil"})
    assert await scene.verify(acme.id) == accepted(ours)
    assert await scene.verify(evil.id) == WRONG
    stranger = {"repository_owner": "evil", "sub": "repo:evil/shop"}
    assert await scene.verify(acme.id, **stranger) == WRONG
    assert await scene.verify(evil.id, **stranger) == accepted(theirs, subject="repo:evil/shop")
    assert await scene.verify("no-such-tenant") == WRONG


@pytest.mark.parametrize(
    "changes",
    [
        {"repository": "evil/shop"},
        {"repository": "acme-evil/shop"},
        {"repository": "Acme/shop"},
        {"repository": None},
        {"repository": {"acme/": 1}},
        {"aud": "https://another.example.com"},
        {"aud": ["https://another.example.com"]},
        {"aud": None},
        {"exp": None},
        {"exp": START + 86400 + 2 * LEEWAY + 1},
        {"nbf": START + 600},
        {"iss": "https://evil.example"},
    ],
    ids=str,
)
async def test_tokens_that_meet_no_rule(world: World, scene: Scene, changes: Mapping[str, Any]) -> None:
    """Signed by the issuer, and wrong all the same."""
    tenant = await world.tenant()
    await scene.trust(tenant.id)
    assert await scene.verify(tenant.id, **changes) == WRONG


async def test_rules_of_another_audience_are_not_met(world: World, scene: Scene) -> None:
    """Each rule counts for its own audience, also where a token is for several."""
    tenant = await world.tenant()
    first = await scene.trust(tenant.id, audience="a")
    await scene.trust(tenant.id, audience="b")
    assert await scene.verify(tenant.id, aud=["a", "c"]) == accepted(first)


async def test_what_the_provider_has_not_signed(world: World, scene: Scene) -> None:
    """Forged, cut off, of no shape: wrong, and never an error."""
    tenant = await world.tenant()
    await scene.trust(tenant.id)
    good = scene.provider.token(JOB)
    forged = scene.provider.token(JOB, OTHER_RSA_KEY)
    for token in (forged, good[:-1], good + "A", good.rpartition(".")[0] + ".", good + "ä", "a.b.c", "", "\x00" * 100):
        assert await scene.tokens.verify(tenant.id, token) == WRONG


async def test_an_expired_token_says_whose_it_was(world: World, scene: Scene, clock: ManualClock) -> None:
    """Only who could have come in by it is told more than that it is wrong."""
    tenant = await world.tenant()
    rule = await scene.trust(tenant.id)
    clock.advance(300 + LEEWAY)
    verdict = await scene.verify(tenant.id)
    assert (verdict.outcome, verdict.met) == (CiOutcome.EXPIRED, ((rule.id, 1),))
    assert await scene.verify(tenant.id, repository="evil/shop") == WRONG


@pytest.mark.parametrize("subject", [None, 5, "x" * 1001, "a\nb"])
async def test_subjects_that_nobody_can_be_told(world: World, scene: Scene, subject: object) -> None:
    """The token is as good as any; whom it is about stays open."""
    tenant = await world.tenant()
    rule = await scene.trust(tenant.id)
    verdict = await scene.verify(tenant.id, sub=subject)
    assert verdict in (accepted(rule, subject=""), WRONG)  # PyJWT refuses one that is no text


async def test_a_provider_that_is_down_or_lies(world: World, scene: Scene, clock: ManualClock) -> None:
    """Nobody knows then what a token is worth. A token that no rule is for is wrong without asking anybody."""
    tenant = await world.tenant()
    await scene.trust(tenant.id)
    scene.provider.status = b"500 Oops"
    assert await scene.verify(tenant.id) == UNAVAILABLE
    assert await scene.verify(tenant.id, aud="https://another.example.com") == WRONG
    clock.advance(10)
    scene.provider.status, scene.provider.document = b"200 OK", {"issuer": "https://evil.example"}
    assert await scene.verify(tenant.id) == UNAVAILABLE
    clock.advance(10)
    scene.provider.document = {}
    assert (await scene.verify(tenant.id)).outcome is CiOutcome.ACCEPTED


async def test_one_tenant_does_not_take_all_the_room(world: World, scene: Scene) -> None:
    """Of a tenant whose issuer is slow only some wait; another's are verified meanwhile."""
    slow, quick = await world.tenant("Slow"), await world.tenant("Quick")
    rule = await scene.trust(quick.id)
    assert await scene.verify(quick.id) == accepted(rule)
    async with IdentityProvider("idp.test") as other:
        other.delay = 30.0
        await scene.trust(slow.id, issuer=other.issuer)
        token = other.token(JOB)
        most = ci_tokens._MAX_OF_TENANT
        waiting = [asyncio.ensure_future(scene.tokens.verify(slow.id, token)) for _ in range(most)]
        await eventually(lambda: scene.tokens._under_way[slow.id] == most, "all of them wait")
        assert await scene.tokens.verify(slow.id, token) == UNAVAILABLE
        assert await scene.verify(quick.id) == accepted(rule)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert not scene.tokens._under_way
