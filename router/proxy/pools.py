"""All pools of a worker: one per (resource, port), of one generation at a time. Over TLS there is one for each host too, since
the handshake names it.

Connections are never shared between resources, whatever the address: an address that a sandbox leaves is soon another's.
"""

import heapq
import math
from collections.abc import Iterator
from weakref import WeakValueDictionary, ref

from router.proxy.pool import Keeping, Pool, Watch
from router.routes.records import HTTP1, Endpoint, ResourceRecord

_POOLS_PER_PASS = 8  # each may have connections to close, at some 15 µs

_Key = tuple[int, str | None, str]


class _Siblings(dict[_Key, ref[Pool]]):
    """The pools of one resource, by public port, server name and protocol, and the version of the record that they were last made from.

    The pools refer to it, and it refers to them weakly. Otherwise each resource would leave a reference cycle, a kilobyte
    for each host that a worker has forgotten, until a full garbage collection, which is rare.
    """

    version = 0

    def living(self) -> Iterator[tuple[_Key, Pool]]:
        """Those that are still in use; the others are removed."""
        for key, known in tuple(self.items()):
            pool = known()
            if pool is None:
                del self[key]
            else:
                yield key, pool


class Pools:
    """All pools of a worker, held weakly: a pool lives as long as a remembered route or a connection has it."""

    def __init__(self, keeping: Keeping | None = None) -> None:
        self._keeping = keeping
        self._watch: Watch = []
        self._of_resource: WeakValueDictionary[tuple[str, str], _Siblings] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Pool]:
        for pools in tuple(self._of_resource.values()):
            for _, pool in pools.living():
                yield pool

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def of(
        self,
        resource: ResourceRecord,
        endpoint: Endpoint,
        public_port: int,
        server_name: str | None = None,
        protocol: str = HTTP1,
    ) -> Pool:
        """The pool of that port, over TLS where there is a `server_name`. A new generation or address closes the old ones of all the resource's ports.

        A look-up that began before a change may still ask for the old endpoint: it gets a pool that keeps nothing.
        """
        key = (resource.id, resource.slug)  # a record's version counts under its slug
        pools = self._of_resource.get(key)
        if pools is None:
            pools = self._of_resource[key] = _Siblings()
        if resource.version < pools.version:
            late = Pool(
                endpoint.address,
                endpoint.port(public_port),
                endpoint.generation,
                None,
                self._watch,
                server_name,
                self._keeping,
                protocol,
            )
            late.retired = True
            return late
        pools.version = resource.version
        this: _Key = (public_port, server_name, protocol)
        known: Pool | None = None
        for one, pool in pools.living():
            if (pool.generation, pool.address) != (endpoint.generation, endpoint.address):
                del pools[one]
                pool.retire()
            elif one == this:
                known = pool
        dialled = endpoint.port(public_port)
        if known is not None:
            if known.port == dialled:
                return known
            known.retire()
        made = Pool(
            endpoint.address, dialled, endpoint.generation, pools, self._watch, server_name, self._keeping, protocol
        )
        pools[this] = ref(made)
        return made

    def of_port(self, resource_id: str, slug: str, public_port: int) -> list[Pool]:
        """The pools of that port that are in use."""
        pools = self._of_resource.get((resource_id, slug))
        return [] if pools is None else [pool for (port, _, _), pool in pools.living() if port == public_port]

    def retire(self, resource: ResourceRecord) -> None:
        """Close the idle connections of a resource that was deleted."""
        pools = self._of_resource.pop((resource.id, resource.slug), None)
        for _, pool in pools.living() if pools is not None else ():
            pool.retire()

    def sweep(self, now: float, max_pools: int = _POOLS_PER_PASS) -> bool:
        """Close connections that have been idle for too long, of at most `max_pools` pools; whether more may be due."""
        watch = self._watch
        while watch and watch[0][0] < now:
            if max_pools == 0:
                return True
            max_pools -= 1
            heapq.heappop(watch)[2].sweep(now)
        return False

    def close_oldest(self, count: int) -> int:
        """Close `count` idle connections or a few more, of the pools that have been idle for longest; how many."""
        watch, closed = self._watch, 0
        while watch and closed < count:
            pool = heapq.heappop(watch)[2]
            closed += len(pool.idle)
            pool.sweep(math.inf)
        return closed

    @property
    def idle(self) -> int:
        """How many connections are kept and not in use. Those that the backend has closed meanwhile may still be counted."""
        return sum(not backend.closing for _, _, pool in self._watch for backend in pool.idle)

    def close(self) -> None:
        """Close everything that is idle and keep nothing from now on."""
        for pool in self:
            pool.retire()
        self._of_resource.clear()
