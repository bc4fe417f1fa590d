"""How many of one worker's connections and exchanges clients, visitors and tenants may hold, and what is closed when
connections or descriptors run out.

Idle connections are closed first: those to backends, then kept-alive ones of clients, of the address that holds the most.
A trusted proxy connects for many visitors, so its connections are not counted against it; its visitors' exchanges are.
"""

import os
from typing import TYPE_CHECKING, Final

import structlog

from router.base import descriptors
from router.base.addresses import subscriber
from router.observe.metrics import Metrics
from router.settings import Limits

if TYPE_CHECKING:
    from router.proxy.client import ClientConnection
    from router.proxy.worker_state import WorkerState

_SILENT: Final = 1.0  # seconds without a first byte after which a new connection counts as idle
_PART: Final = 64  # of all connections: so many are closed at a time, since finding them is a pass over all
_SEARCH_EVERY: Final = 0.5  # seconds until the next search after one that has found nothing
_SPARE: Final = 32  # connections beyond the limit that get a response; further ones are closed at once
_LOG_EVERY: Final = 10.0  # seconds between two log lines of a kind
_MAX_SHARES: Final = 10_000  # holders; beyond that, those that hold nothing are removed

_PER_HOLDER: Final = ("connections_per_address", "exchanges_per_address", "exchanges_per_tenant")

_log = structlog.get_logger("router.proxy")


class Share:
    """What one address or tenant holds."""

    __slots__ = ("connections", "exchanges", "waiting")

    def __init__(self) -> None:
        self.connections = 0
        self.exchanges = 0  # those that wait for a place are among them
        self.waiting = 0


class Shares:
    """What each holder has, by name."""

    def __init__(self) -> None:
        self._of: dict[str, Share] = {}
        self._clean_at = _MAX_SHARES

    def __len__(self) -> int:
        return len(self._of)

    def of(self, holder: str) -> Share:
        """The share of that holder, which is made if it has none."""
        share = self._of.get(holder)
        if share is None:
            if len(self._of) >= self._clean_at:
                self._clean()
            share = self._of[holder] = Share()
        return share

    def held(self) -> dict[str, tuple[int, int]]:
        """(connections, exchanges) of each holder that has any."""
        return {
            name: (share.connections, share.exchanges)
            for name, share in self._of.items()
            if share.connections or share.exchanges
        }

    def _clean(self) -> None:
        self._of = {name: share for name, share in self._of.items() if share.exchanges or share.connections}
        self._clean_at = max(_MAX_SHARES, 2 * len(self._of))


def holder(address: str) -> str:
    """The holder of an address. An IPv4 address, of every exchange, costs no call of what is not compiled."""
    return subscriber(address) if ":" in address else address


def fit(limits: Limits) -> Limits:
    """The limits, with fewer connections if there are not enough descriptors: each client connection may need one to a
    backend. Then no address and no tenant may have more than half of them."""
    connections = max(1, descriptors.for_connections() // 2)
    if limits.connections <= connections:
        return limits
    _log.warning(
        "fewer connections than limits.connections: raise the limit of open files (LimitNOFILE, ulimit -n)",
        connections=connections,
        set=limits.connections,
        open_files=descriptors.limit(),
    )
    shares = {name: min(getattr(limits, name), max(1, connections // 2)) for name in _PER_HOLDER}
    return limits.model_copy(update={"connections": connections, **shares})


class ConnectionLimits:
    """See the module. One per worker."""

    def __init__(self, worker: "WorkerState", limits: Limits, metrics: Metrics) -> None:
        self._worker = worker
        self._metrics = metrics
        self._connections = limits.connections
        self._of_address = limits.connections_per_address
        self.exchanges_of_address = limits.exchanges_per_address
        self.exchanges_of_tenant = limits.exchanges_per_tenant
        self.addresses = Shares()
        self.tenants = Shares()
        self._limit = descriptors.limit()
        self._descriptors = descriptors.for_connections()
        self._search_at = 0.0
        self._quiet_until: dict[str, float] = {}

    # Clients.

    def enter(self, client: "ClientConnection") -> str:
        """Count a new connection and decide: `served`; `too_many`, for its address; `full`; or `flooded`, which is full with
        so many being refused already that this one gets no response."""
        worker = self._worker
        if not client.trusted:
            share = client.share = self.addresses.of(holder(client.peer))
            share.connections += 1
            client.counted = True
            if share.connections > self._of_address:
                if self._may_log("address"):
                    _log.warning("too many connections from one address", address=client.peer)
                over = share.connections - self._of_address
                return "too_many" if over <= _SPARE else "flooded"
        over = len(worker.clients) + len(worker.tunnels) + len(worker.http2_clients) - self._connections
        if over > 0 and not self._close_idle_clients():
            if self._may_log("connections"):
                _log.warning("connection limit reached", connections=self._connections)
            return "full" if over <= _SPARE else "flooded"
        return "served"

    def leave(self, client: "ClientConnection") -> None:
        """A connection that was counted has closed."""
        if client.counted and client.share is not None:
            client.counted = False
            client.share.connections -= 1

    def share_of(self, client: "ClientConnection", visitor: str) -> Share | None:
        """The share of the visitor behind a client's connection; None for a trusted proxy's own requests."""
        if not client.trusted:
            return client.share
        return None if visitor == client.peer else self.addresses.of(holder(visitor))

    def _close_idle_clients(self) -> bool:
        """Close some of the client connections that wait for a request; whether there were any."""
        worker = self._worker
        now = worker.now
        if now < self._search_at:
            return False
        held: dict[str, int] = {}
        idle: dict[str, list[ClientConnection]] = {}
        young = now + worker.limits.head_time - _SILENT
        for client in worker.clients:
            held[client.peer] = held.get(client.peer, 0) + 1
            if (
                client.exchange is None
                and not client.buffer
                and not client.closing
                and (client.started or client.deadline < young)
            ):
                idle.setdefault(client.peer, []).append(client)
        left = most = max(1, self._connections // _PART)
        for peer in sorted(idle, key=held.__getitem__, reverse=True):
            for client in sorted(idle[peer], key=_last_used)[:left]:
                client.finish()
                left -= 1
            if left <= 0:
                break
        if left == most:
            self._search_at = now + _SEARCH_EVERY
            return False
        self._count_closed("client", most - left)
        return True

    # Backends.

    def dialling(self) -> None:
        """A connection to a backend is about to be made: close idle ones if descriptors are short."""
        worker = self._worker
        if len(worker.clients) + len(worker.backends) + 2 * len(worker.tunnels) >= self._descriptors:
            self.close_idle_backends()

    def close_idle_backends(self) -> bool:
        """Close some idle connections to backends, the oldest first; whether there were any."""
        count = self._worker.pools.close_oldest(max(1, self._connections // _PART))
        if count:
            self._count_closed("backend", count)
        return count > 0

    # Descriptors.

    def check(self) -> None:
        """Check whether a descriptor can still be opened, and follow a changed limit. Called by the sweep."""
        most = descriptors.limit()
        if most != self._limit:
            self._limit, self._descriptors = most, descriptors.for_connections()
            self._connections = min(self._worker.limits.connections, max(1, self._descriptors // 2))
        try:
            os.close(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            self.used_up(error)

    def used_up(self, error: OSError) -> None:
        """A descriptor, or a port to dial from, was needed and none is left: close idle connections."""
        if self._may_log("descriptors"):
            _log.error("out of file descriptors or ports", error=error.strerror or str(error), limit=self._limit)
        if not self.close_idle_backends():
            self._close_idle_clients()

    def _may_log(self, topic: str) -> bool:
        """Whether to log this topic now: not if it was logged within the last seconds."""
        now = self._worker.now
        if now < self._quiet_until.get(topic, 0.0):
            return False
        self._quiet_until[topic] = now + _LOG_EVERY
        return True

    def _count_closed(self, side: str, count: int) -> None:
        self._metrics.count("idle_connections_closed", side, by=count)


def _last_used(client: "ClientConnection") -> float:
    return client.started
