"""Who is told who visits, and the keys with which that can be verified."""

import pytest

from router.access.identity_signer import IdentitySigner
from router.base.clock import ManualClock
from router.node.services import Services
from router.routes.records import ResourceRecord, SigningKeysRecord
from router.settings import Rates
from router.store import Store
from router.tenancy.signing_keys import FOR_IDENTITY, PERIOD
from tests.support.access import verified_by
from tests.support.api import ApiClient
from tests.support.database import execute

pytestmark = pytest.mark.asyncio

PATH = "/.well-known/jwks.json"


async def published(api: ApiClient, clock: ManualClock) -> dict[str, dict[str, str]]:
    """The keys by their ids, as somebody without a key reads them."""
    clock.advance(5)
    answer = await api("GET", PATH, key=None)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.json.keys() == {"keys"}
    return {key["kid"]: key for key in answer.json["keys"]}


async def signer(store: Store) -> IdentitySigner:
    record = (await store.records.fetch(["signing:identity"]))["signing:identity"]
    assert isinstance(record, SigningKeysRecord)
    return IdentitySigner(record, "https://edge.example")


async def test_the_keys_are_public(api: ApiClient, services: Services, store: Store, clock: ManualClock) -> None:
    """Those that sign, without their private half, and none of those that sign cookies; nothing before there are any."""
    assert await published(api, clock) == {}
    await services.signing_keys.make()
    (key,) = (await published(api, clock)).values()
    assert key.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    (private,) = await services.signing_keys.public()
    assert private.secret not in str(key)
    token = (await signer(store)).sign({"sub": "ada"}, clock.now().timestamp())
    assert token is not None
    assert verified_by(key, token)["sub"] == "ada"


async def test_rotation(api: ApiClient, services: Services, store: Store, clock: ManualClock) -> None:
    """At each moment of two periods what is signed verifies by the keys that were read an hour ago, and what was signed five
    minutes ago by those that are read now."""
    await services.signing_keys.make()
    an_hour_ago = await published(api, clock)
    signed_by = set()
    for _ in range(int(2.2 * PERIOD / 3600 / 6)):
        token = (await signer(store)).sign({}, clock.now().timestamp())
        assert token is not None
        for hours in (0, 1):
            clock.advance(300 if not hours else 3300)
            await services.signing_keys.rotate()
            now = await published(api, clock)
            if not hours:
                signed_by.add(verified_by(now, token)["kid"])
        later = (await signer(store)).sign({}, clock.now().timestamp())
        assert later is not None
        verified_by(an_hour_ago, later)
        clock.advance(5 * 3600)
        await services.signing_keys.rotate()
        an_hour_ago = await published(api, clock)
    assert len(signed_by) == 3


async def test_a_leaked_key_is_gone_at_once(api: ApiClient, services: Services, clock: ManualClock) -> None:
    """From the published ones too, within seconds."""
    await services.signing_keys.make()
    before = await published(api, clock)
    new = await services.signing_keys.replace(FOR_IDENTITY)
    assert list(await published(api, clock)) == [new.id]
    assert new.id not in before


async def test_a_store_that_is_away(api: ApiClient, services: Services, database: str, clock: ManualClock) -> None:
    """Nobody is told that there are no keys where that is not known; what was read is right for five seconds."""
    away, back = ("ALTER TABLE signing_keys RENAME TO gone", "ALTER TABLE gone RENAME TO signing_keys")
    await services.signing_keys.make()
    await execute(database, away)
    refused = await api("GET", PATH, key=None)
    assert (refused.status, refused.headers["Cache-Control"]) == (503, "no-store")
    await execute(database, back)
    known = await published(api, clock)
    await execute(database, away)
    assert {key["kid"] for key in (await api("GET", PATH, key=None)).json["keys"]} == known.keys()
    clock.advance(5)
    assert (await api("GET", PATH, key=None)).status == 503
    await execute(database, back)
    assert await published(api, clock) == known


@pytest.fixture
def rates() -> Rates:
    return Rates(anonymous=2, workspace=10_000)


async def test_nobody_is_sent_away(api: ApiClient, services: Services) -> None:
    """Programs that share an address all read them when they start; another method is none of it."""
    await services.signing_keys.make()
    for _ in range(5):
        assert (await api("GET", PATH, key=None)).status == 200
    assert (await api("HEAD", PATH, key=None)).status == 200
    refused = await api("POST", PATH, key=None)
    assert (refused.status, refused.headers["Cache-Control"]) == (405, "no-store")


@pytest.mark.parametrize("noun", ["sandboxes", "computers", "deployments"])
async def test_for_all_ports_of_a_resource(api: ApiClient, store: Store, noun: str) -> None:
    """Said when it is created, or later; null takes it back."""
    made = (await api("POST", f"/api/v1/{noun}", json={"name": "Box", "slug": "box", "identity": True})).json["data"]
    path = f"/api/v1/{noun}/{made['id']}"

    async def told() -> bool:
        record = (await store.records.fetch(["slug:box"]))["slug:box"]
        assert isinstance(record, ResourceRecord)
        policy = record.policy(3000)
        return policy is not None and policy.identity

    assert made["identity"] is True is await told()
    for said, expected in ((False, False), (True, True), (None, False)):
        answer = await api("PATCH", path, json={"identity": said})
        assert answer.json["data"]["identity"] is expected is await told()
