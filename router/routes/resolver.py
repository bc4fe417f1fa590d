"""The resolver: routes by host, remembered in the process, looked up once when they are not.

`peek` is for the hot path: a dictionary look-up, no coroutine, no normalisation of a host that arrives spelled as it
was stored. `resolve` does the rest. A change calls `drop` with the keys it touched.

A route whose time is nearly over is looked up again behind the request that notices it, so that no request to a host
in use waits for that.

When a look-up and a change cross: `drop` detaches the look-ups in progress for its keys. Requests that already wait get
their result, which is not remembered; a request after the change starts a look-up of its own.

When the source fails, a route that expired less than `stale_if_error` ago is used again; without one the response is
`resolver_unavailable`. Never a 404: not knowing is not the same as knowing that there is nothing. While the source fails,
requests that such a route can serve do not wait for the source: one that hangs takes the whole of `fetch_time` to fail.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice

import structlog

from router import errors
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.hostname import HostMeaning, InvalidHostError, host_meanings, parse_host
from router.routes.batches import Batches, RecordSource
from router.routes.chain import LOGIN, Decision, Level, Step, decide
from router.routes.changed_keys import moved_among
from router.routes.records import keys_of
from router.routes.route import Route
from router.settings import Cache, Settings

_log = structlog.get_logger("router.routes")

_RENEWED: float = 5 / 6  # of its time, after which a route in use is looked up again
_RETRY_AFTER_FAILURE = 1.0  # seconds a stale route is used before the source is asked again
_MAX_PASSED = 256  # routes that are passed over for one eviction, at most: they take 100 µs
_HAND_SIZE = 64  # routes that a hand reads at once
_RECOVERY = 2.0  # seconds without a failure, besides those of a look-up, after which the source counts as working


class _Flight:
    """One look-up in progress, shared by all requests for its host meanwhile."""

    __slots__ = ("detached", "keys", "task")

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys
        self.detached = False
        self.task: asyncio.Task[Route]


class Resolver:
    """Host to route. Not thread-safe: one per event loop."""

    def __init__(
        self,
        source: RecordSource,
        *,
        platform_domain: str,
        reserved_ports: frozenset[int],
        limits: Cache,
        clock: Clock,
        login_host: str = "",
    ) -> None:
        """`login_host` is where people sign in, in canonical form; none where it is empty."""
        self._platform_domain = platform_domain
        self._login = Route(login_host, LOGIN, keys=(), source="none", expires=float("inf"))
        self._reserved_ports = reserved_ports
        self._limits = limits
        self._now = clock.monotonic
        self._tasks = Tasks("resolver")
        self._batches = Batches(
            source, concurrency=limits.fetches, timeout=limits.fetch_time, tasks=self._tasks, clock=clock
        )
        self._known: dict[bytes, Route] = {}
        self._unknown: dict[bytes, Route] = {}
        self._known_hand, self._unknown_hand = _Hand(self._known), _Hand(self._unknown)
        self._hosts_of = _Hosts()
        self._flights: dict[bytes, _Flight] = {}
        self._flights_of = _Hosts()
        self._failing = False
        self._failing_until = 0.0
        self._to_renew: deque[bytes] = deque()
        self._renewing = False
        self._listeners: list[Callable[[Route], None]] = []

    @classmethod
    def of(cls, source: RecordSource, settings: Settings, clock: Clock) -> "Resolver":
        """As the settings say."""
        return cls(
            source,
            platform_domain=settings.platform_domain,
            reserved_ports=settings.reserved_ports,
            limits=settings.cache,
            clock=clock,
            login_host=settings.login_name,
        )

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def on_drop(self, listener: Callable[[Route], None]) -> None:
        """Call `listener(route)` for each remembered route that a change removes."""
        self._listeners.append(listener)

    def peek(self, raw_host: bytes) -> Route | None:
        """The remembered route of a Host header's bytes, or None: then `resolve` has to be awaited."""
        route = self._known.get(raw_host)
        if route is None:
            return self._peek_slowly(raw_host)
        now = self._now()
        if route.fresh_until <= now and not self._renews(raw_host, route, now):
            return None
        route.used = True
        return route

    def _renews(self, host: bytes, route: Route, now: float) -> bool:
        """Whether a route that is no longer fresh may be used; it is looked up again then."""
        if route.expires <= now:
            return False
        route.fresh_until = route.expires  # once is enough
        self._to_renew.append(host)
        if not self._renewing and not self._tasks.closed:
            self._renewing = True
            self._tasks.start("renew routes", self._renew())
        return True

    async def _renew(self) -> None:
        """Look up routes again, one at a time: what is not done before its time ends is looked up for its next request."""
        try:
            while self._to_renew:
                host = self._to_renew.popleft()
                route = self._known.get(host)
                if route is not None and route.fresh_until == route.expires and host not in self._flights:
                    await self._start(route.host, host, host_meanings(route.host)).task
        finally:
            self._renewing = False

    def _peek_slowly(self, raw_host: bytes) -> Route | None:
        try:
            name = parse_host(raw_host)
        except InvalidHostError as error:
            return self._invalid(raw_host, str(error))
        if name == self._login.host:
            return self._login
        host = name.encode("ascii")
        route = self._known.get(host) or self._unknown.get(host)
        if route is None or route.expires <= self._now():
            return None
        route.used = True
        return route

    async def resolve(self, raw_host: bytes) -> Route:
        """The route of a Host header's bytes. What goes wrong is a route with a problem; this raises nothing."""
        try:
            name = parse_host(raw_host)
        except InvalidHostError as error:
            return self._invalid(raw_host, str(error))
        if name == self._login.host:
            return self._login
        host = name.encode("ascii")
        route = self._known.get(host) or self._unknown.get(host)
        if route is not None and route.expires > self._now():
            return route
        meanings = host_meanings(name)
        if any(reading.port in self._reserved_ports for reading in meanings if reading.port is not None):
            decision = Decision(Level.NONE, "reserved_port", errors.HOST_NOT_FOUND)
            return Route(name, decision, keys=(), source="none", expires=0.0)
        flight = self._flights.get(host)
        if flight is None:
            flight = self._start(name, host, meanings)
        if self._failing and self._now() < self._failing_until and (last := self._last_known(host)) is not None:
            return last
        # Shielded: the first request may be cancelled while others still wait.
        return await asyncio.shield(flight.task)

    async def explain(self, raw_host: bytes) -> Route:
        """As `resolve`, past the cache and without touching it. Raises StoreUnavailableError, InvalidHostError."""
        name = parse_host(raw_host)
        if name == self._login.host:
            return self._login
        meanings = host_meanings(name)
        keys = keys_of(name, meanings)
        found = await self._batches.fetch(keys)
        decision = decide(name, meanings, found, self._platform_domain, self._reserved_ports)
        route = Route(name, decision, keys=keys, source=found.source, expires=0.0)
        route.sources = found.sources
        return route

    def remembered(self, host: str) -> Route | None:
        """What is remembered of a canonical host, expired or not; for `explain`."""
        raw = host.encode("ascii")
        return self._known.get(raw) or self._unknown.get(raw)

    def drop(self, keys: Iterable[str]) -> int:
        """Forget every route that was assembled from one of `keys`; how many were remembered.

        A route to what has only moved (`Touched.moved`) is kept for `stale_if_error`, as by `drop_all`: where the new
        place can't be looked up because the stores are cut off, the old one is the last known answer. What changed in any
        other way may have been taken away, and must not be served.
        """
        dropped: list[Route] = []
        moved, now = moved_among(keys), self._now()
        for key in keys:
            for host in self._flights_of.of(key):
                flight = self._flights[host]
                flight.detached = True
                self._land(host, flight)
            for host in self._hosts_of.of(key):
                route = self._known.get(host) or self._unknown[host]
                dropped.append(route)
                if key in moved and host in self._known:
                    self._doubt(route, now)
                else:
                    self._forget(host)
        self._tell(dropped)
        return len(dropped)

    def drop_all(self) -> None:
        """Expire everything remembered; keep it for `stale_if_error` only. For when changes may have been missed."""
        for flight in self._flights.values():
            flight.detached = True
        self._flights.clear()
        self._flights_of.clear()
        now = self._now()
        for routes in (self._known, self._unknown):
            for route in routes.values():
                self._doubt(route, now)
        self._tell(list(self._known.values()))

    async def close(self) -> None:
        """End the look-ups under way."""
        self._batches.close()
        await self._tasks.close()

    def _doubt(self, route: Route, now: float) -> None:
        """From now on the route is used only while no newer one can be had."""
        route.expires = route.fresh_until = min(route.expires, now)
        route.stale_until = min(route.stale_until, now + self._limits.stale_if_error)

    def _tell(self, routes: Iterable[Route]) -> None:
        for route in routes:
            for listener in self._listeners:
                listener(route)

    def _invalid(self, raw_host: bytes, why: str) -> Route:
        decision = Decision(Level.NONE, "invalid_host", errors.INVALID_HOST, steps=(Step("host", False, why),))
        return Route(raw_host[:260].decode("latin-1"), decision, keys=(), source="none", expires=0.0)

    def _start(self, name: str, host: bytes, meanings: tuple[HostMeaning, ...]) -> _Flight:
        flight = _Flight(keys_of(name, meanings))
        flight.task = self._tasks.start(f"look up {name}", self._look_up(name, host, meanings, flight))
        self._flights[host] = flight
        for key in flight.keys:
            self._flights_of.add(key, host)
        return flight

    async def _look_up(self, name: str, host: bytes, meanings: tuple[HostMeaning, ...], flight: _Flight) -> Route:
        keys = flight.keys
        try:
            try:
                found = await self._batches.fetch(keys)
            except StoreUnavailableError as error:
                return self._without_source(name, host, keys, error)
            except Exception as error:  # noqa: BLE001 - a bug in a source is a fault of ours too, and requests wait for it
                _log.exception("route look-up failed: bug", host=name)
                return self._without_source(name, host, keys, error)
            self._succeeded()
            decision = decide(name, meanings, found, self._platform_domain, self._reserved_ports)
            # A port that a resource does not expose is unknown too: a scan of 65,535 ports must evict no route.
            known = decision.problem is not errors.HOST_NOT_FOUND
            ttl = self._limits.ttl if known else self._limits.unknown_ttl
            route = Route(name, decision, keys=keys, source=found.source, expires=self._now() + ttl)
            route.stale_until = route.expires + self._limits.stale_if_error
            if known:
                route.fresh_until -= ttl * (1 - _RENEWED)
            if not flight.detached:
                route.decision = replace(decision, steps=())  # `explain` decides anew: nothing reads them here
                self._remember(host, route, known=known)
            return route
        finally:
            if not flight.detached:
                self._land(host, flight)

    def _land(self, host: bytes, flight: _Flight) -> None:
        """Detach it: a request from now on starts a look-up of its own."""
        del self._flights[host]
        for key in flight.keys:
            self._flights_of.discard(key, host)

    def _without_source(self, name: str, host: bytes, keys: tuple[str, ...], error: Exception) -> Route:
        now = self._now()
        if not self._failing:
            self._failing = True
            _log.warning("route look-ups failing", host=name, error=str(error))
        self._failing_until = now + self._limits.fetch_time + _RECOVERY
        # What is remembered is good for a detached look-up too: `drop` took away what the change made wrong.
        if (last := self._last_known(host)) is not None:
            return last
        decision = Decision(Level.NONE, "resolver_unavailable", errors.RESOLVER_UNAVAILABLE)
        return Route(name, decision, keys=keys, source="none", expires=now)

    def _succeeded(self) -> None:
        if self._failing and self._now() >= self._failing_until:
            self._failing = False
            _log.info("route look-ups work again")

    def _last_known(self, host: bytes) -> Route | None:
        """The route to use while nothing newer can be had, for a moment longer."""
        last, now = self._known.get(host), self._now()
        if last is None or now > last.stale_until:
            return None
        if last.expires <= now:  # else a look-up that began after the one that failed has brought it
            last.source = "stale"
            last.expires = last.fresh_until = min(now + _RETRY_AFTER_FAILURE, last.stale_until)
        return last

    def _remember(self, host: bytes, route: Route, *, known: bool) -> None:
        self._forget(host)
        if known:
            routes, hand, most = self._known, self._known_hand, self._limits.hosts
        else:
            routes, hand, most = self._unknown, self._unknown_hand, self._limits.unknown_hosts
        while len(routes) >= most:
            self._forget(hand.next())
        routes[host] = route
        route.current = True
        for key in route.keys:
            self._hosts_of.add(key, host)

    def _forget(self, host: bytes) -> None:
        route = self._known.pop(host, None) or self._unknown.pop(host, None)
        if route is not None:
            route.current = False
            for key in route.keys:
                self._hosts_of.discard(key, host)


class _Hand:
    """Goes through remembered routes, the oldest first, and finds the one to evict: the CLOCK algorithm.

    Whoever was asked for since it came by last is passed over, so that ten thousand hosts that are asked for once don't
    push out those that are busy. To keep the order of use itself would cost each request more.
    """

    def __init__(self, routes: dict[bytes, Route]) -> None:
        self._routes = routes
        # Several at once: to find its first key a dictionary walks past all that were deleted at its beginning.
        self._ahead: list[bytes] = []

    def next(self) -> bytes:
        """The host whose route is to be forgotten. There has to be one."""
        routes = self._routes
        chances = _MAX_PASSED
        while True:
            if not self._ahead:
                self._ahead = list(islice(routes, _HAND_SIZE))
                self._ahead.reverse()
            host = self._ahead.pop()
            route = routes.get(host)
            if route is None:  # dropped meanwhile
                continue
            if chances == 0 or not route.used:
                return host
            chances -= 1
            route.used = False
            routes[host] = routes.pop(host)


class _Hosts(dict[str, bytes | set[bytes]]):
    """Hosts by the keys that they depend on. Most keys have one, and a set for it would be a quarter of all memory."""

    def of(self, key: str) -> tuple[bytes, ...]:
        """As of now, whatever is added or taken away meanwhile."""
        hosts = self.get(key, ())
        return (hosts,) if isinstance(hosts, bytes) else tuple(hosts)

    def add(self, key: str, host: bytes) -> None:
        hosts = self.setdefault(key, host)
        if isinstance(hosts, set):
            hosts.add(host)
        elif hosts != host:
            self[key] = {hosts, host}

    def discard(self, key: str, host: bytes) -> None:
        hosts = self[key]
        if isinstance(hosts, set):
            hosts.discard(host)
            if hosts:
                return
        del self[key]
