"""Deliveries of webhooks: when each is tried, what is sent, and what comes of it.

    pending ──► delivered      the endpoint answered 2xx
       │ ▲
       └─┴───► given_up        it did not for a day, or the webhook was switched off

A delivery is filed in the transaction of its event, so none is missed. Whoever holds the lease looks for those that are
due and tries them; what comes of it is written under the lease. So each is tried at least once, by one process at a
time, and one that died in between leaves nothing behind but a delivery that is due: receivers may see it twice, with the
same id.

Events of one lane (one domain, one resource) arrive in their order: the next waits until the one before is delivered or
given up. An endpoint that is dead holds up itself alone: it gets a few connections at most, and one while it fails.
"""

import asyncio
import enum
import hashlib
import hmac
import json
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from router.clock import Clock, iso
from router.errors import StoreUnavailableError
from router.leases import Lease
from router.observe.metrics import Metrics
from router.tasks import Tasks
from router.tenancy.events import Event

PATIENCE = timedelta(hours=24)  # how long an event is tried to be delivered
EVERY = 1.0  # seconds between two looks for what is due
AT_ONCE = 128  # deliveries over all webhooks
PER_WEBHOOK = 4

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 3600.0  # seconds; doubled each time
_JITTER = 0.1
_LAST_WORDS = 3.0  # seconds that deliveries under way have when the process ends

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
    """What came of one try: the status and how the answer began, or why there was none."""

    status: int | None = None
    error: str | None = None
    answer: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


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
        """POST it; ends within seconds and raises nothing that the network could be the cause of."""


class DeliveryRows(Protocol):
    """Stored deliveries."""

    async def waiting(self, now: datetime) -> Sequence[str]:
        """The webhooks that have something due."""

    async def due(self, webhook_id: str, now: datetime, without: Collection[str], most: int) -> Sequence[Due]:
        """At most so many of a webhook's deliveries that are due, those `without` left out; the first of each lane alone."""

    async def settle(self, settled: Settled) -> None: ...


class DeliveriesTx(Protocol):
    @property
    def deliveries(self) -> DeliveryRows: ...


class Guarded(Protocol):
    """A store whose transactions may depend on a lease."""

    def begin(self, under: Lease | None = None) -> AbstractAsyncContextManager[DeliveriesTx]: ...

    def read(self) -> AbstractAsyncContextManager[DeliveriesTx]: ...


class Deliveries:
    """Delivers. Owns what is under way; `close` it before the store and before the lease is given back."""

    def __init__(self, store: Guarded, clock: Clock, *, sender: Sender, metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._sender = sender
        self._metrics = metrics
        metrics.gauge("webhook_deliveries_in_flight", lambda: float(len(self)))
        self._tasks = Tasks("webhooks")
        self._under_way: dict[str, tuple[str, asyncio.Task[None]]] = {}  # webhook and task, by delivery
        self._failing: set[str] = set()
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
            random.shuffle(waiting)  # where there is no room for all, nobody is always the last
            for webhook_id in waiting:
                mine = self._of(webhook_id)
                most = 1 if webhook_id in self._failing else PER_WEBHOOK
                room = min(most - len(mine), AT_ONCE - len(self))
                for due in await tx.deliveries.due(webhook_id, now, mine, room) if room > 0 else ():
                    task = self._tasks.start("deliver", self._deliver_on(due, lease))
                    self._under_way[due.id] = webhook_id, task

    async def close(self) -> None:
        """Begin nothing new, wait a moment for what is under way, and end the rest: it is due again elsewhere."""
        self._stopped = True
        if self._under_way:
            await asyncio.wait([task for _, task in self._under_way.values()], timeout=_LAST_WORDS)
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
            _log.warning("what came of a webhook is not known: it goes out again", delivery=due.id, error=str(error))
        finally:
            self._under_way.pop(due.id, None)

    async def _next(self, done: Due) -> Due | None:
        """Another delivery of the same webhook in the place of one that is done."""
        async with self._choosing, self._store.read() as tx:
            found = await tx.deliveries.due(done.webhook_id, self._clock.now(), self._of(done.webhook_id), 1)
            for due in found:
                self._under_way[due.id] = self._under_way.pop(done.id)
        return found[0] if found else None

    def _of(self, webhook_id: str) -> list[str]:
        """The deliveries of a webhook that are under way."""
        return [delivery for delivery, (of, _) in self._under_way.items() if of == webhook_id]

    async def _deliver(self, due: Due, lease: Lease) -> bool:
        """Try once, and write down what came of it; whether it went well. Raises StoreUnavailableError."""
        attempt = await self._try(due)
        (self._failing.discard if attempt.delivered else self._failing.add)(due.webhook_id)
        settled = settle(due, attempt, self._clock.now(), random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  # no secret
        async with self._store.begin(under=lease) as tx:
            await tx.deliveries.settle(settled)
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
            return await self._sender.send(due.url, *message(due, self._clock.now()))
        except Exception:  # noqa: BLE001  # a bug of ours counts as a try, else it would be repeated each second
            _log.exception("a webhook could not be sent", webhook=due.webhook_id, delivery=due.id)
            return Attempt(error="it could not be sent")


def settle(due: Due, attempt: Attempt, now: datetime, jitter: float = 1.0) -> Settled:
    """What a delivery is after a try. The pause before the next doubles each time, times `jitter`."""
    attempts = due.attempts + 1
    state, next_at = DeliveryState.DELIVERED, None
    if not attempt.delivered:
        pause = min(_FIRST_PAUSE * 2.0 ** min(due.attempts, 30), _LONGEST_PAUSE) * jitter
        later = now + timedelta(seconds=pause)
        again = later <= due.created_at + PATIENCE
        state, next_at = (DeliveryState.PENDING, later) if again else (DeliveryState.GIVEN_UP, None)
    return Settled(id=due.id, state=state, attempts=attempts, next_at=next_at, attempt=attempt, at=now)


def message(due: Due, now: datetime) -> tuple[bytes, Mapping[str, str]]:
    """The body and the headers of one try."""
    body = body_of(due.event)
    stamp = int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "miosa-router webhooks",
        "Miosa-Event-Id": due.event.id,
        "Miosa-Event-Type": due.event.type,
        "Miosa-Delivery": due.id,
        "Miosa-Signature": ",".join((f"t={stamp}", *(f"v1={sign(secret, stamp, body)}" for secret in due.secrets))),
    }
    return body, headers


def body_of(event: Event) -> bytes:
    """An event as JSON, with the API's field names."""
    names = ("id", "type", "tenant_id", "workspace_id", "project_id", "resource_id", "domain_id")
    shown = {name: getattr(event, name) for name in names}
    return json.dumps({**shown, "data": event.data, "created_at": iso(event.created_at)}).encode()


def sign(secret: str, stamp: int, body: bytes) -> str:
    """HMAC-SHA256 over `<seconds since 1970>.<body>`, in hexadecimal digits."""
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def lane_of(event: Event) -> str:
    """Events with the same one are delivered in their order: those of a domain, a resource, else of what they lie in."""
    about = event.domain_id or event.data.get("domain") or event.resource_id
    return str(about or event.project_id or event.workspace_id or event.tenant_id)
