"""Webhooks on a real store: what is filed, when it is tried, in which order, and what a death in between leaves behind."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio
from miosa import verify_signature

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.base.leases import Lease
from router.errors import CONFLICT, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.observe.metrics import Metrics
from router.tenancy.deliveries import PER_WEBHOOK, Attempt, Deliveries, Delivery
from router.tenancy.destinations import Destinations
from router.tenancy.events import EventFilter
from router.tenancy.tenants import Tenant
from router.tenancy.webhooks import MAX_WEBHOOKS, Webhook, Webhooks
from tests.support.database import on_sqlite, prune
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.asyncio

OK, BROKEN = Attempt(status=204), Attempt(status=500, answer="oh no")
JOB = "deliver_webhooks"


class Receivers:
    """All the endpoints that there are: they note what comes, and answer as they are told, 204 unless told otherwise. One
    that is `held` answers nothing until it is let go; one that `verifies` does so as the official client, and answers 401."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, Mapping[str, str]]] = []  # URL, event id, headers
        self.answers: dict[str, Attempt] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self.open = 0
        self.verifies: dict[str, str] = {}  # with which secret, by URL

    def hold(self, url: str) -> None:
        self._gates[url] = asyncio.Event()

    def let_go(self, url: str) -> None:
        self._gates.pop(url).set()

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        if (secret := self.verifies.get(url)) and not verify_signature(body, headers["X-MIOSA-Signature"], secret):
            return Attempt(status=401)
        self.open += 1
        try:
            self.got.append((url, json.loads(body)["id"], headers))
            if url in self._gates:
                await self._gates[url].wait()
            return self.answers.get(url, OK)
        finally:
            self.open -= 1

    def at(self, url: str) -> list[str]:
        """The ids of the events that came there."""
        return [event_id for to, event_id, _ in self.got if to == url]


class Post:
    """A store with webhooks on it, and one process that delivers."""

    def __init__(self, world: World, clock: ManualClock) -> None:
        self.world = world
        self.store = world.store
        self.clock = clock
        self.receivers = Receivers()
        self.metrics = Metrics()
        self.webhooks = Webhooks(world.store, clock, destinations=Destinations())
        self.deliveries = Deliveries(world.store, clock, sender=self.receivers, metrics=self.metrics)
        self.lease = Lease(JOB, "nobody", 0)

    async def begin(self, holder: str = "first") -> None:
        """Take the lease."""
        lease = await self.store.leases.acquire(JOB, holder, 60)
        assert lease is not None
        self.lease = lease

    async def hook(self, tenant: Tenant, url: str = "https://a.example/", *types: str, **options: Any) -> Webhook:
        return await self.webhooks.create(tenant.id, url=url, event_types=types or ("*",), **options)

    async def emit(self, tenant: Tenant, event_type: str = "domain.verified", **place: Any) -> str:
        """One event; its id."""
        data = place.pop("data", {})
        async with self.store.begin() as tx:
            await tx.events.emit(event_type, self.clock.now(), tenant_id=tenant.id, data=data, **place)
        newest = await self.world.events.list(EventFilter(tenant_id=tenant.id))
        self.clock.advance(0.001)
        return newest.items[0].id

    async def round(self) -> None:
        """Look for what is due, and wait until it is dealt with, except for what is held."""
        await self.deliveries.round(self.lease)
        await eventually(lambda: len(self.deliveries) == self.receivers.open, "what answers is dealt with")

    async def all(self, webhook: Webhook) -> Sequence[Delivery]:
        return (await self.webhooks.deliveries(webhook.id)).items

    async def states(self, webhook: Webhook) -> list[str]:
        """Of its deliveries, the oldest first."""
        return [delivery.state.value for delivery in reversed(await self.all(webhook))]


@pytest_asyncio.fixture
async def post(world: World, clock: ManualClock) -> AsyncIterator[Post]:
    opened = Post(world, clock)
    await opened.begin()
    yield opened
    await opened.deliveries.close()


async def undone(post: Post, tenant: Tenant) -> None:
    """An event whose transaction fails."""
    async with post.store.begin() as tx:
        await tx.events.emit("domain.lost", post.clock.now(), tenant_id=tenant.id, data={})
        raise RouterError(CONFLICT)


async def test_an_event_is_filed_with_its_change(post: Post) -> None:
    """Committed together, undone together; nothing for those who have no webhook."""
    acme, globex = await post.world.tenant("Acme"), await post.world.tenant("Globex")
    webhook = await post.hook(acme)
    await post.emit(acme)
    await post.emit(globex)
    with pytest.raises(RouterError):
        await undone(post, acme)
    (delivery,) = await post.all(webhook)
    assert (delivery.event_type, delivery.state, delivery.attempts) == ("domain.verified", "pending", 0)


async def test_which_events(post: Post) -> None:
    """Exact types, all of a kind, all; of several that fit one delivery."""
    tenant = await post.world.tenant()
    hooks = {
        types: await post.hook(tenant, "https://a.example/", *types)
        for types in (("domain.verified",), ("domain.*",), ("domain.*", "domain.verified", "*"), ("*",), ("main.*",))
    }
    for event_type in ("domain.verified", "domain.failed", "domain_x.verified", "sandbox.created"):
        await post.emit(tenant, event_type)
    heard = {types: [one.event_type for one in reversed(await post.all(hook))] for types, hook in hooks.items()}
    everything = ["domain.verified", "domain.failed", "domain_x.verified", "sandbox.created"]
    assert heard == {
        ("domain.verified",): ["domain.verified"],
        ("domain.*",): ["domain.verified", "domain.failed"],
        ("domain.*", "domain.verified", "*"): everything,
        ("*",): everything,
        ("main.*",): [],
    }


async def test_whose_events(post: Post) -> None:
    """A project's webhook hears of its project, a workspace's of its workspace, the tenant's of everything."""
    tenant = await post.world.tenant()
    workspace = await post.world.workspace(tenant, "Clinic")
    project = await post.world.project(workspace, "Site")
    whole = await post.hook(tenant)
    of_workspace = await post.hook(tenant, workspace_id=workspace.id)
    of_project = await post.hook(tenant, project_id=project.id)
    assert (of_project.workspace_id, of_project.project_id) == (workspace.id, project.id)
    other = new_id()
    inside = await post.emit(tenant, workspace_id=workspace.id, project_id=project.id)
    beside = await post.emit(tenant, workspace_id=workspace.id, project_id=other)
    moved = await post.emit(tenant, workspace_id=other, project_id=project.id)
    nowhere = await post.emit(tenant)
    heard = [{one.event_id for one in await post.all(hook)} for hook in (whole, of_workspace, of_project)]
    assert heard == [{inside, beside, moved, nowhere}, {inside, beside}, {inside, moved}]


async def test_delivered(post: Post) -> None:
    """Signed, once, and shown with what came back."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    event_id = await post.emit(tenant, data={"domain_id": new_id()})
    await post.round()
    await post.round()
    ((url, sent, headers),) = post.receivers.got
    (delivery,) = await post.all(webhook)
    assert (url, sent, headers["Miosa-Delivery"]) == (webhook.url, event_id, delivery.id)
    assert (delivery.state, delivery.attempts, delivery.next_at, delivery.last_status) == ("delivered", 1, None, 204)
    scraped = post.metrics.render("")[0].decode()
    assert 'webhook_deliveries_total{result="delivered"} 1.0' in scraped


async def test_tried_again_until_it_works(post: Post) -> None:
    """The same delivery, after a while and no sooner."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    post.receivers.answers[webhook.url] = BROKEN
    await post.emit(tenant)
    await post.round()
    (delivery,) = await post.all(webhook)
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("pending", 1, 500)
    assert (delivery.last_answer, delivery.last_error) == ("oh no", None)
    assert delivery.next_at is not None
    assert 4.4 < (delivery.next_at - post.clock.now()).total_seconds() < 5.6
    await post.round()
    assert len(post.receivers.got) == 1
    del post.receivers.answers[webhook.url]
    post.clock.advance(6)
    await post.round()
    assert await post.states(webhook) == ["delivered"]
    assert len({headers["Miosa-Delivery"] for *_, headers in post.receivers.got}) == 1


async def test_given_up_after_a_day(post: Post) -> None:
    """It is kept and shown, and what waited behind it has its turn."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    post.receivers.answers[webhook.url] = Attempt(error="it refuses connections")
    about = {"domain_id": new_id()}
    await post.emit(tenant, data=about)
    post.clock.advance(3600 * 5)
    await post.emit(tenant, data=about)
    await post.round()
    post.clock.advance(3600 * 20)
    await post.round()
    assert await post.states(webhook) == ["given_up", "pending"]
    post.receivers.answers.clear()
    await post.round()
    assert await post.states(webhook) == ["given_up", "delivered"]
    gone = (await post.webhooks.deliveries(webhook.id)).items[1]
    assert (gone.attempts, gone.next_at, gone.last_error) == (2, None, "it refuses connections")


async def test_the_order_of_a_domain(post: Post) -> None:
    """A later event of the same domain waits for the earlier one, whatever happens to that; others don't."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    one, other = {"domain_id": new_id()}, {"domain_id": new_id()}
    post.receivers.answers[webhook.url] = BROKEN
    first = await post.emit(tenant, data=one)
    await post.round()
    del post.receivers.answers[webhook.url]
    second = await post.emit(tenant, data=one)
    beside = await post.emit(tenant, data=other)
    third = await post.emit(tenant, data=one)
    await post.round()
    assert post.receivers.at(webhook.url) == [first, beside]
    post.clock.advance(6)
    for _ in range(3):
        await post.round()
    assert post.receivers.at(webhook.url) == [first, beside, first, second, third]


async def test_a_slow_one_keeps_its_domain_waiting(post: Post) -> None:
    """While the first is under way the second is not begun."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    about = {"domain_id": new_id()}
    post.receivers.hold(webhook.url)
    first, second = await post.emit(tenant, data=about), await post.emit(tenant, data=about)
    await post.round()
    await post.round()
    assert post.receivers.at(webhook.url) == [first]
    post.receivers.let_go(webhook.url)
    await eventually(lambda: len(post.deliveries) == 0, "the first is through")
    await post.round()
    assert post.receivers.at(webhook.url) == [first, second]


async def test_a_burst_needs_one_look(post: Post) -> None:
    """What is due for a webhook that answers goes out one after the other, without a pause, each once."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    ids = [
        await post.emit(tenant, data={"domain_id": domain_id}) for domain_id in (new_id(), new_id()) for _ in range(15)
    ]
    await post.round()
    assert sorted(post.receivers.at(webhook.url)) == sorted(ids)
    assert set(await post.states(webhook)) == {"delivered"}


async def test_a_dead_endpoint_holds_up_nobody(post: Post) -> None:
    """It gets a few connections, and one once it is known to fail; the others get all of theirs."""
    tenant = await post.world.tenant()
    dead, alive = await post.hook(tenant, "https://dead.example/"), await post.hook(tenant, "https://alive.example/")
    post.receivers.hold(dead.url)
    ids = [await post.emit(tenant, data={"domain_id": new_id()}) for _ in range(PER_WEBHOOK * 3)]
    for _ in range(3):
        await post.round()
    assert sorted(post.receivers.at(alive.url)) == sorted(ids)
    assert len(post.receivers.at(dead.url)) == PER_WEBHOOK
    post.receivers.answers[dead.url] = Attempt(error="no answer")
    post.receivers.let_go(dead.url)
    await eventually(lambda: len(post.deliveries) == 0, "its deliveries have failed")
    post.receivers.hold(dead.url)
    await post.round()
    await post.round()
    assert len(post.receivers.at(dead.url)) == PER_WEBHOOK + 1
    post.receivers.let_go(dead.url)


async def test_a_process_that_dies(post: Post) -> None:
    """What it had under way goes out again, with the same id, from the process that has the lease next; nothing is lost."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    event_id = await post.emit(tenant)
    post.receivers.hold(webhook.url)
    await post.round()
    await post.deliveries._tasks.close()  # as kill -9 does: nothing is stored
    await post.store.leases.release(post.lease)
    post.receivers.let_go(webhook.url)
    successor = Post(post.world, post.clock)
    await successor.begin("second")
    await successor.round()
    assert successor.receivers.at(webhook.url) == post.receivers.at(webhook.url) == [event_id]
    assert await post.states(webhook) == ["delivered"]
    await successor.deliveries.close()


async def test_a_process_that_lost_the_lease(post: Post) -> None:
    """What it finds out afterwards is not written: another knows better by then."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    await post.emit(tenant)
    post.receivers.hold(webhook.url)
    post.receivers.answers[webhook.url] = BROKEN
    await post.round()
    await post.store.leases.release(post.lease)
    assert await post.store.leases.acquire(JOB, "second", 60)
    post.receivers.let_go(webhook.url)
    await eventually(lambda: len(post.deliveries) == 0, "it is through")
    (delivery,) = await post.all(webhook)
    assert (delivery.state, delivery.attempts) == ("pending", 0)


async def test_the_end_waits_a_moment(post: Post) -> None:
    """What is under way is finished and written, and nothing new is begun."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    post.receivers.hold(webhook.url)
    await post.emit(tenant)
    await post.round()
    asyncio.get_running_loop().call_later(0.05, post.receivers.let_go, webhook.url)
    await post.deliveries.close()
    assert await post.states(webhook) == ["delivered"]
    await post.emit(tenant)
    await post.deliveries.round(post.lease)
    assert len(post.receivers.got) == 1


async def test_a_bug_counts_as_a_try(post: Post) -> None:
    """What can't be sent for a reason of ours is not tried each second for ever."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    await post.emit(tenant)

    async def send(url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        raise KeyError(url)

    post.receivers.send = send  # type: ignore[method-assign]
    await post.deliveries.round(post.lease)
    await eventually(lambda: len(post.deliveries) == 0, "it is through")
    (delivery,) = await post.all(webhook)
    assert (delivery.attempts, delivery.last_error) == (1, "it could not be sent")


async def test_a_new_secret(post: Post) -> None:
    """For a day both sign, the new one first."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    rotated = await post.webhooks.rotate(webhook.id)
    assert rotated.secret != webhook.secret
    assert rotated.secret.startswith("whsec_")
    for pause in (0, 86400):
        post.clock.advance(pause)
        await post.emit(tenant)
        await post.round()
    signatures = [headers["Miosa-Signature"].count("v1=") for *_, headers in post.receivers.got]
    assert signatures == [2, 1]
    assert webhook.secret not in repr(webhook)


async def test_rotation_under_the_official_verifier(post: Post) -> None:
    """For a day a receiver that knows either secret gets every event, each once; after it the new one alone is good."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    rotated = await post.webhooks.rotate(webhook.id)
    ids = []
    for secret in (webhook.secret, rotated.secret):
        post.receivers.verifies[webhook.url] = secret
        ids.append(await post.emit(tenant))
        await post.round()
        assert post.receivers.at(webhook.url) == ids
    assert await post.states(webhook) == ["delivered", "delivered"]
    post.clock.advance(86400)
    post.receivers.verifies[webhook.url] = webhook.secret
    await post.emit(tenant)
    await post.round()
    (latest, *_) = await post.all(webhook)
    assert (latest.state, latest.last_status) == ("pending", 401)


async def test_gone(post: Post) -> None:
    """410 switches a webhook off: what was pending is given up, and an event says why; another URL by then is left alone."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    post.receivers.answers[webhook.url] = Attempt(status=410)
    about = {"domain_id": new_id()}
    await post.emit(tenant, data=about)
    await post.emit(tenant, data=about)
    await post.round()
    assert not (await post.webhooks.get(webhook.id)).enabled
    assert await post.states(webhook) == ["given_up", "given_up"]
    (event, *_) = (await post.world.events.list(EventFilter(tenant_id=tenant.id))).items
    assert event.type == "webhook.switched_off"
    assert event.data == {"webhook_id": webhook.id, "reason": "the endpoint answered 410 Gone"}

    await post.webhooks.update(webhook.id, enabled=True)
    await post.emit(tenant)
    post.receivers.hold(webhook.url)
    await post.round()
    await post.webhooks.update(webhook.id, url="https://b.example/")
    post.receivers.let_go(webhook.url)
    await eventually(lambda: len(post.deliveries) == 0, "it is through")
    assert (await post.webhooks.get(webhook.id)).enabled


async def test_an_endpoint_that_asks_to_wait(post: Post) -> None:
    """Nothing goes there for as long as it says, new events neither; then everything does."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    post.receivers.answers[webhook.url] = Attempt(status=503, retry_after=60.0)
    ids = [await post.emit(tenant)]
    await post.round()
    del post.receivers.answers[webhook.url]
    ids.append(await post.emit(tenant))
    post.clock.advance(58)
    await post.round()
    assert len(post.receivers.got) == 1
    post.clock.advance(3)
    for _ in ids:
        await post.round()
    assert post.receivers.at(webhook.url) == [ids[0], *ids]
    assert await post.states(webhook) == ["delivered", "delivered"]


async def test_switched_off(post: Post) -> None:
    """What was pending is given up, and nothing more is filed until it is on again."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    await post.emit(tenant)
    await post.webhooks.update(webhook.id, enabled=False)
    await post.emit(tenant)
    await post.round()
    (delivery,) = await post.all(webhook)
    assert (delivery.state, delivery.last_error) == ("given_up", "the webhook was switched off")
    with pytest.raises(RouterError, match="switched off") as refused:
        await post.webhooks.test(webhook.id)
    assert refused.value.problem is CONFLICT
    await post.webhooks.update(webhook.id, enabled=True)
    await post.emit(tenant)
    await post.round()
    assert await post.states(webhook) == ["given_up", "delivered"]


async def test_deleted_while_it_is_under_way(post: Post) -> None:
    """Nothing is left of it, and nothing fails."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    await post.emit(tenant)
    post.receivers.hold(webhook.url)
    await post.round()
    await post.webhooks.delete(webhook.id)
    post.receivers.let_go(webhook.url)
    await eventually(lambda: len(post.deliveries) == 0, "it is through")
    assert await post.all(webhook) == ()
    with pytest.raises(RouterError) as refused:
        await post.webhooks.get(webhook.id)
    assert refused.value.problem is NOT_FOUND


async def test_a_project_s_webhooks_go_where_it_goes(post: Post) -> None:
    """Managers of the workspace that it left must not be able to redirect its events."""
    tenant = await post.world.tenant()
    left, entered = [await post.world.workspace(tenant, name) for name in ("Left", "Entered")]
    project = await post.world.project(left, "Site")
    hook = await post.hook(tenant, workspace_id=left.id, project_id=project.id)
    other = await post.hook(tenant, workspace_id=left.id)
    await post.world.projects.move(project.id, entered.id)
    assert (await post.webhooks.get(hook.id)).workspace_id == entered.id
    assert (await post.webhooks.get(other.id)).workspace_id == left.id


async def test_a_test_goes_to_one_alone(post: Post) -> None:
    """Whatever the others asked for; it is an event like any other."""
    tenant = await post.world.tenant()
    one, other = await post.hook(tenant), await post.hook(tenant, "https://b.example/")
    delivery = await post.webhooks.test(one.id)
    await post.round()
    assert post.receivers.at(one.url) == [delivery.event_id]
    assert await post.all(other) == ()
    assert (await post.world.events.get(delivery.event_id)).type == "webhook.test"


async def test_deliveries_go_with_their_events(post: Post) -> None:
    """When the time that events are kept is over."""
    tenant = await post.world.tenant()
    webhook = await post.hook(tenant)
    await post.emit(tenant)
    await post.round()
    post.clock.advance(31 * 86400)
    new = await post.emit(tenant)
    await prune(post.store, post.clock)
    assert [delivery.event_id for delivery in await post.all(webhook)] == [new]


@on_sqlite
async def test_what_a_webhook_may_be(post: Post) -> None:
    """Every mistake is named."""
    tenant, stranger = await post.world.tenant("Acme"), await post.world.tenant("Globex")
    foreign = await post.world.workspace(stranger, "Clinic")
    own = await post.world.workspace(tenant, "Own")
    project = await post.world.project(await post.world.workspace(tenant, "Other"), "Site")
    wrong: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
        ({"url": "http://a.example/"}, {"url": ["must begin with https://"]}),
        ({"url": " "}, {"url": ["can't be blank"]}),
        ({"event_types": []}, {"event_types": ["can't be blank"]}),
        ({"event_types": ["domain"]}, {"event_types": ["'domain' is no type, such as domain.verified or domain.*"]}),
        (
            {"event_types": [f"a.{letter}{other}" for letter in "abcdefgh" for other in "abcdefg"]},
            {"event_types": ["should have at most 50 item(s)"]},
        ),
        ({"description": "x" * 256}, {"description": ["should be at most 255 character(s)"]}),
        ({"workspace_id": foreign.id}, {"workspace_id": ["does not exist"]}),
        ({"project_id": new_id()}, {"project_id": ["does not exist"]}),
        ({"project_id": project.id, "workspace_id": own.id}, {"workspace_id": ["is not the project's"]}),
    ]
    for options, fields in wrong:
        with pytest.raises(RouterError) as refused:
            await post.webhooks.create(tenant.id, **{"url": "https://a.example/", "event_types": ["*"], **options})
        assert (refused.value.problem, refused.value.fields) == (VALIDATION_FAILED, fields)
    for _ in range(MAX_WEBHOOKS):
        await post.hook(tenant)
    with pytest.raises(RouterError, match="at most 50 webhooks"):
        await post.hook(tenant)
    await post.hook(stranger)
