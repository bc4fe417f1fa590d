"""Deliveries of webhooks: when each is tried, what is sent, and what comes of it.

    pending ──► delivered      the endpoint answered 2xx
       │ ▲
       └─┴───► given_up        it did not for 24 hours, or the webhook was switched off: by its owner, or by a 410

A delivery is filed in the transaction of its event, so none is missed. The process with the lease reads those that are
due and tries them; the result is stored under the lease. So each is tried at least once, by one process at a
time, and one that died in between leaves nothing behind but a delivery that is due: receivers may see it twice, with the
same id.

Events with the same ordering key (one domain, one resource) arrive in their order: the next waits until the one before is
delivered or given up. An endpoint that does not respond delays no other: it gets a few connections at most, and one while it fails, and
none for as long as its Retry-After says.

Each POST is signed in three ways: `Miosa-Signature`, ours; `X-MIOSA-Signature`, which the official client verifies; and
the headers of the Standard Webhooks specification. The second has room for one signature, and the client reads only the
last one of the first: while two secrets are good, a receiver that refuses is sent the same again at once, signed the
other way around, so receivers that verify with either secret are served.
"""

import asyncio
import enum
import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from router.base.clock import Clock, iso, not_after
from router.base.leases import GuardedTransactions, Lease
from router.base.paging import Listing, Window
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.tenancy.events import Event
from router.tenancy.signatures import signatures
from router.tenancy.transaction import Tx

DELIVERY_TIMEOUT = timedelta(hours=24)  # how long delivery of an event is tried
EVERY = 1.0  # seconds between two queries of what is due
CONCURRENCY = 128  # deliveries over all webhooks
PER_WEBHOOK = 4

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 3600.0  # seconds; doubled each time
_JITTER = 0.1
MAX_RETRY_AFTER = _LONGEST_PAUSE  # seconds; a longer Retry-After is not honoured
GONE = 410  # an endpoint that responds so is not called again
_ENDED = "the endpoint answered 410 Gone"
_NOT_GENUINE = frozenset({400, 401, 403, 422})  # what receivers respond to a wrong signature
_CLOSE_TIMEOUT = 3.0  # seconds that deliveries under way have when the process stops

_log = structlog.get_logger("router.webhooks")


class DeliveryState(enum.StrEnum):
    """See the picture above."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one webhook. The `last_…` are of the latest try; `last_answer` is how its answer began."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None
    last_at: datetime | None
    last_status: int | None
    last_error: str | None
    last_answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The result of one try: the status and how the response began, or why there was none."""

    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after: float | None = None  # seconds, as the answer asked for

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def wait(self) -> float:
        """Seconds for which the endpoint must not be called; 0 without Retry-After, or when it was delivered."""
        return 0.0 if self.delivered or self.retry_after is None else min(self.retry_after, MAX_RETRY_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery to be tried now, with all that it takes. `secrets` are those to sign with, the current one first."""

    id: str
    webhook_id: str
    url: str
    secrets: tuple[str, ...]
    event: Event
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a delivery is after a try. `next_at` None: there is no further one."""

    id: str
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    attempt: Attempt
    at: datetime


class Sender(Protocol):
    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """POST it. Ends within seconds; network errors are in the result, never raised."""


class DeliveryRows(Protocol):
    """Stored deliveries."""

    async def file(self, webhook_id: str, event: Event) -> Delivery:
        """Store an event that is for this webhook alone."""

    async def list(self, webhook_id: str, window: Window, *, state: DeliveryState | None = None) -> Listing[Delivery]:
        """The newest first."""

    async def get(self, delivery_id: str) -> Delivery | None: ...

    async def replay(self, delivery_id: str, now: datetime) -> Delivery:
        """File the event of a delivery once more for its webhook."""

    async def give_up(self, webhook_id: str, reason: str, now: datetime) -> None:
        """All that are pending."""

    async def waiting(self, now: datetime) -> Sequence[str]:
        """The webhooks that have something due."""

    async def due(self, webhook_id: str, now: datetime, without: Collection[str], limit: int) -> Sequence[Due]:
        """At most `limit` of a webhook's deliveries that are due, those `without` left out; of each ordering key the first alone."""

    async def settle(self, settled: Settled) -> None: ...

    async def switch_off(self, webhook_id: str, url: str, reason: str, now: datetime) -> bool:
        """Switch a webhook off and give up all that it had pending; False where it is off or leads elsewhere by now."""


class Deliveries:
    """Delivers webhooks. Owns the deliveries under way; `close` it before the store and before the lease is given back."""

    def __init__(self, store: GuardedTransactions[Tx], clock: Clock, *, sender: Sender, metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._sender = sender
        self._metrics = metrics
        metrics.gauge("webhook_deliveries_in_flight", lambda: float(len(self)))
        self._tasks = Tasks("webhooks")
        self._under_way: dict[str, tuple[str, asyncio.Task[None]]] = {}  # webhook and task, by delivery
        self._failing: set[str] = set()
        self._asked_to_wait: dict[str, datetime] = {}  # until when, by webhook
        self._choosing = asyncio.Lock()  # so that nothing is chosen twice
        self._stopped = False

    def __len__(self) -> int:
        return len(self._under_way)

    async def round(self, lease: Lease) -> None:
        """Begin to deliver what is due, and don't wait for it. Raises StoreUnavailableError."""
        if self._stopped:
            return
        now = self._clock.now()
        async with self._choosing, self._store.read() as tx:
            waiting = list(await tx.deliveries.waiting(now))
            random.shuffle(waiting)  # where there is no room for all, no webhook is always the last
            self._asked_to_wait = {webhook: until for webhook, until in self._asked_to_wait.items() if until > now}
            for webhook_id in waiting:
                if webhook_id in self._asked_to_wait:
                    continue
                mine = self._of(webhook_id)
                limit = 1 if webhook_id in self._failing else PER_WEBHOOK
                room = min(limit - len(mine), CONCURRENCY - len(self))
                for due in await tx.deliveries.due(webhook_id, now, mine, room) if room > 0 else ():
                    task = self._tasks.start("deliver", self._deliver_on(due, lease))
                    self._under_way[due.id] = webhook_id, task

    async def close(self) -> None:
        """Start nothing new, wait up to three seconds for what is under way, and cancel the rest: it is due again elsewhere."""
        self._stopped = True
        if self._under_way:
            await asyncio.wait([task for _, task in self._under_way.values()], timeout=_CLOSE_TIMEOUT)
        await self._tasks.close()

    async def _deliver_on(self, due: Due, lease: Lease) -> None:
        """Deliver, and then what is due for the same webhook, as long as that goes well: a burst need not wait for rounds."""
        following: Due | None = due
        try:
            while following is not None:
                due, following = following, None
                if await self._deliver(due, lease) and not self._stopped:
                    following = await self._next(due)
        except StoreUnavailableError as error:
            _log.warning("webhook result not stored, delivering again", delivery=due.id, error=str(error))
        finally:
            self._under_way.pop(due.id, None)

    async def _next(self, done: Due) -> Due | None:
        """Another delivery of the same webhook in the place of one that is done."""
        if done.webhook_id in self._asked_to_wait:
            return None
        async with self._choosing, self._store.read() as tx:
            found = await tx.deliveries.due(done.webhook_id, self._clock.now(), self._of(done.webhook_id), 1)
            for due in found:
                self._under_way[due.id] = self._under_way.pop(done.id)
        return found[0] if found else None

    def _of(self, webhook_id: str) -> list[str]:
        """The deliveries of a webhook that are under way."""
        return [delivery for delivery, (of, _) in self._under_way.items() if of == webhook_id]

    async def _deliver(self, due: Due, lease: Lease) -> bool:
        """Try once and store the result; whether it was delivered. Raises StoreUnavailableError."""
        attempt = await self._try(due)
        (self._failing.discard if attempt.delivered else self._failing.add)(due.webhook_id)
        now = self._clock.now()
        settled = settle(due, attempt, now, random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret
        if attempt.wait:
            self._asked_to_wait[due.webhook_id] = now + timedelta(seconds=attempt.wait)
        async with self._store.begin(under=lease) as tx:
            await tx.deliveries.settle(settled)
            if attempt.status == GONE and await tx.deliveries.switch_off(due.webhook_id, due.url, _ENDED, now):
                data = {"webhook_id": due.webhook_id, "reason": _ENDED}
                await tx.events.emit("webhook.switched_off", now, tenant_id=due.event.tenant_id, data=data)
        self._metrics.count("webhook_deliveries", settled.state.value)
        _log.info(
            "webhook sent",
            webhook=due.webhook_id,
            delivery=due.id,
            type=due.event.type,
            state=settled.state.value,
            attempt=settled.attempts,
            status=attempt.status,
            error=attempt.error,
        )
        return attempt.delivered

    async def _try(self, due: Due) -> Attempt:
        try:
            attempt = await self._sender.send(due.url, *message(due, self._clock.now()))
            if len(due.secrets) > 1 and attempt.status in _NOT_GENUINE:
                other = replace(due, secrets=due.secrets[::-1])
                attempt = await self._sender.send(due.url, *message(other, self._clock.now()))
            return attempt
        except Exception:  # noqa: BLE001  # a bug of ours counts as a try, else it would be retried each second
            _log.exception("webhook delivery failed", webhook=due.webhook_id, delivery=due.id)
            return Attempt(error="it could not be sent")


def settle(due: Due, attempt: Attempt, now: datetime, jitter: float = 1.0) -> Settled:
    """What a delivery is after a try. The pause before the next doubles each time, times `jitter`; it is no shorter than
    the endpoint asked for, up to MAX_RETRY_AFTER."""
    attempts = due.attempts + 1
    state, next_at = DeliveryState.DELIVERED, None
    if not attempt.delivered:
        pause = min(_FIRST_PAUSE * 2.0 ** min(due.attempts, 30), _LONGEST_PAUSE) * jitter
        later = now + timedelta(seconds=max(pause, attempt.wait))
        again = attempt.status != GONE and later <= not_after(due.created_at, now) + DELIVERY_TIMEOUT
        state, next_at = (DeliveryState.PENDING, later) if again else (DeliveryState.GIVEN_UP, None)
    return Settled(id=due.id, state=state, attempts=attempts, next_at=next_at, attempt=attempt, at=now)


def message(due: Due, now: datetime) -> tuple[bytes, Mapping[str, str]]:
    """The body and the headers of one try."""
    body = body_of(due.event)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "miosa-router webhooks",
        "Miosa-Event-Id": due.event.id,
        "Miosa-Event-Type": due.event.type,
        "Miosa-Delivery": due.id,
    }
    return body, headers | signatures(body, due.event.id, due.secrets, int(now.timestamp()))


def body_of(event: Event) -> bytes:
    """An event as JSON, with the API's field names."""
    names = ("id", "type", "tenant_id", "workspace_id", "project_id", "resource_id", "domain_id")
    shown = {name: getattr(event, name) for name in names}
    return json.dumps({**shown, "data": event.data, "created_at": iso(event.created_at)}).encode()


def ordering_key_of(event: Event) -> str:
    """Events with the same one are delivered in their order: those of a domain, a resource, else of what they lie in."""
    about = event.domain_id or event.data.get("domain") or event.resource_id
    return str(about or event.project_id or event.workspace_id or event.tenant_id)
