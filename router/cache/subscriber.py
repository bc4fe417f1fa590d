"""Hears of every change that any process has committed: from the bus, and from the store while the bus is lost.

Messages carry the numbers of the changes that they tell of, so what is missed is noticed: a message that begins after
what was heard last, a heartbeat that is further. Then everything is dropped, and after every reconnection. A
subscription may be dead without an error (its server frozen, or cut off from the rest), so in silence it calls on the
bus itself, and whoever does not hear his own call connects anew.

Without a heartbeat the store is asked for changes instead, from where the bus fell silent. So Redis, and whoever
publishes, may be away for as long as they like, and a change still arrives everywhere in a moment.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from router.cache.client import CacheUnavailableError, Client
from router.cache.news import PROBE, News, decode_news
from router.cache.standing import Standing
from router.clock import Clock
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.routes.records import Change
from router.settings import Redis as Limits
from router.tasks import Tasks

_LOOK_EVERY = 0.05  # seconds between looks at the store while the bus is lost
_BATCH = 1000  # changes per look
_RETRY = (0.05, 1.0)  # seconds between tries to subscribe: the first, the longest

_log = structlog.get_logger("router.cache")


class Feed(Protocol):
    """The outbox, as a subscriber sees it. Both raise StoreUnavailableError."""

    async def newest(self) -> int:
        """The number of the newest change."""

    async def oldest(self) -> int:
        """The number of the oldest change that is still kept."""

    async def after(self, number: int, most: int) -> Sequence[Change]:
        """At most so many of the changes after this one, in their order."""


class Subscriber:
    """Calls `on_keys` with what changed, and `on_gap` where something may have been missed: drop everything then."""

    def __init__(
        self,
        client: Client,
        limits: Limits,
        *,
        feed: Feed,
        standing: Standing,
        on_keys: Callable[[Sequence[str]], object],
        on_gap: Callable[[], object],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._client = client
        self._limits = limits
        self._feed = feed
        self._standing = standing
        self._on_keys = on_keys
        self._on_gap = on_gap
        self._metrics = metrics
        self._clock = clock
        self._now = clock.monotonic
        self._breaker = client.breaker()
        self._tasks = Tasks("subscriber")
        self._told: int | None = None  # everything up to this change has been passed on
        self._word_at: float | None = None  # when the bus last said anything, our own calls included
        self._news_at: float | None = None  # when a publisher last did
        self.published = 0  # everything up to this change has been on the bus
        self.error: str | None = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether the bus is heard."""
        return self._news_at is not None and self._now() - self._news_at < self._limits.silence

    async def start(self) -> None:
        """Hear of what is committed from now on. Raises StoreUnavailableError."""
        self._told = await self._feed.newest()
        self._standing.heard_all(self._told)
        self._tasks.start("listen", self._listen())
        self._tasks.start("follow the store", self._follow())

    async def close(self) -> None:
        """Hear no more."""
        await self._tasks.close()

    async def _listen(self) -> None:
        first, longest = _RETRY
        wait = first
        while True:
            try:
                async with self._client.subscription(f"{self._limits.prefix}bus") as pubsub:
                    await self._joined()
                    wait = first
                    await self._hear_all(pubsub)
            except (RedisError, OSError, CacheUnavailableError) as error:
                if self.error is None:
                    _log.warning("the bus is lost", error=str(error))
                self.error = str(error) or type(error).__name__
                self._news_at = None
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - so that not all come back at once
            wait = min(wait * 2, longest)

    async def _joined(self) -> None:
        """Whatever was committed before has perhaps been missed; what is committed from now on will be heard."""
        with suppress(StoreUnavailableError):  # then nothing new was committed either, or it is heard of later
            self._told = max(self._told or 0, await self._feed.newest())
            # Redis is believed only once it knows of everything that we might have missed.
            self._standing.heard_all(self._told)
        self._word_at = self._now()
        self._tell(self._on_gap)

    async def _hear_all(self, pubsub: PubSub) -> None:
        silence, called = self._limits.silence, False
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=silence / 4)
            quiet = self._now() - (self._word_at or 0)
            if message is not None and message["type"] == "message":
                self._word_at, called = self._now(), False
                self._hear(message["data"])
            elif quiet >= silence:
                raise CacheUnavailableError(f"the bus was silent for {quiet:.1f} s")
            elif quiet >= silence / 2 and not called:
                called = True
                await self._client.publish(self._breaker, f"{self._limits.prefix}bus", PROBE)

    def _hear(self, data: bytes) -> None:
        try:
            news = decode_news(data)
        except ValueError as error:
            _log.warning("a message on the bus is malformed", error=str(error))
            self._metrics.count("bus_messages", "malformed")
            self._tell(self._on_gap)
            return
        if news is None:
            return
        if self.error is not None:
            _log.info("the bus is heard")
        self.error = None
        self._news_at = self._now()
        self.published = max(self.published, news.to)
        if self._told is not None and news.start > self._told:
            _log.warning("changes were missed on the bus", told=self._told, missing=news.start - self._told)
            self._metrics.count("bus_messages", "gap")
            self._pass_on(None, max(news.start, news.to))
        elif news.changes:
            self._metrics.count("bus_messages", "changes")
            self._count_delay(news)
            self._pass_on(tuple(news.changes.items()), news.to)
        else:
            self._metrics.count("bus_messages", "heartbeat")
            self._standing.heard_all(news.to)  # whoever sent it has first told every shelf of as much
            self._told = max(self._told or 0, news.to)

    def _count_delay(self, news: News) -> None:
        if news.at is not None:  # clocks of two machines may disagree by more than it took
            self._metrics.observe("change_seconds", max(0.0, self._clock.now().timestamp() - news.at))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self.connected or self._told is None:
                continue
            try:
                await self._look(self._told)
            except StoreUnavailableError:
                await asyncio.sleep(_RETRY[1])  # whoever needs the store says so

    async def _look(self, told: int) -> None:
        changes = await self._feed.after(told, _BATCH)
        if not changes:
            return
        trimmed = changes[0].number > told + 1 and await self._feed.oldest() > told + 1
        pairs = None if trimmed else [(change.key, change.number) for change in changes]
        self._pass_on(pairs, changes[-1].number)

    def _pass_on(self, changes: Sequence[tuple[str, int]] | None, to: int) -> None:
        """Tell of these changes, None for whatever they were; from now on Redis must know of them to be believed."""
        self._told = max(self._told or 0, to)
        if changes is None:
            self._standing.heard_all(to)
            self._tell(self._on_gap)
            return
        # What this process has committed itself it was told of at once, and has read anew since.
        keys = tuple(dict.fromkeys(key for key, number in changes if not self._standing.made(key, number)))
        self._standing.heard(changes)
        if keys:
            self._tell(partial(self._on_keys, keys))

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception:  # noqa: BLE001  # a subscriber that ends with its listener's mistake leaves stale routes for ever
            _log.exception("a listener failed")
