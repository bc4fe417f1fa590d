"""Passwords of previews, on both stores: what is set opens what it should, and only so many are looked at."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from argon2 import PasswordHasher

from router.access.visitors import PasswordCheck
from router.base.clock import ManualClock
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError, StoreUnavailableError
from router.node.password_checks import TRIES_OF_ADDRESS, TRIES_OF_PREVIEW, PasswordChecks
from router.routes.policies import SecretKind, Visibility
from router.routes.records import ResourceRecord
from router.store import Store
from router.tenancy.password_hashes import CONCURRENCY, MAX_WAITING, TENANT_CONCURRENCY, TENANT_WAITING, PasswordHashes
from router.tenancy.passwords import Passwords
from router.tenancy.previews import Preview, Previews
from router.tenancy.resources import Resource
from tests.support.database import rows
from tests.support.world import World

pytestmark = pytest.mark.asyncio

PORT = 8080
WORD = "correct horse"
RIGHT = PasswordCheck(right=True)
WRONG = PasswordCheck(right=False)


@pytest_asyncio.fixture
async def sandbox(world: World) -> Resource:
    return await world.sandbox(await world.tenant(), "shop", visibility=Visibility.PRIVATE)


@pytest.fixture
def previews(store: Store, clock: ManualClock) -> Previews:
    return Previews(store, clock)


@pytest_asyncio.fixture
async def preview(previews: Previews, sandbox: Resource) -> Preview:
    made, _ = await previews.put(sandbox.id, PORT)
    return made


@pytest.fixture
def passwords(store: Store, clock: ManualClock) -> Passwords:
    return Passwords(store, clock)


@pytest.fixture
def visitors(store: Store, clock: ManualClock) -> PasswordChecks:
    return PasswordChecks(store, clock)


async def known(store: Store, port: int = PORT) -> Sequence[tuple[str, bool]]:
    """The passwords of a port's policy: their ids, and whether each is revoked."""
    record = (await store.records.fetch(["slug:shop"]))["slug:shop"]
    assert isinstance(record, ResourceRecord)
    policy = record.policy(port)
    assert policy is not None
    assert all(one.digest == "" for one in policy.secrets if one.kind is SecretKind.PASSWORD)
    return [(one.id, one.revoked) for one in policy.secrets if one.kind is SecretKind.PASSWORD]


async def test_it_is_in_the_record_of_its_port_without_its_hash(
    store: Store, database: str, passwords: Passwords, visitors: PasswordChecks, preview: Preview
) -> None:
    """Its hash is argon2id's, and in the table alone; who types it comes in, in any of Unicode's ways to write it."""
    made = await passwords.put(preview.resource_id, preview.id, "Grüße an alle")
    assert await known(store) == [(made.id, False)]
    assert await known(store, 3000) == []
    (stored,) = await rows(database, "SELECT password_hash FROM preview_secrets")
    assert stored[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored[0] not in repr(made)
    assert await visitors.check(made.id, "Grüße an alle", "192.0.2.1") == RIGHT
    assert await visitors.check(made.id, "Gru\u0308ße an alle", "192.0.2.1") == RIGHT
    for wrong in ("grüße an alle", "Grüße an alle ", "", "a" * 5000):
        assert await visitors.check(made.id, wrong, f"192.0.2.{len(wrong) % 99 + 2}") == WRONG


async def test_a_new_one_ends_the_old_one(
    store: Store, passwords: Passwords, visitors: PasswordChecks, preview: Preview
) -> None:
    """And so does removing it; removing none changes nothing."""
    first = await passwords.put(preview.resource_id, preview.id, WORD)
    second = await passwords.put(preview.resource_id, preview.id, WORD + "2")
    assert sorted(await known(store)) == sorted([(first.id, True), (second.id, False)])
    assert await visitors.check(first.id, WORD, "192.0.2.1") == WRONG
    assert await visitors.check(second.id, WORD + "2", "192.0.2.1") == RIGHT
    for _ in range(2):
        await passwords.remove(preview.resource_id, preview.id)
    assert sorted(await known(store)) == sorted([(first.id, True), (second.id, True)])
    assert await passwords.of_resource(preview.resource_id) == {}
    assert await visitors.check(second.id, WORD + "2", "192.0.2.1") == WRONG


async def test_of_two_at_the_same_time_one_is_set(passwords: Passwords, store: Store, preview: Preview) -> None:
    """The other is revoked: there is at most one."""
    await asyncio.gather(*(passwords.put(preview.resource_id, preview.id, f"{WORD} {n}") for n in range(4)))
    assert [revoked for _, revoked in await known(store)].count(False) == 1


async def test_the_resource_s_opens_ports_without_their_own(
    store: Store, passwords: Passwords, previews: Previews, sandbox: Resource, preview: Preview
) -> None:
    """A preview's own goes first; where it is removed the resource's holds again. Hidden ports and those of programs have
    none."""
    of_all = await passwords.put(sandbox.id, None, WORD)
    own = await passwords.put(sandbox.id, preview.id, WORD + " own")
    assert await known(store) == [(own.id, False)]
    assert await known(store, 3000) == [(of_all.id, False)]
    assert set(await passwords.of_resource(sandbox.id)) == {None, preview.id}
    await passwords.remove(sandbox.id, preview.id)
    assert sorted(await known(store)) == sorted([(own.id, True), (of_all.id, False)])
    await previews.update(sandbox.id, PORT, hide=True)
    assert await known(store) == []
    await previews.update(sandbox.id, PORT, hide=False, visibility=Visibility.KEY)
    assert await known(store) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hide": True}, "hidden"),
        ({"visibility": Visibility.KEY}, "key"),
        ({"visibility": Visibility.PUBLIC}, "public"),
    ],
)
async def test_where_it_would_let_nobody_in_it_is_refused(
    passwords: Passwords, previews: Previews, preview: Preview, changes: dict[str, Any], words: str
) -> None:
    """With a sentence that says why; and what would make it so is refused once it is set."""
    await previews.update(preview.resource_id, PORT, **changes)
    with pytest.raises(RouterError, match=words) as caught:
        await passwords.put(preview.resource_id, preview.id, WORD)
    assert caught.value.problem is CONFLICT
    await previews.update(preview.resource_id, PORT, hide=False, visibility=Visibility.TENANT)
    await passwords.put(preview.resource_id, preview.id, WORD)
    if changes != {"visibility": Visibility.PUBLIC}:
        with pytest.raises(RouterError, match=words):
            await previews.update(preview.resource_id, PORT, **changes)
        await passwords.remove(preview.resource_id, preview.id)
    await previews.update(preview.resource_id, PORT, **changes)


@pytest.mark.parametrize(
    "password",
    ["", "1234567", "a" * 257, "u\u0308" * 200, "\ud800" * 8, "e\u0301" * 7],
    ids=lambda text: f"{len(text)}",
)
async def test_what_is_no_password(passwords: Passwords, preview: Preview, password: str) -> None:
    """Too short or too long, as it is compared, and what no form can send."""
    with pytest.raises(RouterError) as caught:
        await passwords.put(preview.resource_id, preview.id, password)
    assert (caught.value.problem, set(caught.value.fields)) == (VALIDATION_FAILED, {"password"})


async def test_what_is_not_there_has_none(passwords: Passwords, preview: Preview, sandbox: Resource) -> None:
    """No preview of another resource, and no unknown one."""
    for resource_id, preview_id in ((preview.id, None), (sandbox.id, sandbox.id), (preview.id, preview.id)):
        with pytest.raises(RouterError) as caught:
            await passwords.put(resource_id, preview_id, WORD)
        assert caught.value.problem is NOT_FOUND
        with pytest.raises(RouterError) as caught:
            await passwords.remove(resource_id, preview_id)
        assert caught.value.problem is NOT_FOUND


async def test_one_that_expires(
    clock: ManualClock, passwords: Passwords, visitors: PasswordChecks, preview: Preview
) -> None:
    """It opens nothing from then on, and is still shown as set."""
    with pytest.raises(RouterError):
        await passwords.put(preview.resource_id, preview.id, WORD, expires_at=clock.now())
    until = clock.now() + timedelta(hours=1)
    made = await passwords.put(preview.resource_id, preview.id, WORD, expires_at=until)
    assert await visitors.check(made.id, WORD, "192.0.2.1") == RIGHT
    clock.advance(3600)
    assert await visitors.check(made.id, WORD, "192.0.2.1") == WRONG
    assert (await passwords.of_resource(preview.resource_id))[preview.id].expires_at == until


async def test_a_hash_of_other_parameters_is_made_anew(
    store: Store, database: str, clock: ManualClock, preview: Preview
) -> None:
    """By the next right password, and by no wrong one; it still is the same password."""
    old = PasswordHashes(hasher=PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
    made = await Passwords(store, clock, old).put(preview.resource_id, preview.id, WORD)
    visitors = PasswordChecks(store, clock)

    async def parameters() -> str:
        ((text,),) = await rows(database, "SELECT password_hash FROM preview_secrets")
        return str(text).split("$")[3]

    assert await visitors.check(made.id, "wrong horse", "192.0.2.1") == WRONG
    assert await parameters() == "m=1024,t=1,p=1"
    assert await visitors.check(made.id, WORD, "192.0.2.1") == RIGHT
    assert await parameters() == "m=19456,t=2,p=1"
    assert await visitors.check(made.id, WORD, "192.0.2.1") == RIGHT


# How many are looked at.


async def test_of_one_address_so_many_a_minute(
    clock: ManualClock, passwords: Passwords, visitors: PasswordChecks, preview: Preview
) -> None:
    """The right one counts too, and an address of IPv6 by its /64. Others are not kept out."""
    made = await passwords.put(preview.resource_id, preview.id, WORD)
    for client, again in (("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::ffff")):
        for _ in range(TRIES_OF_ADDRESS):
            assert await visitors.check(made.id, WORD, client) == RIGHT
        refused = await visitors.check(made.id, WORD, again)
        assert not refused.right
        assert 0 < refused.wait <= 60
    assert await visitors.check(made.id, WORD, "192.0.2.2") == RIGHT
    clock.advance(60)
    assert await visitors.check(made.id, WORD, "192.0.2.1") == RIGHT


async def test_of_one_preview_so_many_an_hour(
    clock: ManualClock, passwords: Passwords, preview: Preview, sandbox: Resource, store: Store
) -> None:
    """By whoever, and before anything is hashed; a new password starts no new count, and other passwords have their own."""
    made = await passwords.put(preview.resource_id, preview.id, WORD)
    other = await passwords.put(sandbox.id, None, WORD)
    visitors = PasswordChecks(store, clock)
    for number in range(TRIES_OF_PREVIEW - 1):
        assert await visitors.check(made.id, "a" * 300, f"198.51.100.{number}") == WRONG
    assert await visitors.check(made.id, WORD, "203.0.113.1") == RIGHT
    changed = await passwords.put(preview.resource_id, preview.id, WORD)
    refused = await visitors.check(changed.id, WORD, "203.0.113.2")
    assert not refused.right
    assert 60 < refused.wait <= 3600
    assert await visitors.check(other.id, WORD, "203.0.113.2") == RIGHT
    clock.advance(3600)
    assert await visitors.check(changed.id, WORD, "203.0.113.2") == RIGHT


async def test_nodes_count_together(store: Store, clock: ManualClock, passwords: Passwords, preview: Preview) -> None:
    """Where they share counts; where these can't be had, each counts alone."""

    class Counts:
        def __init__(self) -> None:
            self.used: dict[tuple[str, float], int] = {}
            self.away = False

        async def count(self, bucket: str, period: float) -> tuple[int, float] | None:
            self.used[bucket, period] = self.used.get((bucket, period), 0) + 1
            return None if self.away else (self.used[bucket, period], period)

    made = await passwords.put(preview.resource_id, preview.id, WORD)
    counts = Counts()
    nodes = [PasswordChecks(store, clock, counts) for _ in range(2)]
    found = [await nodes[n % 2].check(made.id, "wrong horse", "192.0.2.1") for n in range(7)]
    assert [one.wait for one in found] == [0] * 5 + [60] * 2
    assert {period for _, period in counts.used} == {60.0, 3600.0}
    counts.away = True
    assert await nodes[0].check(made.id, WORD, "192.0.2.9") == RIGHT


class CountedHasher(PasswordHasher):
    """Quick ones. `most` is how many were under way at once; those of the passwords in `held` wait for `go`."""

    def __init__(self, *held: str) -> None:
        super().__init__(time_cost=1, memory_cost=1024, parallelism=1)
        self.held = held
        self.go = threading.Event()
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        try:
            if password in self.held:
                assert self.go.wait(30)
            return super().hash(password, salt=salt)
        finally:
            with self._lock:
                self._running -= 1


async def test_hashes_wait_for_each_other() -> None:
    """At most so many are under way, which is what they may take of memory; a queue that is full is a fault of ours. One that
    nobody waits for any more keeps its place until it has ended."""
    hasher = CountedHasher()
    hashes = PasswordHashes(hasher=hasher)
    tasks = [
        asyncio.ensure_future(hashes.make(WORD, tenant_id=f"tenant {number}"))
        for number in range(CONCURRENCY + MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError):
        await hashes.make(WORD, tenant_id="another")
    for task in tasks[:10]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, str) for one in done) == len(tasks) - 10
    assert hasher.most <= CONCURRENCY


async def test_one_tenant_leaves_places_to_others() -> None:
    """However many previews it has: it takes one place and so many of those that wait, and what it has too many is refused; a
    tenant that comes later is served while it waits. Nothing of it is remembered afterwards."""
    hasher = CountedHasher("guess")
    hashes = PasswordHashes(hasher=hasher)
    flood = [
        asyncio.ensure_future(hashes.make("guess", tenant_id="flooded"))
        for _ in range(TENANT_CONCURRENCY + TENANT_WAITING)
    ]
    try:
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError):
            await hashes.make("guess", tenant_id="flooded")
        async with asyncio.timeout(20):
            made = await hashes.make(WORD, tenant_id="quiet")
            assert await hashes.match(made, WORD, tenant_id="quiet")
        assert not any(one.done() for one in flood)
        flood[-1].cancel()
    finally:
        hasher.go.set()
    done = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(one, str) for one in done) == len(flood) - 1
    assert hasher.most <= CONCURRENCY
    assert await hashes.make(WORD, tenant_id="flooded")
    await asyncio.sleep(0)
    assert not hashes._shares
