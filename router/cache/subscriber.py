"""Hears of every change that any process has committed: from the bus, and from the store while the bus is lost.

Each message on the bus says which rows of the outbox it covers, so a missed one is noticed: a message that starts after
the last known row, or a heartbeat that is further. Then everything remembered is dropped, as it is after every
reconnection. A subscription may be dead without an error (its server frozen, or cut off from the rest): after some
silence we publish a probe ourselves, and connect anew where we do not hear it.

As soon as a heartbeat is late, the store is read instead (`routes/follower.py`), from where the bus fell silent. So Redis
and all publishers may be away or hang for any time, and a change still arrives everywhere within two seconds, as who
revokes a key or makes a preview private is promised.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.cache.client import CacheUnavailableError, Client
from router.cache.messages import PROBE, BusMessage, decode_message
from router.cache.watermark import Watermark
from router.observe.metrics import Metrics
from router.routes.feed import Feed
from router.routes.follower import OutboxFollower
from router.settings import Redis

_POLL_INTERVAL = 0.05  # seconds between reads of the outbox while the bus is lost
_LEAST_WAIT = 0.001  # seconds: a timer may come a little early
_LATE = 0.5  # seconds that a heartbeat may be late
_RETRY = (0.05, 1.0)  # seconds between tries to subscribe: the first, the longest

_log = structlog.get_logger("router.cache")


class _BusSilence:
    """routes.follower.Watch: there is something to read in the store while the bus is not heard.

    `left` is for how many seconds it still counts as heard, without another word.
    """

    def __init__(self, left: Callable[[], float]) -> None:
        self._left = left
        self._news = asyncio.Event()

    def news(self) -> None:
        """`left` says something else: the connection is lost, or a heartbeat was heard. A call of `pause` that waits returns at
        once, so that none wakes this process half a second after each heartbeat, to see that there was another."""
        self._news.set()
        self._news = asyncio.Event()

    def moved(self) -> bool:
        return self._left() <= 0

    async def pause(self) -> None:
        left = self._left()
        if left <= 0:
            await asyncio.sleep(_POLL_INTERVAL)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._news.wait()

    async def back_off(self, wait: float) -> None:
        await asyncio.sleep(min(wait, _RETRY[1]))

    def close(self) -> None:
        """Nothing is open."""


class Subscriber:
    """Calls `on_keys` with what changed, and `on_gap` where something may have been missed: drop everything then."""

    def __init__(
        self,
        client: Client,
        settings: Redis,
        *,
        feed: Feed,
        watermark: Watermark,
        on_keys: Callable[[Sequence[str]], object],
        on_gap: Callable[[], object],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._client = client
        self._settings = settings
        self._watermark = watermark
        self._metrics = metrics
        self._clock = clock
        self._now = clock.monotonic
        self._breaker = client.breaker()
        self._tasks = Tasks("subscriber")
        self._silence = _BusSilence(lambda: self._heard_for(min(settings.silence, settings.heartbeat + _LATE)))
        self._follower = OutboxFollower(
            feed,
            self._silence,
            on_keys=on_keys,
            on_gap=on_gap,
            on_position=self._happened,
        )
        self._heard_at: float | None = None  # when the bus last said anything, our own probes included
        self._message_at: float | None = None  # when a publisher last did
        self.published = 0  # everything up to this change has been on the bus
        self.error: str | None = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether the bus is heard."""
        return self._heard_for(self._settings.silence) > 0

    def _heard_for(self, seconds: float) -> float:
        """How much is left of these seconds since it last said anything; 0 or less: it is silent."""
        return 0.0 if self._message_at is None else self._message_at + seconds - self._now()

    async def start(self, *, required: bool = True) -> None:
        """Hear of what is committed from now on. Raises StoreUnavailableError where the store is away and `required`; else
        Redis is believed as it stands until the store says more."""
        await self._follower.start(required=required)
        self._tasks.start("listen", self._listen())

    def committed(self, keys: Sequence[str], number: int) -> None:
        """This process has changed these records; `number` is the newest of the changes."""
        self._follower.committed(keys, number)

    async def close(self) -> None:
        """Hear no more."""
        await self._tasks.close()
        await self._follower.close()

    def _happened(self, to: int, numbers: Mapping[str, int] | None) -> None:
        # From now on Redis must know of these changes to be believed. A heartbeat, which has no keys, comes from a
        # publisher that has told every shard of as much.
        if numbers:
            self._watermark.heard(numbers.items())
        else:
            self._watermark.heard_all(to)

    async def _listen(self) -> None:
        first, longest = _RETRY
        wait = first
        while True:
            try:
                async with self._client.subscription(f"{self._settings.prefix}bus") as pubsub:
                    # What was committed before may have been missed; what is committed from now on will be heard.
                    await self._follower.restart()
                    self._heard_at = self._now()
                    wait = first
                    await self._hear_all(pubsub)
            except (RedisError, OSError, CacheUnavailableError) as error:
                if self.error is None:
                    _log.warning("bus lost", error=str(error))
                self.error = str(error) or type(error).__name__
                self._message_at = None
                self._silence.news()
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - so that not all come back at once
            wait = min(wait * 2, longest)

    async def _hear_all(self, pubsub: PubSub) -> None:
        silence, called = self._settings.silence, False
        while True:
            left = (self._heard_at or 0) + (silence if called else silence / 2) - self._now()
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=max(_LEAST_WAIT, left))
            quiet = self._now() - (self._heard_at or 0)
            if message is not None and message["type"] == "message":
                self._heard_at, called = self._now(), False
                self._hear(message["data"])
            elif quiet >= silence:
                raise CacheUnavailableError(f"the bus was silent for {quiet:.1f} s")
            elif quiet >= silence / 2 and not called:
                called = True
                await self._client.publish(self._breaker, f"{self._settings.prefix}bus", PROBE)

    def _hear(self, data: bytes) -> None:
        try:
            message = decode_message(data)
        except ValueError as error:
            _log.warning("malformed message on the bus", error=str(error))
            self._metrics.count("bus_messages", "malformed")
            self._follower.missed()
            return
        if message is None:
            return
        if self.error is not None:
            _log.info("bus heard")
        self.error = None
        self._message_at = self._now()
        self.published = max(self.published, message.to)
        if not self._follower.push(message.start, message.to, message.changes, message.moved):
            _log.warning("changes were missed on the bus", missing=message.start - self._follower.position)
            self._metrics.count("bus_messages", "gap")
            self._follower.skip_to(max(message.start, message.to))
        elif message.changes:
            self._metrics.count("bus_messages", "changes")
            self._count_delay(message)
        else:
            self._metrics.count("bus_messages", "heartbeat")
            self._silence.news()

    def _count_delay(self, message: BusMessage) -> None:
        if message.at is not None:  # clocks of two machines may disagree by more than it took
            self._metrics.observe("change_seconds", max(0.0, self._clock.now().timestamp() - message.at))
