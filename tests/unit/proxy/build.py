"""What the tests of the data plane need without sockets: an worker, routes, and connections that go nowhere."""

import asyncio
import socket
from collections.abc import Collection
from typing import Any

from router.base.clock import ManualClock
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.pages import Pages
from router.proxy.backend import BackendConnection
from router.proxy.pool import Pool
from router.proxy.worker_state import WorkerState
from router.routes.chain import Decision, Level
from router.routes.records import Endpoint, ResourceRecord
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Cache, Limits, Networks
from tests.support.access import MemoryKeys
from tests.support.edge import LOOPBACK
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, resource


class Line(asyncio.Transport):
    """A connection without a socket. `aborted` and `limit` say what was done to it; `held` bytes are to be written."""

    def __init__(self, held: int = 0, *, peer: str | None = None) -> None:
        closed = socket.socket()
        closed.close()
        super().__init__({"socket": closed, "peername": None if peer is None else (peer, 40000)})
        self.aborted = False
        self.closed = False
        self.held = held
        self.limit: int | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limit = high

    def pause_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.held

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


def build_worker(
    *,
    networks: Networks = LOOPBACK,
    own_listeners: Collection[tuple[str, int]] = (),
    clock: ManualClock | None = None,
    **limits: float,
) -> WorkerState:
    """A worker's shared state, with everything around it in memory."""
    clock = clock or ManualClock()
    metrics = Metrics()
    return WorkerState(
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
        access=MemoryKeys(),
    )


def connect(worker: WorkerState, pool: Pool) -> BackendConnection:
    """A connection to a backend that has come up."""
    backend = BackendConnection(worker, pool)
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
