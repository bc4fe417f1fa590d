"""What opens a preview, on both stores: it is in the record when it is made, and what ended is told apart from what never
was."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
import pytest_asyncio

from router.base import preview_secrets
from router.base.clock import ManualClock
from router.base.ids import new_id
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.routes.policies import AccessPolicy, SecretKind, Visibility
from router.routes.records import ResourceRecord
from router.store import Store
from router.tenancy.preview_secrets import LINKS, TOKENS, PreviewSecret, PreviewSecrets
from router.tenancy.previews import Preview, Previews
from router.tenancy.resources import Resource
from tests.support.database import execute, prune, rows
from tests.support.world import World

pytestmark = pytest.mark.asyncio

PORT = 8080


@pytest_asyncio.fixture
async def sandbox(world: World) -> Resource:
    return await world.sandbox(await world.tenant(), "shop", visibility=Visibility.PRIVATE)


@pytest_asyncio.fixture
async def preview(store: Store, clock: ManualClock, sandbox: Resource) -> Preview:
    made, _ = await Previews(store, clock).put(sandbox.id, PORT)
    return made


@pytest.fixture
def secrets(store: Store, clock: ManualClock) -> PreviewSecrets:
    return PreviewSecrets(store, clock)


async def policy(store: Store, port: int = PORT) -> AccessPolicy:
    record = (await store.records.fetch(["slug:shop"]))["slug:shop"]
    assert isinstance(record, ResourceRecord)
    found = record.policy(port)
    assert found is not None
    return found


async def known(store: Store, port: int = PORT) -> Sequence[tuple[str, bool, bool]]:
    """The secrets of a port's policy: id, whether it is revoked, whether used up."""
    return [(one.id, one.revoked, one.used) for one in (await policy(store, port)).secrets]


async def made(
    secrets: PreviewSecrets, preview: Preview, kind: SecretKind = SecretKind.LINK, ttl: int = 60
) -> PreviewSecret:
    secret, _ = await secrets.create(preview.resource_id, preview.id, kind, name="CI", ttl=ttl)
    return secret


@pytest.mark.parametrize("kind", [*TOKENS, *LINKS])
async def test_a_secret_is_in_the_record_of_its_port_alone(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, preview: Preview, kind: SecretKind
) -> None:
    """As its hash, with its end; other ports of the resource do not have it."""
    secret, plain = await secrets.create(preview.resource_id, preview.id, kind, name="CI", ttl=60)
    assert preview_secrets.kind_of(plain) == kind
    (shown,) = (await policy(store)).secrets
    assert (shown.id, shown.kind, shown.digest) == (secret.id, kind, preview_secrets.digest(plain))
    assert (shown.until, shown.revoked, shown.used) == (clock.now().timestamp() + 60, False, False)
    assert (await policy(store, 3000)).secrets == ()


async def test_a_secret_of_the_resource_opens_every_port(
    store: Store, secrets: PreviewSecrets, sandbox: Resource, preview: Preview
) -> None:
    """Those with a preview and those without."""
    secret, _ = await secrets.create(sandbox.id, None, SecretKind.LINK)
    assert await known(store, PORT) == await known(store, 3000) == [(secret.id, False, False)]


async def test_a_public_preview_s_living_secrets_are_in_its_record(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, preview: Preview
) -> None:
    """Its program must not learn what opens it once it is private again. As soon as none is left, there is no policy."""
    dead = await made(secrets, preview)
    clock.advance(1)
    secret = await made(secrets, preview)
    await secrets.revoke(preview.resource_id, preview.id, dead.id, LINKS)
    previews = Previews(store, clock)
    await previews.update(preview.resource_id, PORT, visibility=Visibility.PUBLIC)
    assert await known(store) == [(secret.id, False, False)]
    await previews.update(preview.resource_id, PORT, visibility=Visibility.KEY)
    assert await known(store) == [(dead.id, True, False), (secret.id, False, False)]
    await previews.update(preview.resource_id, PORT, visibility=Visibility.PUBLIC)
    await secrets.revoke(preview.resource_id, preview.id, secret.id, LINKS)
    record = (await store.records.fetch(["slug:shop"]))["slug:shop"]
    assert isinstance(record, ResourceRecord)
    assert record.policy(PORT) is None


async def test_what_opens_all_ports_is_in_the_record_of_a_public_one(
    store: Store, secrets: PreviewSecrets, sandbox: Resource, preview: Preview
) -> None:
    """A link of the whole sandbox leads to its default port, whose program must not learn what opens the others."""
    assert preview.port == PORT
    link, _ = await secrets.create(sandbox.id, None, SecretKind.LINK)
    await Previews(store, ManualClock()).put(sandbox.id, 3000, visibility=Visibility.PUBLIC)
    assert await known(store, 3000) == [(link.id, False, False)]


async def test_a_revoked_secret_is_told_apart_for_a_day(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, preview: Preview
) -> None:
    """Revoking twice changes nothing; a day later the job forgets it."""
    secret = await made(secrets, preview, ttl=10 * 86400)
    clock.advance(1)
    lives = await made(secrets, preview, ttl=10 * 86400)
    for _ in range(2):
        revoked = await secrets.revoke(preview.resource_id, preview.id, secret.id, LINKS)
        assert revoked.revoked_at == clock.now()
        assert await known(store) == [(secret.id, True, False), (lives.id, False, False)]

    async def pruned_after(hours: int) -> list[str]:
        clock.advance(hours * 3600)
        await prune(store, clock)
        return [one.id for one in (await secrets.list(preview.resource_id, preview.id, LINKS)).items]

    assert await pruned_after(23) == [secret.id, lives.id]
    assert await pruned_after(2) == [lives.id]


async def test_of_dead_ones_the_last_fifty_are_known(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, preview: Preview
) -> None:
    """Whoever makes and revokes for ever does not make the record grow."""
    dead = []
    for _ in range(55):
        secret = await made(secrets, preview)
        clock.advance(1)
        await secrets.revoke(preview.resource_id, preview.id, secret.id, LINKS)
        dead.append((secret.id, True, False))
    assert await known(store) == dead[-50:]


async def test_how_many_may_live(clock: ManualClock, secrets: PreviewSecrets, preview: Preview) -> None:
    """Fifty of a preview; one that expires makes room, and the resource's own count for themselves."""
    for number in range(50):
        await made(secrets, preview, ttl=60 + number)
    with pytest.raises(RouterError) as caught:
        await made(secrets, preview)
    assert caught.value.problem is CONFLICT
    await secrets.create(preview.resource_id, None, SecretKind.LINK)
    clock.advance(60)
    await made(secrets, preview)


async def test_how_many_may_live_in_all(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, sandbox: Resource
) -> None:
    """Five hundred of a resource, over all of its previews."""
    previews = Previews(store, clock)
    ports = [(await previews.put(sandbox.id, 9000 + number))[0] for number in range(11)]
    for preview in ports[:10]:
        for _ in range(50):
            await made(secrets, preview)
    with pytest.raises(RouterError, match="500"):
        await made(secrets, ports[10])


async def test_void_ends_the_links_of_one_preview(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, sandbox: Resource, preview: Preview
) -> None:
    """Named tokens stay, and what opens the whole resource; cookies of before are void by the generation."""
    token = await made(secrets, preview, SecretKind.PROGRAM)
    links = [await made(secrets, preview, kind) for kind in LINKS]
    other, _ = await secrets.create(sandbox.id, None, SecretKind.LINK)
    generation = (await policy(store)).generation
    await secrets.void(sandbox.id, preview.id)
    ended = {one.id: (True, False) for one in links}
    assert {one: (revoked, used) for one, revoked, used in await known(store)} == {
        token.id: (False, False),
        other.id: (False, False),
        **ended,
    }
    assert (await policy(store)).generation == generation + 1


async def test_a_link_that_works_once_does_so_for_one_of_many(
    store: Store, secrets: PreviewSecrets, preview: Preview
) -> None:
    """Of ten that ask at the same moment one is let in; the record says that it is used up, not that it was revoked."""
    secret = await made(secrets, preview, SecretKind.ONCE)
    assert sorted(await asyncio.gather(*(secrets.use_up(secret.id) for _ in range(10)))) == [False] * 9 + [True]
    assert await known(store) == [(secret.id, False, True)]
    assert (await secrets.list(preview.resource_id, preview.id, LINKS, only_opening=True)).items == ()


async def test_what_can_t_be_used_up(clock: ManualClock, secrets: PreviewSecrets, preview: Preview) -> None:
    """A link that works often, one that is revoked, one that has expired, and none at all."""
    often = await made(secrets, preview)
    revoked = await made(secrets, preview, SecretKind.ONCE)
    await secrets.revoke(preview.resource_id, preview.id, revoked.id, LINKS)
    expired = await made(secrets, preview, SecretKind.ONCE)
    clock.advance(60)
    for secret_id in (often.id, revoked.id, expired.id, new_id()):
        assert not await secrets.use_up(secret_id)


async def test_a_used_up_link_can_still_be_revoked(store: Store, secrets: PreviewSecrets, preview: Preview) -> None:
    """Which puts out who came in by it."""
    secret = await made(secrets, preview, SecretKind.ONCE)
    await secrets.use_up(secret.id)
    await secrets.revoke(preview.resource_id, preview.id, secret.id, LINKS)
    assert await known(store) == [(secret.id, True, True)]


async def test_secrets_go_with_their_preview(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, sandbox: Resource, preview: Preview
) -> None:
    """A preview that is made again on the same port is opened by none of the old ones; the resource's own stay."""
    await made(secrets, preview)
    kept, _ = await secrets.create(sandbox.id, None, SecretKind.LINK)
    previews = Previews(store, clock)
    await previews.delete(sandbox.id, preview.id)
    await previews.put(sandbox.id, PORT)
    assert await known(store) == [(kept.id, False, False)]


async def test_an_older_version_deletes_a_preview(
    database: str, store: Store, secrets: PreviewSecrets, sandbox: Resource, preview: Preview
) -> None:
    """It knows nothing of secrets, and takes those of the preview along."""
    await made(secrets, preview)
    kept, _ = await secrets.create(sandbox.id, None, SecretKind.LINK)
    await execute(database, "DELETE FROM previews")
    assert await rows(database, "SELECT id FROM preview_secrets") == [(kept.id,)]


async def test_secrets_go_with_their_resource(
    world: World, store: Store, secrets: PreviewSecrets, sandbox: Resource, preview: Preview
) -> None:
    """Deleting one that has previews with secrets works, and none can be made for it afterwards."""
    await made(secrets, preview)
    await secrets.create(sandbox.id, None, SecretKind.LINK)
    await world.resources.delete(sandbox.id)
    assert (await secrets.list(sandbox.id, None, tuple(SecretKind))).total == 0
    with pytest.raises(RouterError) as caught:
        await secrets.create(sandbox.id, None, SecretKind.LINK)
    assert caught.value.problem is NOT_FOUND


async def test_what_is_not_there_is_not_found(
    store: Store, clock: ManualClock, secrets: PreviewSecrets, sandbox: Resource, preview: Preview, world: World
) -> None:
    """Another preview's secret, one of another kind, another resource's preview, and none."""
    secret = await made(secrets, preview)
    other, _ = await Previews(store, clock).put(sandbox.id, 9000)
    elsewhere = await world.sandbox(await world.tenant("Globex"), "other")
    for call in (
        secrets.revoke(sandbox.id, other.id, secret.id, LINKS),
        secrets.revoke(sandbox.id, None, secret.id, LINKS),
        secrets.revoke(sandbox.id, preview.id, secret.id, TOKENS),
        secrets.revoke(sandbox.id, preview.id, new_id(), LINKS),
        secrets.revoke(elsewhere.id, preview.id, secret.id, LINKS),
        secrets.void(elsewhere.id, preview.id),
        secrets.create(elsewhere.id, preview.id, SecretKind.LINK),
    ):
        with pytest.raises(RouterError) as caught:
            await call
        assert caught.value.problem is NOT_FOUND
    assert await known(store) == [(secret.id, False, False)]


async def test_last_use_is_the_latest(secrets: PreviewSecrets, clock: ManualClock, preview: Preview) -> None:
    """Reports come from many workers, in any order; what they name may be gone."""
    secret = await made(secrets, preview)
    now = clock.now()
    for seconds in (60, 120, 90):
        await secrets.note_uses({secret.id: now + timedelta(seconds=seconds), new_id(): now})
    (shown,) = (await secrets.list(preview.resource_id, preview.id, LINKS)).items
    assert shown.last_used_at == now + timedelta(seconds=120)


async def test_a_named_token_needs_a_name(secrets: PreviewSecrets, clock: ManualClock, preview: Preview) -> None:
    """And an end that is not past."""
    with pytest.raises(RouterError) as caught:
        await secrets.create(
            preview.resource_id, preview.id, SecretKind.PROGRAM, name=" ", expires_at=clock.now() - timedelta(seconds=1)
        )
    assert caught.value.problem is VALIDATION_FAILED
    assert set(caught.value.fields) == {"name", "expires_at"}
