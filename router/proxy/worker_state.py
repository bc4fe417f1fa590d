"""What all connections of one worker share, and what is derived from a route once.

`now` is a coarse clock, set by the sweep. Deadlines are set from it, so that passing on a chunk does not read the time. It
lags by at most one sweep.
"""

import asyncio
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import TYPE_CHECKING, Final

import structlog

from router import errors
from router.access.cookies import Cookies
from router.access.keys import AccessKeys
from router.base.addresses import Network, own_listener, refusal
from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import Problem
from router.http1.forwarding import Forwarder, HeadRules
from router.http1.host_rewrite import ToldHost
from router.http1.requests import RequestReader
from router.http1.responses import ResponseReader
from router.observe.limited_log import LimitedLog
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.observe.refused import RefusedMessages
from router.pages import Pages
from router.proxy.connection_limits import ConnectionLimits, Share
from router.proxy.debug_timing import KeyLookUps
from router.proxy.heap import Heap
from router.proxy.host_refusal import tell
from router.proxy.pacer import Pacer
from router.proxy.pool import Keeping, Pool
from router.proxy.pools import Pools
from router.proxy.queue import Queue, Queues
from router.proxy.socket_state import unsent
from router.proxy.turn_budget import Budget
from router.routes.chain import Level
from router.routes.error_notes import NOTED, ErrorNote, ErrorNotes
from router.routes.host_notes import HostNote
from router.routes.records import AUTO, HTTP1, LOCALHOST, PRESERVE, ResourceRecord
from router.routes.resolver import Resolver
from router.routes.route import Route, cookie_scope
from router.settings import Limits

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.capture import Captures
    from router.proxy.client import ClientConnection
    from router.proxy.h2_backend import Http2Backend
    from router.proxy.h2_client import Http2Client
    from router.proxy.tunnel import Tunnel
    from router.proxy.wakes import Wakes

_ACTIVITIES_EVERY: Final = 60.0  # seconds between two passes over all of them
_PART_LEAVING: Final = 64  # of all connections: so many sides of ended tunnels may still have bytes to send
_MIN_LEAVING: Final = 16
_MAX_TOLD: Final = 4096  # ports whose program is told another Host
_MAX_HOSTS_OF_ERRORS: Final = 16  # of refused requests, that are being looked up at once; of others nothing is noted
_ERRORS_AT_ONCE: Final = 32  # notes that one pass of the sweep hands on, at some 20 µs each
_TWO_DIGITS: Final = tuple(b"%02x" % number for number in range(256))
_log = structlog.get_logger("router.proxy")


class Activity:
    """How many exchanges and tunnels one resource has in flight, who waits for a place, and when it was last used (an
    instant of the monotonic clock)."""

    __slots__ = ("active_at", "exchanges", "queue", "tunnels")

    def __init__(self) -> None:
        self.exchanges = 0
        self.tunnels = 0
        self.queue: Queue | None = None
        self.active_at = 0.0


@dataclass(frozen=True, slots=True)
class PlainHttp:
    """How visitors who come without TLS are sent on to it. `has_certificate(host)` returns at once; `fetched` is whether
    custom domains' certificates are fetched before the first visitor comes; `port` None is 443."""

    has_certificate: Callable[[str], bool]
    fetched: bool
    port: int | None


class Prepared:
    """What the data plane derives from a route once: its pool, its resource's activity, its rules for heads."""

    __slots__ = ("activity", "first_byte", "pool", "problem", "rules", "tenant")

    def __init__(self, pool: Pool, activity: Activity, tenant: Share, rules: HeadRules, first_byte: float) -> None:
        self.pool = pool
        self.activity = activity
        self.tenant = tenant
        self.first_byte = first_byte  # seconds for a response's head, from the end of the request
        self.problem: Problem | None = None
        self.rules = rules


class WorkerState:
    """One worker's shared state."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        pages: Pages,
        recorder: Recorder,
        metrics: Metrics,
        limits: Limits,
        trusted_proxies: Sequence[Network],
        backend_networks: Sequence[Network],
        own_listeners: Collection[tuple[str, int]],
        clock: Clock,
        access: AccessKeys,
        plain: PlainHttp | None = None,
        cookie_zones: Collection[str] = (),
        trusted_headers: Mapping[Network, Collection[str]] | None = None,
        on_host_refused: Callable[[HostNote], object] = lambda _: None,
        on_error: Callable[[ErrorNote], object] = lambda _: None,
        login_url: str = "",
        captures: "Captures | None" = None,
    ) -> None:
        self.resolver = resolver
        self.captures = captures
        self.login_url = login_url.encode("ascii")  # of the host where people sign in
        self.logins = 0  # steps of those who are signing in, that are under way
        self.access = access
        self.cookies = Cookies()
        self._on_error = on_error
        self._errors = ErrorNotes()  # those that `on_error` has not heard of yet
        self._hosts_of_errors = 0  # that are being looked up
        self._date = clock.now
        self._on_host_refused = on_host_refused
        self._told: dict[
            tuple[str, int], HostNote
        ] = {}  # which ports' programs are told another Host, by `host_mode` auto
        self.pages = pages
        self.recorder = recorder
        self.metrics = metrics
        self.refusals = LimitedLog(_log, clock.monotonic, metrics)
        self.refused = RefusedMessages(clock.monotonic, self.date)
        self.limits = limits
        # Of the limits, what each exchange or each piece of a body looks at: a pydantic model is slow to ask.
        self.max_exchanges = limits.exchanges_per_resource
        self.max_tunnels = limits.tunnels_per_resource
        self.max_body = limits.body
        self.whole_body = limits.whole_body
        self.whole_body_time = limits.whole_body_time
        self.body_idle = limits.body_idle
        self.tunnel_idle = limits.tunnel_idle
        self.client_idle = limits.client_idle
        self.head_time = limits.head_time
        self.linger_idle = limits.linger_idle
        self.heap = Heap()
        self.budget = Budget(clock.monotonic, limits.buffer)
        self.high_water = self.budget.high_water
        self.forwarder = Forwarder(trusted_proxies, trusted_headers)
        self.requests = RequestReader(limits)
        self.responses = ResponseReader(limits)
        self.time = clock.monotonic
        self.now = clock.monotonic()
        self.tasks = Tasks("proxy")
        self.pools = Pools(Keeping(limits.backend_idle, limits.backend_idle_unsaid, limits.backend_idle_unproven))
        self.pacer = Pacer(thread_time)
        # Those of HTTP/2 are streams. A dictionary holds 5,000 in 150 KB, in the order in which they came; a set takes 520.
        self.clients: dict[ClientConnection, None] = {}
        self.http2_clients: set[Http2Client] = set()
        self.http2_backends: set[Http2Backend] = set()
        self.speak_http2: Callable[[ClientConnection, bytes], object] | None = None  # for a client that begins so
        self.tunnels: set[Tunnel] = set()
        # What tunnels left, with how long it may still send, how much the other side had not taken, and whose it was.
        self.leaving: list[tuple[float, int, asyncio.Transport, Share | None]] = []
        self._max_leaving = max(_MIN_LEAVING, limits.connections // _PART_LEAVING)
        self.progress_at = 0.0  # when the sweep checks again whether what is written is being taken
        self.use_at = 0.0  # when the sweep notes again what streams and tunnels use
        self.without_client = 0  # exchanges whose client had left at the last sweep
        self.backends: set[BackendConnection] = set()
        self.ready = True  # health checks say so: new traffic is welcome
        self.draining = False  # each response is its connection's last
        self.patient = False  # while draining: a connection without a request may still bring one
        self.plain = plain
        self.cookie_zones = frozenset(cookie_zones)
        self.activities: dict[str, Activity] = {}
        self.connection_limits = ConnectionLimits(self, limits, metrics)
        self.queues = Queues(limits, metrics)
        self.debug_look_ups = KeyLookUps(clock.monotonic())
        self.wakes: Wakes | None = None  # where nothing is ever woken
        self._look_at_activities = 0.0
        self._networks = tuple(backend_networks)
        self.own_listeners = own_listeners
        self._id_prefix = b"req_" + os.urandom(8).hex().encode("ascii")
        self._ids = 0
        self._ids_begin = b""  # of those that differ in their last two digits only

    def date(self) -> float:
        """The time in seconds of the epoch, for what was promised until a date."""
        return self._date().timestamp()

    def request_id(self) -> bytes:
        """A new request id: unique over all workers and restarts, cheap to make."""
        last = self._ids & 0xFF
        if last == 0:
            self._ids_begin = b"%b%06x" % (self._id_prefix, self._ids >> 8)
        self._ids += 1
        return self._ids_begin + _TWO_DIGITS[last]

    def prepare(self, route: Route) -> Prepared:
        """Derive what the data plane needs of a route that leads to a resource, and remember it there."""
        resource = route.resource
        if resource is None or resource.endpoint is None or route.port is None:
            raise ValueError(f"{route!r} leads nowhere")
        activity = self.activities.setdefault(resource.id, Activity())
        endpoint = resource.endpoint
        port = endpoint.port(route.port)
        why = refusal(endpoint.address, self._networks)
        if why is None and own_listener(endpoint.address, port, self.own_listeners):
            why = "is one of our own listeners"
        first_byte = self.limits.first_byte if resource.first_byte is None else resource.first_byte
        tenant = self.connection_limits.tenants.of(resource.tenant_id)
        server_name = route.host if resource.schemes.get(route.port) == "https" else None
        protocol = resource.protocols.get(route.port, HTTP1)
        pool = self.pools.of(resource, endpoint, route.port, server_name, protocol)
        rules = HeadRules(None, cookie_scope(route, self.cookie_zones), told=self._told_host(route, resource, pool))
        prepared = Prepared(pool, activity, tenant, rules, first_byte)
        if why is not None:
            # Registration refuses such endpoints. This one was registered otherwise, or the settings have changed.
            _log.error("endpoint not dialled", resource=resource.id, address=endpoint.address, port=port, why=why)
            prepared.problem = errors.PORT_CLOSED
        route.prepared = prepared
        return prepared

    def _told_host(self, route: Route, resource: ResourceRecord, pool: Pool) -> ToldHost:
        """Which Host the program behind a route is told, by its `host_mode`."""
        mode = resource.host_mode(route.port or 0)
        local = b"localhost:%d" % pool.port
        if mode == PRESERVE or (mode == AUTO and route.decision.level is Level.EXACT):
            return ToldHost()
        if mode != AUTO:
            return ToldHost(local if mode == LOCALHOST else mode.encode("ascii"))
        told = pool.told
        if told is None:
            told = pool.told = ToldHost(None, local)
            note = self._told.get((resource.id, route.port or 0))
            if note is not None and note.generation == pool.generation:
                tell(told, note)
        return told

    def note_refusal(self, note: HostNote) -> None:
        """A program has refused a Host, as this worker has seen."""
        self._remember(note)
        self._on_host_refused(note)

    def learn(self, note: HostNote) -> None:
        """A program has refused a Host, as another worker has seen."""
        self._remember(note)
        for pool in self.pools.of_port(note.resource_id, note.slug, note.port):
            if pool.told is not None and pool.generation == note.generation:
                tell(pool.told, note)

    def _remember(self, note: HostNote) -> None:
        key = (note.resource_id, note.port)
        self._told.pop(key, None)
        if note.told is not None:
            if len(self._told) >= _MAX_TOLD:
                self._told.clear()
            self._told[key] = note

    def note_error(self, route: Route | None, host: bytes, problem: Problem) -> None:
        """A visitor gets this problem: the owner of what the host leads to may read about it. `route` is where it leads,
        None where its request was refused before that was looked up."""
        if problem.code not in NOTED or not host:
            return
        if route is None:
            route = self.resolver.peek(host)
        if route is not None:
            self._note_error(route, problem)
        elif self._hosts_of_errors < _MAX_HOSTS_OF_ERRORS:
            self._hosts_of_errors += 1
            self.tasks.start("look up the host of a refused request", self._note_error_of(host, problem))

    async def _note_error_of(self, host: bytes, problem: Problem) -> None:
        try:
            self._note_error(await self.resolver.resolve(host), problem)
        finally:
            self._hosts_of_errors -= 1

    def _note_error(self, route: Route, problem: Problem) -> None:
        resource, port = route.resource, route.port
        if resource is not None and port is not None:
            at = self._date().timestamp()
            self._errors.add(ErrorNote(resource.id, port, problem.code, problem.reason, problem.message, at, at))

    def tell_errors(self) -> None:
        """Hand on what has been noted since the last time, some of it where there is much."""
        for note in self._errors.take(_ERRORS_AT_ONCE):
            self._on_error(note)

    @property
    def open(self) -> bool:
        """Whether there is any connection, so that the sweep has deadlines to keep."""
        return bool(
            self.clients or self.tunnels or self.backends or self.http2_clients or self.http2_backends or self.leaving
        )

    def leave(self, transport: asyncio.Transport, tenant: "Share | None") -> None:
        """A side of an ended tunnel has bytes left to send: it has a while for that (`abort_leaving`). It holds a descriptor
        and a buffer that no limit counts any more, so their number is bounded, and no tenant can use up all of it."""
        self.leaving.append((self.now + self.body_idle, unsent(transport), transport, tenant))
        if len(self.leaving) > self._max_leaving and not self.draining:
            self.abort_leaving(self.now)
            if len(self.leaving) > self._max_leaving:
                self._abort_oldest_leaving()

    def _abort_oldest_leaving(self) -> None:
        """Abort some of those of the tenant that has the most, the oldest first."""
        tenants = [tenant for _, _, _, tenant in self.leaving]
        held = {id(tenant): 0 for tenant in tenants}
        for tenant in tenants:
            held[id(tenant)] += 1
        most = max(held, key=held.__getitem__)
        over = min(held[most], max(1, self._max_leaving // 8))
        kept: list[tuple[float, int, asyncio.Transport, Share | None]] = []
        for one in self.leaving:
            if over and id(one[3]) == most:
                over -= 1
                one[2].abort()
            else:
                kept.append(one)
        self.leaving = kept

    def abort_leaving(self, before: float) -> None:
        """Abort those whose time for their last bytes ended before that instant, unless some were taken meanwhile."""
        leaving, self.leaving = self.leaving, []
        for until, left, transport, tenant in leaving:
            if not transport.get_write_buffer_size():
                continue  # all is sent, and it has closed by itself
            if until >= before:
                self.leaving.append((until, left, transport, tenant))
            elif (left_now := unsent(transport)) < left and before != math.inf:
                self.leaving.append((self.now + self.body_idle, left_now, transport, tenant))
            else:
                transport.abort()

    def used(self, since: float) -> dict[str, float]:
        """When each resource was last used, where that was at or after `since`: when it answered, with a status below 500,
        and while a stream or tunnel was open when the sweep last looked."""
        return {key: activity.active_at for key, activity in self.activities.items() if activity.active_at >= since}

    def forget_idle_activities(self, before: float) -> None:
        """Remove the activity of resources that have nothing in flight and were last used before that instant.

        At most once a minute: it is a pass over as many as there are hosts, on the loop that carries traffic.
        """
        if self.now < self._look_at_activities:
            return
        self._look_at_activities = self.now + _ACTIVITIES_EVERY
        for key in [
            key
            for key, activity in self.activities.items()
            if not activity.exchanges and not activity.tunnels and activity.active_at < before
        ]:
            del self.activities[key]
