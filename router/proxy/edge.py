"""What all connections of one worker share, and what is derived from a route once.

`now` is a coarse clock: the sweep sets it, and deadlines are set from it, so that a chunk on its way costs no call to
read the time. It lags by at most one sweep.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from router import errors
from router.clock import Clock
from router.errors import Problem
from router.http1.forwarding import Forwarder
from router.http1.requests import RequestReader
from router.http1.responses import ResponseReader
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.pages import Pages
from router.proxy.pool import Pool, Pools
from router.proxy.turns import Turns
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Limits, Network
from router.tasks import Tasks
from router.tenancy.endpoints import own_listener, refusal

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.client import ClientConnection
    from router.proxy.tunnel import Tunnel

_LOADS_EVERY: Final = 60.0  # seconds between two looks at all loads
_READ_SIZE: Final = 256_000  # uvloop reads at most this much at once (UV_STREAM_RECV_BUF_SIZE)

_log = structlog.get_logger("router.proxy")


class Load:
    """What one resource has in flight, and when it was last used."""

    __slots__ = ("active_at", "exchanges")

    def __init__(self) -> None:
        self.exchanges = 0
        self.active_at = 0.0


@dataclass(frozen=True, slots=True)
class PlainHttp:
    """How visitors who come without TLS are sent on to it. `has_certificate(host)` answers at once; `fetched` is whether
    custom domains' certificates are fetched before the first visitor comes; `port` None is 443."""

    has_certificate: Callable[[str], bool]
    fetched: bool
    port: int | None


class Prepared:
    """What the data plane derives from a route once: its pool, its resource's load, what Host to say."""

    __slots__ = ("first_byte", "host_mode", "load", "pool", "problem", "seen_https")

    def __init__(self, pool: Pool, load: Load) -> None:
        self.pool = pool
        self.load = load
        self.problem: Problem | None = None
        self.host_mode: bytes | None = None
        self.first_byte: float | None = None
        self.seen_https = False


class Edge:
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
        on_https: Callable[[str], None] | None,
        plain: PlainHttp | None = None,
    ) -> None:
        self.resolver = resolver
        self.pages = pages
        self.recorder = recorder
        self.metrics = metrics
        self.limits = limits
        # Of the limits, what each exchange or each piece of a body looks at: a pydantic model is slow to ask.
        self.most_exchanges = limits.exchanges_per_resource
        self.most_body = limits.body
        self.body_idle = limits.body_idle
        self.client_idle = limits.client_idle
        # A connection hands over at most one read at a time, on top of what is buffered already.
        self.high_water = max(0, limits.buffer - _READ_SIZE)
        self.forwarder = Forwarder(trusted_proxies)
        self.requests = RequestReader(limits)
        self.responses = ResponseReader(limits)
        self.time = clock.monotonic
        self.now = clock.monotonic()
        self.tasks = Tasks("proxy")
        self.pools = Pools()
        self.turns = Turns()
        self.clients: set[ClientConnection] = set()
        self.tunnels: set[Tunnel] = set()
        self.leaving: list[tuple[float, asyncio.Transport]] = []  # what tunnels left, and how long it may still send
        self.backends: set[BackendConnection] = set()
        self.draining = False  # each answer is its connection's last
        self.patient = False  # while draining: a connection without a request may still bring one
        self.on_https = on_https
        self.plain = plain
        self.loads: dict[str, Load] = {}
        self._look_at_loads = 0.0
        self._networks = tuple(backend_networks)
        self.own_listeners = own_listeners
        self._id_prefix = b"req_" + os.urandom(8).hex().encode("ascii")
        self._ids = 0

    def request_id(self) -> bytes:
        """A new request id: unique over all workers and restarts, cheap to make."""
        self._ids += 1
        return b"%b%08x" % (self._id_prefix, self._ids)

    def prepare(self, route: Route) -> Prepared:
        """Derive what the data plane needs of a route that leads to a resource, and remember it there."""
        resource = route.resource
        if resource is None or resource.endpoint is None or route.port is None:
            raise ValueError(f"{route!r} leads nowhere")
        load = self.loads.setdefault(resource.id, Load())
        endpoint = resource.endpoint
        port = endpoint.port(route.port)
        why = refusal(endpoint.address, self._networks)
        if why is None and own_listener(endpoint.address, port, self.own_listeners):
            why = "is one of our own listeners"
        prepared = Prepared(self.pools.of(resource, endpoint, route.port), load)
        if why is not None:
            # Registration refuses such endpoints; one that is here all the same came past it, or the settings changed.
            _log.error("endpoint not dialled", resource=resource.id, address=endpoint.address, port=port, why=why)
            prepared.problem = errors.PORT_CLOSED
        mode = resource.host_modes.get(route.port, "preserve")
        if mode != "preserve":
            prepared.host_mode = (f"localhost:{port}" if mode == "localhost" else mode).encode("ascii")
        prepared.first_byte = resource.first_byte
        route.prepared = prepared
        return prepared

    def abort_leaving(self, before: float) -> None:
        """Close for good what had until then to send its last bytes."""
        for until, transport in self.leaving:
            if until < before:
                transport.abort()
        self.leaving = [(until, transport) for until, transport in self.leaving if until >= before]

    def used(self, since: float) -> dict[str, float]:
        """When each resource was last used, where that was at or after `since`. A stream or tunnel that is open uses it."""
        used: dict[str, float] = {}
        for key, load in self.loads.items():
            if load.exchanges:
                used[key] = self.now
            elif load.active_at >= since:
                used[key] = load.active_at
        return used

    def forget_idle_loads(self, before: float) -> None:
        """Drop the loads of resources that have nothing in flight and were last used before that instant.

        Once a minute: there may be as many as there are hosts, and everybody waits meanwhile.
        """
        if self.now < self._look_at_loads:
            return
        self._look_at_loads = self.now + _LOADS_EVERY
        for key in [key for key, load in self.loads.items() if not load.exchanges and load.active_at < before]:
            del self.loads[key]
