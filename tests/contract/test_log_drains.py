"""Log drains on a real store: what is sent, in which order, what waits, and what is given up."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.base.leases import Lease
from router.base.secret_box import SecretBox
from router.drains.credentials import Credentials
from router.drains.log_drain import BatchFormat, DrainKind, DrainState, LogDrain
from router.drains.log_drains import MAX_DRAINS, LogDrains
from router.drains.sending import TOLD_AFTER, DrainJob
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.observe.metrics import Metrics
from router.records.kept import KeptRecords
from router.settings import Database, Records
from router.store.request_records import oldest_to_stay
from router.store.request_records_postgres import PostgresRecords
from router.store.request_records_sqlite import SqliteRecords
from router.tenancy.deliveries import Attempt
from router.tenancy.destinations import Destinations
from router.tenancy.events import EventFilter
from router.tenancy.tenants import Tenant
from tests.support.database import spoil
from tests.support.log_drains import Collector
from tests.support.request_records import row
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.asyncio

JOB = "send_log_drains"
URL = "https://logs.example.com/in"
HOUR = 3600.0
BROKEN = Attempt(status=503)


class Post:
    """A store with drains on it, records beside it, and one process that sends."""

    def __init__(self, world: World, kept: KeptRecords, clock: ManualClock) -> None:
        self.world = world
        self.kept = kept
        self.clock = clock
        self.collector = Collector()
        self.box = SecretBox([b"k" * 32])
        self.drains = self.service(self.box)
        self.metrics = Metrics()
        self.committed, self.nothing_committed = 0, False
        self.job = DrainJob(
            world.store,
            clock,
            kept=kept,
            sender=self.collector,
            box=self.box,
            oldest=lambda now: oldest_to_stay(now, 24),
            metrics=self.metrics,
            commits=self.commits,
        )
        self.lease = Lease(JOB, "nobody", 0)

    def commits(self) -> int:
        """Something was committed whenever it is asked, unless the test says that nothing was."""
        self.committed += not self.nothing_committed
        return self.committed

    def service(self, box: SecretBox) -> LogDrains:
        return LogDrains(
            self.world.store, self.clock, kept=self.kept, sender=self.collector, destinations=Destinations(), box=box
        )

    async def begin(self) -> None:
        lease = await self.world.store.leases.acquire(JOB, "first", 60)
        assert lease is not None
        self.lease = lease

    async def drain(self, tenant: Tenant, **given: Any) -> LogDrain:
        return await self.drains.create(tenant.id, **{"name": "logs", "url": URL, **given})

    async def request(self, tenant: Tenant, *request_ids: str, **changes: Any) -> None:
        """Requests that have ended, in this order."""
        of = uuid.UUID(tenant.id).bytes
        rows = [row(number, tenant=of, request_id=name, **changes) for number, name in enumerate(request_ids)]
        await self.kept.append(rows, [])

    async def round(self) -> None:
        """Look for what is new, and wait until it is dealt with."""
        lease = await self.world.store.leases.acquire(JOB, "first", 60)
        assert lease is not None
        await self.job.round(lease)
        await eventually(lambda: not self.job.busy, "every drain has sent what it had")

    def sent(self, drain: LogDrain) -> list[list[str]]:
        """The request ids of each batch that was tried; of a line that is no record its type."""
        lines = [[json.loads(line.text) for line in batch] for to, _, batch in self.collector.got if to == drain.id]
        return [[one.get("request_id") or one["type"] for one in batch] for batch in lines]

    async def now(self, drain: LogDrain) -> LogDrain:
        return await self.drains.get(drain.tenant_id, drain.id)


@pytest_asyncio.fixture
async def post(database: str, world: World, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Post]:
    settings = Records()
    spoil(database)  # it has tables now that no migration makes
    kept: KeptRecords = (
        SqliteRecords(tmp_path / "requests", settings, clock)
        if database.startswith("sqlite")
        else PostgresRecords(database, Database(), settings, clock)
    )
    opened = Post(world, kept, clock)
    await opened.begin()
    yield opened
    await opened.job.close()
    await kept.close()


async def test_nothing_is_looked_for_while_there_is_no_drain(post: Post) -> None:
    """A drain is found when something was committed, as its making is; records alone are looked at for nobody."""
    acme = await post.world.tenant("Acme")
    await post.round()
    post.nothing_committed = True
    drain = await post.drain(acme)
    await post.request(acme, "a")
    await post.round()
    assert post.sent(drain) == []
    post.nothing_committed = False
    await post.round()
    assert post.sent(drain) == [["a"]]
    post.nothing_committed = True
    await post.request(acme, "b")
    await post.round()
    assert post.sent(drain) == [["a"], ["b"]]


async def test_records_are_sent_in_their_order(post: Post) -> None:
    """From the drain's making on, once, and nobody else's."""
    acme, globex = await post.world.tenant("Acme"), await post.world.tenant("Globex")
    await post.request(acme, "before")
    drain = await post.drain(acme)
    await post.request(globex, "theirs")
    await post.request(acme, "a", "b")
    await post.round()
    await post.request(acme, "c")
    for _ in range(3):
        await post.round()
    assert post.sent(drain) == [["a", "b"], ["c"]]
    after = await post.now(drain)
    assert (after.delivered, after.failures, after.lost, after.last_status) == (3, 0, 0, 204)


async def test_many_records_are_sent_at_once(post: Post) -> None:
    """In batches of at most 500, all in one round."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    await post.request(acme, *(f"r{number}" for number in range(1200)))
    await post.round()
    assert [len(batch) for batch in post.sent(drain)] == [500, 500, 200]
    assert [name for batch in post.sent(drain) for name in batch] == [f"r{number}" for number in range(1200)]


async def test_a_drain_of_one_resource_and_of_errors(post: Post) -> None:
    """Each sends what it asks for alone."""
    acme = await post.world.tenant()
    shop = await post.world.sandbox(acme, "shop")
    of_shop = await post.drain(acme, resource_id=shop.id)
    errors = await post.drain(acme, errors_only=True)
    await post.request(acme, "other")
    await post.request(acme, "shop", resource=uuid.UUID(shop.id).bytes)
    await post.request(acme, "failed", status=502, fault=1)
    await post.round()
    assert (post.sent(of_shop), post.sent(errors)) == ([["shop"]], [["failed"]])


async def test_a_failed_batch_is_sent_again(post: Post) -> None:
    """When its pause is over, with what came meanwhile behind it; the next one is a batch of its own."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    post.collector.answers = [BROKEN, Attempt(error="it refuses connections")]
    await post.request(acme, "a")
    await post.round()
    await post.round()
    assert post.sent(drain) == [["a"]]
    post.clock.advance(6)
    await post.round()
    assert (await post.now(drain)).last_error == "it refuses connections"
    await post.request(acme, "b")
    post.clock.advance(11.5)
    await post.round()
    assert post.sent(drain) == [["a"], ["a"], ["a", "b"]]
    assert (await post.now(drain)).delivered == 2


async def test_a_drain_that_fails_delays_no_other(post: Post) -> None:
    """Each has its own position and its own pauses."""
    acme, globex = await post.world.tenant("Acme"), await post.world.tenant("Globex")
    broken = await post.drain(acme)
    await post.request(acme, "a")
    post.collector.answers = [BROKEN]
    await post.round()
    well = await post.drain(globex)
    await post.request(globex, "b")
    await post.round()
    assert post.sent(well) == [["b"]]
    assert (await post.now(broken)).failures == 1


async def test_a_batch_that_is_too_large_is_halved(post: Post) -> None:
    """At once, without a failure, as often as it takes; each batch that is taken lets the next one be twice as large."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    post.collector.answers = [Attempt(status=413), Attempt(status=413)]
    await post.request(acme, *"abcdefgh")
    await post.round()
    assert [len(batch) for batch in post.sent(drain)] == [8, 4, 2, 4, 2]
    assert (await post.now(drain)).delivered == 8


async def test_one_record_that_is_too_large_is_a_failure(post: Post) -> None:
    """It can't be halved, so it is tried again later, as everything else."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    post.collector.answers = [Attempt(status=413)]
    await post.request(acme, "a")
    await post.round()
    assert (await post.now(drain)).failures == 1


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_one_record_that_is_refused_holds_up_the_others_for_minutes_only(post: Post, status: int) -> None:
    """The records before it are taken at once; it is given up after the event that says so, counted, and said in the next batch."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    await post.request(acme, *"abcd")
    post.collector.refused = {"c": status}
    await post.round()
    assert ["a", "b"] in post.sent(drain)
    for _ in range(TOLD_AFTER + 1):
        post.clock.advance(400)
        await post.round()
    after = await post.now(drain)
    assert (after.delivered, after.lost, after.failures) == (3, 1, 0)
    assert post.sent(drain)[-1] == ["gap", "d"]
    events = await post.world.events.list(EventFilter(tenant_id=acme.id, type="log_drain.failing"))
    assert len(events.items) == 1


async def test_gone_pauses_it(post: Post) -> None:
    """And an event says so. Made active again it begins with what comes then."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    post.collector.answers = [Attempt(status=410)]
    await post.request(acme, "a")
    await post.round()
    assert (await post.now(drain)).state is DrainState.PAUSED
    await post.request(acme, "b")
    await post.round()
    events = await post.world.events.list(EventFilter(tenant_id=acme.id, type="log_drain.paused"))
    assert [event.data["log_drain_id"] for event in events.items] == [drain.id]
    await post.drains.update(acme.id, drain.id, state=DrainState.ACTIVE)
    await post.request(acme, "c")
    await post.round()
    assert post.sent(drain) == [["a"], ["c"]]


async def test_an_event_says_that_it_fails(post: Post) -> None:
    """Once, after about ten minutes."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    await post.request(acme, "a")
    for _ in range(TOLD_AFTER + 2):
        post.collector.answers = [BROKEN]
        await post.round()
        post.clock.advance(400)
    events = await post.world.events.list(EventFilter(tenant_id=acme.id, type="log_drain.failing"))
    assert [event.data for event in events.items] == [
        {"log_drain_id": drain.id, "name": "logs", "reason": "it answered 503"}
    ]


async def test_giving_records_up_says_nothing_of_failures(post: Post) -> None:
    """Where a drain has just failed so often that an event said it, what is too old by then makes no second event."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    await post.request(acme, "a")
    for _ in range(TOLD_AFTER):
        post.collector.answers = [BROKEN]
        await post.round()
        post.clock.advance(400)
    post.clock.advance(25 * HOUR)
    await post.round()
    assert ((await post.now(drain)).lost, (await post.now(drain)).failures) == (1, TOLD_AFTER)
    events = await post.world.events.list(EventFilter(tenant_id=acme.id, type="log_drain.failing"))
    assert events.total == 1


async def test_what_is_too_old_is_given_up_and_counted(post: Post) -> None:
    """Before it is deleted; the next batch that is taken says how much it was."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    await post.request(acme, "a", "b", "c")
    post.collector.answers = [BROKEN]
    await post.round()
    post.clock.advance(25 * HOUR)
    await post.round()
    assert (await post.now(drain)).lost == 3
    await post.request(acme, "d")
    post.collector.answers = [BROKEN]
    await post.round()
    post.clock.advance(400)
    await post.round()
    assert post.sent(drain)[1:] == [["gap", "d"], ["gap", "d"]]
    assert json.loads(post.collector.got[-1][2][0].text)["lost"] == 3
    await post.request(acme, "e")
    await post.round()
    assert post.sent(drain)[-1] == ["e"]
    assert (await post.now(drain)).lost == 3


async def test_the_owner_changes_it_while_a_batch_is_under_way(post: Post) -> None:
    """What the owner says stays; the batch may be sent twice."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    await post.request(acme, "a")
    old = await post.now(drain)
    post.clock.advance(1)
    await post.drains.update(acme.id, drain.id, state=DrainState.PAUSED)
    async with post.world.store.begin() as tx:
        assert not await tx.log_drains.settle(old)
    assert (await post.now(drain)).state is DrainState.PAUSED


async def test_one_that_lost_the_lease_stores_nothing(post: Post) -> None:
    """The batch is sent again by who has it now."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    await post.request(acme, "a")
    lost = Lease(JOB, "first", 0)
    await post.job.round(lost)
    await eventually(lambda: not post.job.busy, "it has tried")
    assert (await post.now(drain)).delivered == 0
    await post.round()
    assert post.sent(drain) == [["a"], ["a"]]


async def test_idle_drains_move_on(post: Post) -> None:
    """One whose tenant has no traffic is not looked for among others' records again and again."""
    acme, globex = await post.world.tenant("Acme"), await post.world.tenant("Globex")
    idle = await post.drain(acme)
    await post.request(globex, "x")
    await post.round()
    post.clock.advance(31)
    await post.round()
    assert (await post.now(idle)).position == await post.kept.newest()
    await post.request(acme, "a")
    await post.round()
    assert post.sent(idle) == [["a"]]


async def test_credentials_go_with_each_batch(post: Post) -> None:
    """They are stored sealed, and sealed anew when the key is replaced; lost ones stop the drain, and say why."""
    acme = await post.world.tenant()
    drain = await post.drain(acme, credentials=Credentials(headers={"X-Key": "hunter2"}))
    assert "hunter2" not in repr(await post.now(drain))
    await post.request(acme, "a")
    await post.round()
    assert post.collector.credentials[-1].headers == {"X-Key": "hunter2"}
    both = post.service(SecretBox([b"n" * 32, b"k" * 32]))
    assert await both.reseal() == (1, 0)
    assert await both.reseal() == (0, 0)
    await post.request(acme, "b")
    await post.round()
    after = await post.now(drain)
    assert "can't be decrypted" in (after.last_error or "")
    assert len(post.sent(drain)) == 1
    assert await post.drains.reseal() == (0, 1)


async def test_credentials_stay_with_their_endpoint(post: Post) -> None:
    """Who may change a drain can't have its headers sent to a host of their own."""
    acme = await post.world.tenant()
    drain = await post.drain(acme, credentials=Credentials(headers={"X-Key": "hunter2"}))
    with pytest.raises(RouterError) as refused:
        await post.drains.update(acme.id, drain.id, url="https://evil.example.com/in")
    assert refused.value.fields == {"headers": ["must be set again, because the URL leads to another host"]}
    moved = await post.drains.update(acme.id, drain.id, url="https://logs.example.com/other")
    assert moved.credentials == drain.credentials
    new = Credentials(headers={"X-Key": "other"})
    await post.drains.update(acme.id, drain.id, url="https://new.example.com/in", credentials=new)


async def test_without_a_key_no_credentials_are_stored(post: Post) -> None:
    """Drains without any are made all the same."""
    acme = await post.world.tenant()
    service = post.service(SecretBox())
    with pytest.raises(RouterError) as refused:
        await service.create(acme.id, name="a", url=URL, credentials=Credentials(headers={"X-Key": "v"}))
    assert refused.value.problem is CONFLICT
    await service.create(acme.id, name="a", url=URL)


async def test_a_new_secret(post: Post) -> None:
    """The old one is good for a day."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    after = await post.drains.update(acme.id, drain.id, rotate_secret=True)
    assert after.secrets(post.clock.now()) == (after.secret, drain.secret)
    post.clock.advance(24 * HOUR)
    assert after.secrets(post.clock.now()) == (after.secret,)


async def test_a_tenant_has_so_many(post: Post) -> None:
    """One more is refused."""
    acme = await post.world.tenant()
    for _ in range(MAX_DRAINS):
        await post.drain(acme)
    with pytest.raises(RouterError) as refused:
        await post.drain(acme)
    assert refused.value.problem is CONFLICT


async def test_another_tenants_drain_is_not_there(post: Post) -> None:
    """Whatever is asked of it."""
    acme, globex = await post.world.tenant("Acme"), await post.world.tenant("Globex")
    drain = await post.drain(acme)
    for asked in (
        post.drains.get(globex.id, drain.id),
        post.drains.update(globex.id, drain.id, name="x"),
        post.drains.delete(globex.id, drain.id),
        post.drains.test(globex.id, drain.id),
    ):
        with pytest.raises(RouterError) as refused:
            await asked
        assert refused.value.problem is NOT_FOUND
    shop = await post.world.sandbox(acme, "shop")
    with pytest.raises(RouterError) as refused:
        await post.drain(globex, resource_id=shop.id)
    assert refused.value.problem is NOT_FOUND


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": "http://logs.example.com/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://localhost/"}, "url"),
        ({"url": "syslog+tls://logs.example.com:6514"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "https://logs.example.com/"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog://logs.example.com:514"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://logs.example.com/path"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://logs.example.com?a=b"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://u:p@logs.example.com"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://logs.example.com:0"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://logs.example.com:99999"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://127.0.0.1:6514"}, "url"),
        ({"kind": DrainKind.SYSLOG, "url": "syslog+tls://l.example.com", "format": BatchFormat.NDJSON}, "format"),
        ({"credentials": Credentials(headers={"Host": "x"})}, "headers"),
        ({"credentials": Credentials(headers={f"X-{n}": "x" for n in range(9)})}, "headers"),
        ({"credentials": Credentials(structured_data="[a@1]")}, "structured_data"),
        ({"name": " "}, "name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(f"{one}" for one in value.values())[:60],
)
async def test_what_is_refused(post: Post, given: dict[str, Any], field: str) -> None:
    """With the field that is wrong."""
    acme = await post.world.tenant()
    with pytest.raises(RouterError) as refused:
        await post.drain(acme, **given)
    assert (refused.value.problem, list(refused.value.fields)) == (VALIDATION_FAILED, [field])


async def test_a_syslog_drain(post: Post) -> None:
    """With or without a port; the default is 6514."""
    acme = await post.world.tenant()
    for url in ("syslog+tls://logs.example.com", "syslog+tls://logs.example.com:16514/"):
        drain = await post.drain(acme, kind=DrainKind.SYSLOG, url=url)
        assert (drain.kind, drain.url) == (DrainKind.SYSLOG, url)


async def test_trying_it_out(post: Post) -> None:
    """One line now, whatever comes of it; its position stays."""
    acme = await post.world.tenant()
    drain = await post.drain(acme)
    assert (await post.drains.test(acme.id, drain.id)).delivered
    post.collector.answers = [Attempt(error="it refuses connections")]
    assert (await post.drains.test(acme.id, drain.id)).error == "it refuses connections"
    assert post.sent(drain) == [["test"], ["test"]]
    assert (await post.now(drain)).failures == 0
