"""The proxy as the rest of the program sees it: start, revoke, drain, close."""

import asyncio
import math
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, cast

import structlog

from router import errors
from router.access.keys import UNKNOWN, AccessKeys
from router.base.addresses import Network
from router.base.clock import Clock
from router.base.ticks import tick
from router.errors import Problem, StoreUnavailableError
from router.observe import endings
from router.observe.ended_exchange import Finished
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.pages import Pages
from router.proxy import sessions
from router.proxy.admission import judge_again
from router.proxy.capture import Captures
from router.proxy.client import ClientConnection
from router.proxy.exchange import Exchange
from router.proxy.guard import Visit
from router.proxy.h2_client import Http2Client
from router.proxy.replay import replay
from router.proxy.sweep import sweep
from router.proxy.wakes import WakeConfig, Wakes
from router.proxy.worker_state import PlainHttp, WorkerState
from router.routes.error_notes import ErrorNote
from router.routes.host_notes import HostNote
from router.routes.records import SESSION_ID, SigningKeysRecord
from router.routes.resolver import Resolver
from router.routes.route import Route
from router.settings import Limits

_log = structlog.get_logger("router.proxy")

_BACKLOG = 4096
_WATCH_EVERY = 1.0  # seconds between two checks of the routes that are in use
_WATCH_CONCURRENCY = 64  # hosts that are looked up for that at a time
_POLL = 0.05  # seconds between two checks of whether a drain is done
_FIRST_REQUEST = 1.0  # seconds that a new connection has for its first request in a drain

# Problems after which exchanges and tunnels to the host must end too.
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
        access: AccessKeys,
        plain: PlainHttp | None = None,
        cookie_zones: Collection[str] = (),
        trusted_headers: Mapping[Network, Collection[str]] | None = None,
        on_host_refused: Callable[[HostNote], object] = lambda _: None,
        on_error: Callable[[ErrorNote], object] = lambda _: None,
        wake: WakeConfig | None = None,
        login_url: str = "",
        captures: Captures | None = None,
    ) -> None:
        """`own_listeners` may still grow after this call. `plain` None serves what comes without TLS. `cookie_zones` are the zones that one host may set cookies for,
        `trusted_headers` what of `router/base/proxy_only_headers.py` is believed from which network. `on_host_refused` hears of programs that refuse the name that they are visited under,
        `on_error` of errors that a port's owner may read about, once or twice a second. `access` knows the keys that open what is not public. `login_url` is where people sign in by their tenants' logins. `wake` None wakes nothing, `captures` None captures nothing."""
        self._worker = WorkerState(
            resolver=resolver,
            pages=pages,
            recorder=recorder,
            metrics=metrics,
            limits=limits,
            trusted_proxies=trusted_proxies,
            backend_networks=backend_networks,
            own_listeners=own_listeners,
            clock=clock,
            plain=plain,
            cookie_zones=cookie_zones,
            trusted_headers=trusted_headers,
            on_host_refused=on_host_refused,
            access=access,
            on_error=on_error,
            login_url=login_url,
            captures=captures,
        )
        worker = self._worker
        worker.speak_http2 = lambda client, begun: Http2Client(worker, client, begun)
        if wake is not None:
            worker.wakes = Wakes(worker, wake)
        self._server: asyncio.Server | None = None
        self._signing: SigningKeysRecord | None = None  # that cookies were last judged by
        self._checked_keys: set[str] = set()  # API keys and sessions that are being looked up for what came in by them
        self._standing_in: dict[int, asyncio.Server] = {}  # on other workers' sockets
        resolver.on_drop(self._on_drop)
        access.on_drop(self._on_key_drop)
        metrics.gauge("client_connections", lambda: len(self._worker.clients))
        metrics.gauge(
            "exchanges_in_flight",
            lambda: sum(activity.exchanges + activity.tunnels for activity in self._worker.activities.values()),
        )
        metrics.gauge("requests_waiting", lambda: self._worker.queues.waiting)
        metrics.gauge("requests_held", lambda: 0 if worker.wakes is None else worker.wakes.held)
        metrics.gauge("exchanges_without_client", lambda: self._worker.without_client)
        metrics.gauge("tunnels", lambda: len(self._worker.tunnels))
        metrics.gauge("backend_connections", self._backend_connections)

    def _backend_connections(self) -> dict[str, float]:
        idle = self._worker.pools.idle
        return {"idle": idle, "busy": len(self._worker.backends) - idle}

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket (`node/sockets.py`), which is closed with the proxy."""
        worker = self._worker
        self._server = await self._accept(listener)
        worker.tasks.start("sweep", sweep(worker))
        worker.tasks.start("watch routes", self._watch())

    def learn(self, note: HostNote) -> None:
        """A program refuses the name that it is visited under, as another worker has found out."""
        self._worker.learn(note)

    def drop(self, keys: Collection[str]) -> None:
        """The records under these keys have changed."""
        if self._worker.wakes is not None:
            self._worker.wakes.drop(keys)

    def drop_all(self) -> None:
        """Changes may have been missed."""
        if self._worker.wakes is not None:
            self._worker.wakes.drop_all()

    async def replay(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request that was captured once more; see `replay.py`."""
        return await replay(self._worker, order)

    async def stand_in(self, listener: socket.socket, number: int) -> None:
        """Also accept on the socket of a worker that does not respond. If that worker accepts after all, each connection
        goes to one of the two, so a false alarm does no harm."""
        if self._worker.draining or number in self._standing_in:
            listener.close()
        else:
            self._standing_in[number] = await self._accept(listener)

    def stand_back(self, number: int) -> None:
        """Leave that socket to its worker again. Connections accepted on it stay here."""
        server = self._standing_in.pop(number, None)
        if server is not None:
            server.close()

    async def _accept(self, listener: socket.socket) -> asyncio.Server:
        worker = self._worker
        return await asyncio.get_running_loop().create_server(
            cast(Callable[[], asyncio.Protocol], partial(ClientConnection, worker)), sock=listener, backlog=_BACKLOG
        )

    def _accept_no_more(self) -> None:
        if self._server is not None:
            self._server.close()
        for number in tuple(self._standing_in):
            self.stand_back(number)

    def refused(self) -> Mapping[str, Any]:
        """What was refused lately because of its bytes, as JSON values."""
        return self._worker.refused.shown()

    def used(self, since: float) -> Mapping[str, float]:
        """When each resource was last used, of those that were at or after `since`; as instants of the monotonic clock."""
        return self._worker.used(since)

    def open_exchanges(self) -> list[sessions.Open]:
        """What is open, tunnels among them."""
        return sessions.open_exchanges(self._worker)

    def cut(self, chosen: Callable[[Finished], bool]) -> tuple[int, int]:
        """End those that are chosen; how many exchanges and tunnels these are."""
        return sessions.cut(self._worker, chosen)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._worker.tunnels and all(client.exchange is None for client in self._worker.clients)

    def leave(self) -> None:
        """Report in health checks that new traffic should go elsewhere. What arrives is still served."""
        self._worker.ready = False

    async def drain(self, requests: float, streams: float, *, patient: bool = False) -> None:
        """Take nothing new; let requests end within `requests` seconds, then tunnels and event streams within
        `streams` more; what is left then is ended. WebSockets hear 1001 (going away).

        A connection that waits for its next request is closed at once; that request may be on its way, and is lost
        then, which clients expect of a kept connection. A new one has a moment to bring its first. With `patient` each
        may still bring one, within `requests` seconds. It is answered with `Connection: close`.
        """
        worker = self._worker
        end = worker.time() + requests + streams
        worker.draining, worker.patient = True, patient
        if worker.wakes is not None:
            worker.wakes.leave()
        for connection in tuple(worker.http2_clients):
            connection.leave()
        await asyncio.sleep(0)  # let the loop accept queued connections: closing the socket would reset them
        self._accept_no_more()
        if patient:
            await self._until(lambda: not self._requests() and not self._waiting(), requests)
            worker.patient = False
        else:
            for client in self._waiting():
                if client.started:
                    client.finish()
            await self._until(lambda: not self._waiting(), min(_FIRST_REQUEST, requests))
        for client in self._waiting():
            client.finish()
        if not patient:
            await self._until(lambda: not self._requests(), requests)
        for exchange in self._requests():
            exchange.stop()
        await self._until(lambda: self.idle, streams)
        for tunnel in tuple(worker.tunnels):
            tunnel.finish(endings.EDGE_IN_TUNNEL, goodbye=True)
        for client in tuple(worker.clients):
            if client.exchange is not None:
                client.exchange.stop()
        # A client whose upload was refused may still be sending: a reset could make it lose the response.
        await self._until(lambda: not any(client.lingering for client in worker.clients), end - worker.time())

    def _waiting(self) -> list[ClientConnection]:
        """Clients that have sent no request, or none since the last response."""
        return [
            client
            for client in self._worker.clients
            if client.exchange is None and not client.buffer and not client.closing
        ]

    def _requests(self) -> list[Exchange]:
        """Exchanges that are no streams: their response's length is known, or their responses has not begun."""
        running = [client.exchange for client in self._worker.clients if client.exchange is not None]
        return [exchange for exchange in running if exchange.phase != endings.BODIES or exchange.framing >= 0]

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        end = self._worker.time() + seconds
        while not done() and self._worker.time() < end:  # noqa: ASYNC110 - an event would have to be set on the hot path
            await asyncio.sleep(_POLL)

    async def close(self) -> None:
        """End everything now."""
        worker = self._worker
        self._accept_no_more()
        for tunnel in tuple(worker.tunnels):
            tunnel.finish(endings.EDGE_IN_TUNNEL)
        worker.abort_leaving(math.inf)
        for client in tuple(worker.clients):
            if client.exchange is not None:
                client.exchange.client_gone()
            client.abort()
        for connection in (*worker.http2_clients, *worker.http2_backends):
            connection.abort()
        worker.pools.close()
        await worker.tasks.close()
        # Transports close in the loop's next turn: return when no socket is left.
        await self._until(
            lambda: (
                not worker.clients and not worker.backends and not worker.http2_clients and not worker.http2_backends
            ),
            1.0,
        )

    def _on_drop(self, route: Route) -> None:
        """A remembered route was removed from the cache. If it may be in use, look up what the host leads to now."""
        worker = self._worker
        prepared, resource = route.prepared, route.resource
        activity = None if resource is None else worker.activities.get(resource.id)
        busy = activity is not None and activity.exchanges + activity.tunnels > 0
        if (busy or (prepared is not None and prepared.pool.idle)) and not worker.tasks.closed:
            worker.tasks.start("check a route", self._check_route(route))

    def _on_key_drop(self, key: str) -> None:
        """What was remembered of an API key or a session has changed. Those who came in by it may have to leave."""
        if any(visit.entry.looked_up == key for visit in self._visits() if visit.entry is not None):
            self._start_check_of_key(key)

    def _is_unknown(self, key: str) -> bool:
        access = self._worker.access
        if key.startswith(SESSION_ID):
            return access.peek_session(key) is UNKNOWN
        return access.peek(key) is UNKNOWN

    def _start_check_of_key(self, key: str) -> None:
        if key not in self._checked_keys and not self._worker.tasks.closed:
            self._checked_keys.add(key)
            self._worker.tasks.start("check a key", self._check_key(key))

    async def _check_key(self, key: str) -> None:
        """End what came in by an API key or a session that no longer opens it. While the store is away it is asked again and
        again."""
        access = self._worker.access
        try:
            while self._is_unknown(key):
                try:
                    if key.startswith(SESSION_ID):
                        await access.resolve_session(key)
                    else:
                        await access.resolve(key)
                except StoreUnavailableError:
                    await asyncio.sleep(_WATCH_EVERY)
        finally:
            self._checked_keys.discard(key)
        for exchange in self._in_use():
            visit = exchange.visit
            if visit is not None and visit.entry is not None and visit.entry.looked_up == key:
                self._end_if_shut_out(exchange)

    def _end_if_shut_out(self, exchange: Exchange) -> None:
        """End an exchange or a tunnel whose visitor may no longer be here, as far as its route says."""
        why = None if exchange.route is None else judge_again(exchange, exchange.route)
        if why is None:
            return
        if exchange.phase != endings.TUNNEL:
            exchange.stop(why)
            return
        for tunnel in tuple(self._worker.tunnels):
            if tunnel.exchange is exchange:
                tunnel.finish(endings.EDGE_IN_TUNNEL, goodbye=True)

    async def _watch(self) -> None:
        """Check every second what is open, until cancelled."""
        while True:
            await tick(_WATCH_EVERY)
            self.check_open()

    def check_open(self) -> None:
        """Look up the hosts of open exchanges whose routes the resolver no longer remembers, since it reports changes only
        of those that it does: routes expire, are evicted, or were overtaken by a change during the look-up. The same holds
        for API keys and sessions. And end what was let in until a time that has come, or by a cookie whose key was withdrawn."""
        worker = self._worker
        now, signing = worker.date(), worker.access.signing
        replaced, self._signing = signing is not self._signing, signing
        unseen: dict[str, Route] = {}
        for exchange in self._in_use():
            route, visit = exchange.route, exchange.visit
            if route is None:
                continue
            if not route.current:
                unseen[route.host] = route
            if visit is None or visit.entry is None:
                continue
            if now >= visit.until or (replaced and visit.entry.signed_by):
                self._end_if_shut_out(exchange)
            elif visit.entry.looked_up and self._is_unknown(visit.entry.looked_up):
                self._start_check_of_key(visit.entry.looked_up)
        for route in islice(unseen.values(), _WATCH_CONCURRENCY):
            worker.tasks.start("check a route", self._check_route(route))

    def _visits(self) -> Iterator[Visit]:
        for exchange in self._in_use():
            if exchange.visit is not None:
                yield exchange.visit

    def _in_use(self) -> list[Exchange]:
        """The tunnels' exchanges, those that have a place at their resource, and those that are held for theirs."""
        worker = self._worker
        running = [client.exchange for client in worker.clients if client.exchange is not None]
        tunnels = [tunnel.exchange for tunnel in worker.tunnels]
        return tunnels + [exchange for exchange in running if exchange.activity is not None or exchange.held]

    async def _check_route(self, old: Route) -> None:
        """End exchanges and tunnels to a host that no longer leads to their resource; the others get the new route, and those
        that are still being connected go where it leads."""
        new = await self._worker.resolver.resolve(old.host.encode("ascii"))
        if old.resource is not None and new.problem is errors.RESOURCE_DELETED:
            self._worker.pools.retire(old.resource)
        ended = 0
        for tunnel in tuple(self._worker.tunnels):
            if self._removed(tunnel.exchange, new) is not None:
                tunnel.finish(endings.EDGE_IN_TUNNEL, goodbye=True)
                ended += 1
        for client in tuple(self._worker.clients):
            exchange = client.exchange
            if exchange is None:
                continue
            why = self._removed(exchange, new)
            if why is not None:
                exchange.stop(why)
                ended += 1
            elif exchange.route is new and exchange.phase == endings.DIAL and exchange.leads_elsewhere(new):
                exchange.readmit(new)
        if ended:
            _log.info("route removed", host=old.host, ended=ended)

    def _removed(self, exchange: Exchange, new: Route) -> Problem | None:
        """Why an exchange of this host must end: its resource is no longer to be reached there, or not by its visitor."""
        old = exchange.route
        if old is None or old is new or old.host != new.host:
            return None
        before, now = old.resource, new.resource
        if new.problem in _FINAL or (before is not None and now is not None and before.id != now.id):
            return new.problem or errors.HOST_NOT_FOUND
        if exchange.activity is not None or exchange.held:  # the others are admitted by the new route
            why = judge_again(exchange, new)
            if why is not None:
                return why
        if new.current:
            exchange.route = new
        return None
