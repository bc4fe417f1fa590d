"""What one process remembers of routes and keys, and how it hears that they have changed.

Every change reaches what remembers records by `drop` or `drop_all`: one that this process has committed, one that the
control process tells its workers of, and one that another node or a command has committed. The latter is read from the
store's outbox, or heard of by Redis where there is one; the control process passes it on to its workers.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

from router.access.visitors import Visitors
from router.base.clock import Clock
from router.node.visitor_keys import open_keys
from router.observe.metrics import Metrics
from router.proxy.worker_keys import WorkerKeys
from router.routes.batches import RecordSource
from router.routes.changed_keys import moved_among
from router.routes.resolver import Resolver
from router.settings import Settings

if TYPE_CHECKING:
    from router.cache import SharedCache
    from router.node.ipc.control_side import ControlSide
    from router.node.ipc.store_client import StoreClient
    from router.routes.follower import OutboxFollower
    from router.store import Store


class Remembering(Protocol):
    """What remembers something of records: the resolver, the keys, the proxy."""

    def drop(self, keys: Sequence[str]) -> object:
        """The records under these keys have changed."""

    def drop_all(self) -> object:
        """There may be changes that were missed."""


class RouteMemory:
    """See the module. `shared` is there after `share` where there is a Redis, `source` after `follow`, and `keys` too where this
    process carries traffic. `control_side` leads to this process's workers: it is set before, or it has none."""

    def __init__(self, settings: Settings, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._stack = AsyncExitStack()
        self._remembering: list[Remembering] = []
        self._follower: OutboxFollower | None = None
        self.shared: SharedCache | None = None
        self.control_side: ControlSide | None = None
        self.source: RecordSource | None = None
        self.keys: WorkerKeys | None = None

    def share(self, store: "Store | StoreClient") -> "SharedCache | None":
        """What this node shares with the others in Redis; None where there is none. The caller closes it, after everything
        that uses it."""
        settings = self._settings
        if settings.redis_url is None:
            return None
        from router.cache import SharedCache  # noqa: PLC0415 - only who has a Redis loads what talks to it

        publishes = not settings.roles.isdisjoint(("api", "jobs"))
        self.shared = SharedCache(
            settings.redis_url,
            settings.redis,
            fetch_time=settings.cache.fetch_time,
            store=store,
            publishes=publishes,
            metrics=self._metrics,
            clock=self._clock,
        )
        return self.shared

    async def follow(self, store: "Store | StoreClient", visitors: Visitors, *, required: bool) -> Resolver:
        """The resolver, which hears of every change from here on that another process commits; and with it what this process
        knows of keys. Raises StoreUnavailableError where the store is away and `required`."""
        shared = self.shared
        if shared is None:
            resolver = self._remember(store.records, visitors)
            self._follower = follower = store.follow(self._heard, self._gap)
            await follower.start(required=required)
            if self.control_side is not None:  # from here on it passes on what others commit
                self.control_side.outbox_moved(None, follower.position)
            self._metrics.gauge("outbox_position", lambda: float(follower.position))
            return resolver
        resolver = self._remember(shared.records, visitors)
        await shared.start(self.drop, self.drop_all, store_required=required)
        return resolver

    async def stop_following(self) -> None:
        """Hear no more of what others commit."""
        if self._follower is not None:
            await self._follower.close()

    async def close(self) -> None:
        """End everything now."""
        await self.stop_following()
        await self._stack.aclose()

    def tell(self, remembering: Remembering) -> None:
        """This hears of changes too from now on, after those that were added before."""
        self._remembering.append(remembering)

    def drop(self, keys: Sequence[str]) -> None:
        """These records have changed. Where nothing has been looked up yet nothing is wrong."""
        for one in self._remembering:
            one.drop(keys)

    def drop_all(self) -> None:
        """There may be changes that were missed."""
        for one in self._remembering:
            one.drop_all()

    def changed(self, keys: Sequence[str], number: int) -> None:
        """The control process has committed a change."""
        if self.shared is not None:
            self.shared.committed(keys, number)
        if self._follower is not None:
            self._follower.committed(keys, number)
        self.drop(keys)

    def pushed(self, start: int, to: int, keys: Sequence[str]) -> bool:
        """The control process passes on what others have committed; whether nothing before it is unknown."""
        return self._follower is not None and self._follower.push(start, to, dict.fromkeys(keys, to), moved_among(keys))

    def _remember(self, source: RecordSource, visitors: Visitors) -> Resolver:
        """What remembers routes, and keys where this process carries traffic."""
        settings, clock, stack = self._settings, self._clock, self._stack
        self.source = source
        resolver = Resolver.of(source, settings, clock)
        stack.push_async_callback(resolver.close)
        self.tell(resolver)
        if "proxy" in settings.roles:
            self.keys = keys = open_keys(source, settings, clock, visitors=visitors)
            stack.push_async_callback(keys.close)
            self.tell(keys)
        return resolver

    def _heard(self, keys: Sequence[str]) -> None:
        """Another node, or a command, has committed a change."""
        self.drop(keys)
        self._pass_on(keys)

    def _gap(self) -> None:
        self.drop_all()
        self._pass_on(None)

    def _pass_on(self, keys: Sequence[str] | None) -> None:
        if self.control_side is not None and self._follower is not None:
            self.control_side.outbox_moved(keys, self._follower.position)
