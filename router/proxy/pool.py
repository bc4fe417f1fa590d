"""Kept connections to backends, one pool per (resource, port), of one generation at a time.

Connections are never shared between resources, whatever the address: an address that a sandbox leaves is soon
another's. A pool is last in, first out, so that the connection used is the one least likely to have been given up by
the other side, and every operation is O(1).
"""

import heapq
from collections.abc import Iterator
from weakref import WeakValueDictionary, ref

from router.proxy.backend import BackendConnection
from router.routes.records import Endpoint, ResourceRecord

_AT_ONCE = 8  # pools, of which each may have connections to close at some 15 µs


class Pool:
    """The kept connections of one port of one resource, of one generation."""

    __slots__ = (
        "__weakref__",
        "_watched",
        "address",
        "generation",
        "idle",
        "name",
        "port",
        "retired",
        "siblings",
        "watch",
    )

    def __init__(
        self,
        address: str,
        port: int,
        generation: str,
        siblings: "_Siblings | None" = None,
        watch: "_Watch | None" = None,
    ) -> None:
        self.siblings = siblings  # held, so that they are found as long as one of them is in use
        self.watch: _Watch = [] if watch is None else watch
        self._watched = False
        self.address = address
        self.port = port
        self.generation = generation
        self.name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.idle: list[BackendConnection] = []
        self.retired = False

    def __repr__(self) -> str:
        return f"<Pool {self.address}:{self.port} {self.generation}: {len(self.idle)} idle>"

    def take(self) -> BackendConnection | None:
        """The connection given back last, or None."""
        while self.idle:
            backend = self.idle.pop()
            if not backend.closing:
                return backend
        return None

    def give(self, backend: BackendConnection, now: float) -> None:
        """Keep a connection whose exchange is over, unless the pool belongs to the past."""
        if self.retired or backend.closing:
            backend.close()
            return
        backend.idle_since = now
        self.idle.append(backend)
        if not self._watched:
            self._watched = True
            heapq.heappush(self.watch, (now, id(self), self))

    def retire(self) -> None:
        """Close what is idle; what is busy is closed when its exchange is over."""
        self.retired = True
        for backend in self.idle:
            backend.close()
        self.idle.clear()

    def look(self, since: float) -> None:
        """As `close_idle`, and be looked at again when the oldest that is left may be due."""
        self.close_idle(since)
        self._watched = bool(self.idle)
        if self._watched:
            heapq.heappush(self.watch, (self.idle[0].idle_since, id(self), self))

    def close_idle(self, since: float) -> None:
        """Close connections that have been idle since before `since`; the oldest are first in the list."""
        keep = 0
        while keep < len(self.idle) and (self.idle[keep].idle_since < since or self.idle[keep].closing):
            self.idle[keep].close()
            keep += 1
        if keep:
            del self.idle[:keep]


# Pools that keep connections, and since when the oldest may have been idle: a heap, so that nobody looks at ten thousand
# of them to find the few that are due. Each is in it once.
_Watch = list[tuple[float, int, Pool]]


class _Siblings(dict[int, "ref[Pool]"]):
    """The pools of one resource, by public port, and the version of the record that they were last made from.

    They hold it and it does not hold them, or each resource would leave a cycle for the collector, which comes seldom:
    a kilobyte for each host that a worker has forgotten.
    """

    version = 0

    def living(self) -> Iterator[tuple[int, Pool]]:
        """Those that somebody has; the others are dropped."""
        for port, known in tuple(self.items()):
            pool = known()
            if pool is None:
                del self[port]
            else:
                yield port, pool


class Pools:
    """All pools of a worker, held weakly: a pool lives as long as a remembered route or a connection has it."""

    def __init__(self) -> None:
        self._watch: _Watch = []
        self._of_resource: WeakValueDictionary[tuple[str, str], _Siblings] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Pool]:
        for pools in tuple(self._of_resource.values()):
            for _, pool in pools.living():
                yield pool

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def of(self, resource: ResourceRecord, endpoint: Endpoint, public_port: int) -> Pool:
        """The pool of that port. A new generation or address closes the old ones of all the resource's ports.

        A look-up that a change overtook may still ask for the old endpoint: it gets a pool that keeps nothing.
        """
        key = (resource.id, resource.slug)  # a record's version counts under its slug
        pools = self._of_resource.get(key)
        if pools is None:
            pools = self._of_resource[key] = _Siblings()
        if resource.version < pools.version:
            late = Pool(endpoint.address, endpoint.port(public_port), endpoint.generation, watch=self._watch)
            late.retired = True
            return late
        pools.version = resource.version
        known: Pool | None = None
        for port, pool in pools.living():
            if (pool.generation, pool.address) != (endpoint.generation, endpoint.address):
                del pools[port]
                pool.retire()
            elif port == public_port:
                known = pool
        dialled = endpoint.port(public_port)
        if known is not None:
            if known.port == dialled:
                return known
            known.retire()
        made = Pool(endpoint.address, dialled, endpoint.generation, pools, self._watch)
        pools[public_port] = ref(made)
        return made

    def retire(self, resource: ResourceRecord) -> None:
        """Close what is kept for a resource that has gone."""
        pools = self._of_resource.pop((resource.id, resource.slug), None)
        for _, pool in pools.living() if pools is not None else ():
            pool.retire()

    def sweep(self, since: float, most: int = _AT_ONCE) -> bool:
        """Close connections idle since before `since`, of at most so many pools; whether there may be more of them."""
        watch = self._watch
        while watch and watch[0][0] < since:
            if most == 0:
                return True
            most -= 1
            heapq.heappop(watch)[2].look(since)
        return False

    @property
    def idle(self) -> int:
        """How many connections are kept and not in use. What the other side has given up is found out later."""
        return sum(not backend.closing for _, _, pool in self._watch for backend in pool.idle)

    def close(self) -> None:
        """Close everything that is idle and keep nothing from now on."""
        for pool in self:
            pool.retire()
        self._of_resource.clear()
