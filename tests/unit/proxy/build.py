"""What the tests of the data plane need without sockets: an edge, routes, and connections that go nowhere."""

import asyncio
from collections.abc import Collection
from typing import Any

from router.clock import ManualClock
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.pages import Pages
from router.proxy.backend import BackendConnection
from router.proxy.edge import Edge
from router.proxy.pool import Pool
from router.routes.chain import Decision, Level
from router.routes.memory import MemoryRecords
from router.routes.records import Endpoint, ResourceRecord
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Cache, Limits, Networks
from tests.support.edge import LOOPBACK
from tests.support.records import PLATFORM, resource


class Line(asyncio.Transport):
    """A connection without a socket. `aborted` and `limit` say what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.limit: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = high

    def abort(self) -> None:
        self.aborted = True


def build_edge(
    *,
    networks: Networks = LOOPBACK,
    own_listeners: Collection[tuple[str, int]] = (),
    clock: ManualClock | None = None,
    **limits: float,
) -> Edge:
    """A worker's shared state, with everything around it in memory."""
    clock = clock or ManualClock()
    metrics = Metrics()
    return Edge(
        resolver=Resolver(
            MemoryRecords(), platform_domain=PLATFORM, reserved_ports=frozenset(), limits=Cache(), clock=clock
        ),
        pages=Pages("https://docs.miosa.ai/errors"),
        recorder=Recorder(metrics=metrics, clock=clock),
        metrics=metrics,
        limits=Limits().model_copy(update=limits),
        trusted_proxies=LOOPBACK,
        backend_networks=networks,
        own_listeners=own_listeners,
        clock=clock,
        on_https=None,
    )


def connect(edge: Edge, pool: Pool) -> BackendConnection:
    """A connection to a backend that has come up."""
    backend = BackendConnection(edge, pool)
    backend.connection_made(Line())
    return backend


def aborted(backend: BackendConnection) -> bool:
    """Whether the connection was given up."""
    transport = backend.transport
    assert isinstance(transport, Line)
    return transport.aborted


def record(address: str = "127.0.0.1", generation: str = "boot-1", **changes: Any) -> ResourceRecord:
    """A running sandbox that listens there. `ports` are the endpoint's."""
    return resource(endpoint=Endpoint(address, generation, changes.pop("ports", {})), **changes)


def route(leads_to: ResourceRecord | None, port: int | None = 3000) -> Route:
    """A route to a port of a resource."""
    decision = Decision(Level.PLATFORM, "served", None, leads_to, port)
    return Route(f"shop.{PLATFORM}", decision, keys=(), source="memory", expires=60.0)
