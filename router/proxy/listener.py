"""The proxy as the rest of the program sees it: start, revoke, drain, close."""

import asyncio
import math
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

import structlog

from router import errors
from router.clock import Clock
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.pages import Pages
from router.proxy.client import ClientConnection
from router.proxy.edge import Edge, PlainHttp
from router.proxy.exchange import Exchange
from router.proxy.sweep import sweep
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Limits, Network

_log = structlog.get_logger("router.proxy")

_BACKLOG = 4096
_POLL = 0.05  # seconds between two looks at whether a drain is done

# Problems after which what is already open to the host must end too.
_FINAL = frozenset((errors.HOST_NOT_FOUND, errors.BLOCKED, errors.RESOURCE_DELETED))


class Proxy:
    """One worker's data plane."""

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
        on_https: Callable[[str], None] | None = None,
        plain: PlainHttp | None = None,
    ) -> None:
        """`own_listeners` may still grow after this call. `on_https(host)` hears of traffic that came over TLS. `plain`
        None serves what comes without it."""
        self._edge = Edge(
            resolver=resolver,
            pages=pages,
            recorder=recorder,
            metrics=metrics,
            limits=limits,
            trusted_proxies=trusted_proxies,
            backend_networks=backend_networks,
            own_listeners=own_listeners,
            clock=clock,
            on_https=on_https,
            plain=plain,
        )
        self._server: asyncio.Server | None = None
        resolver.on_drop(self._on_drop)
        metrics.gauge("client_connections", lambda: len(self._edge.clients))
        metrics.gauge("exchanges_in_flight", lambda: sum(load.exchanges for load in self._edge.loads.values()))
        metrics.gauge("tunnels", lambda: len(self._edge.tunnels))
        metrics.gauge("backend_connections", self._backend_connections)

    def _backend_connections(self) -> dict[str, float]:
        idle = self._edge.pools.idle
        return {"idle": idle, "busy": len(self._edge.backends) - idle}

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; where. Port 0 takes a free one. Raises OSError where the port is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Clients that vanish without a word are found out by the kernel; accepted sockets inherit this on Linux.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            listener.setblocking(False)
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        return await self.serve(listener)

    async def serve(self, listener: socket.socket) -> tuple[str, int]:
        """Serve on a socket that is bound already; its address."""
        edge = self._edge
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: cast(asyncio.Protocol, ClientConnection(edge)), sock=listener, backlog=_BACKLOG
        )
        edge.tasks.start("sweep", sweep(edge))
        address = listener.getsockname()
        return str(address[0]), int(address[1])

    def used(self, since: float) -> Mapping[str, float]:
        """When each resource was last used, of those that were at or after `since`; as instants of the monotonic clock."""
        return self._edge.used(since)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._edge.tunnels and all(client.exchange is None for client in self._edge.clients)

    async def drain(self, requests: float, streams: float, *, patient: bool = False) -> None:
        """Take nothing new; let requests end within `requests` seconds, then tunnels and event streams within
        `streams` more; what is left then is ended. WebSockets hear 1001 (going away).

        A connection that waits for its next request is closed at once; that request may be on its way, and is lost
        then. With `patient` it may still come, within `requests` seconds, and is answered with `Connection: close`.
        """
        edge = self._edge
        edge.draining, edge.patient = True, patient
        if self._server is not None:
            self._server.close()
        if patient:
            await self._until(lambda: not self._requests() and not self._waiting(), requests)
            edge.patient = False
        for client in self._waiting():
            client.finish()
        if not patient:
            await self._until(lambda: not self._requests(), requests)
        for exchange in self._requests():
            exchange.stop()
        await self._until(lambda: self.idle, streams)
        for tunnel in tuple(edge.tunnels):
            tunnel.finish("ET", goodbye=True)
        for client in tuple(edge.clients):
            if client.exchange is not None:
                client.exchange.stop()

    def _waiting(self) -> list[ClientConnection]:
        """Clients of which no request has been heard, or none since the last."""
        return [
            client
            for client in self._edge.clients
            if client.exchange is None and not client.buffer and not client.closing
        ]

    def _requests(self) -> list[Exchange]:
        """Exchanges that are no streams: their answer's length is known, or their answer has not begun."""
        running = [client.exchange for client in self._edge.clients if client.exchange is not None]
        return [exchange for exchange in running if exchange.phase != "B" or exchange.framing >= 0]

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        end = self._edge.time() + seconds
        while not done() and self._edge.time() < end:  # noqa: ASYNC110 - an event would have to be set on the hot path
            await asyncio.sleep(_POLL)

    async def close(self) -> None:
        """End everything now."""
        edge = self._edge
        if self._server is not None:
            self._server.close()
        for tunnel in tuple(edge.tunnels):
            tunnel.finish("ET")
        edge.abort_leaving(math.inf)
        for client in tuple(edge.clients):
            if client.exchange is not None:
                client.exchange.client_gone()
            client.abort()
        edge.pools.close()
        await edge.tasks.close()
        # Transports close in the loop's next round; what looks at sockets after us shall find none.
        await self._until(lambda: not edge.clients and not edge.backends, 1.0)

    def _on_drop(self, route: Route) -> None:
        """A remembered route was taken away. Where it is in use, look at what the host leads to now."""
        edge = self._edge
        prepared = route.prepared
        if prepared is not None and (prepared.load.exchanges or prepared.pool.idle) and not edge.tasks.closed:
            edge.tasks.start("look again", self._look_again(route))

    async def _look_again(self, old: Route) -> None:
        new = await self._edge.resolver.resolve(old.host.encode("ascii"))
        before, now = old.resource, new.resource
        if before is not None and new.problem is errors.RESOURCE_DELETED:
            self._edge.pools.retire(before)
        moved = before is not None and now is not None and before.id != now.id
        if new.problem not in _FINAL and not moved:
            return
        ended = 0
        for tunnel in tuple(self._edge.tunnels):
            if tunnel.exchange.route is old:
                tunnel.finish("ET", goodbye=True)
                ended += 1
        for client in tuple(self._edge.clients):
            exchange = client.exchange
            if exchange is not None and exchange.route is old:
                exchange.stop()
                ended += 1
        _log.info("route taken away", host=old.host, ended=ended)
