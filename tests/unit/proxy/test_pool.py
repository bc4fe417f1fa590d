"""Kept connections to backends: last in, first out, and never past a generation, an address or a resource."""

import gc

import pytest

from router.proxy.pool import Pool, Pools
from router.routes.records import Endpoint
from tests.unit.proxy.build import aborted, build_edge, connect, record

EDGE = build_edge()


def pool() -> Pool:
    """One of a running sandbox."""
    return Pool("127.0.0.1", 3000, "boot-1")


def of(
    pools: Pools, port: int = 3000, *, generation: str = "boot-1", address: str = "127.0.0.1", **changes: object
) -> Pool:
    """The pool of a port of a resource with that endpoint."""
    leads_to = record(address, generation, **changes)
    assert isinstance(leads_to.endpoint, Endpoint)
    return pools.of(leads_to, leads_to.endpoint, port)


def test_empty() -> None:
    """A pool makes no connections."""
    assert pool().take() is None


def test_last_in_first_out() -> None:
    """The connection that was used last is the one least likely to have been given up by the other side."""
    kept = pool()
    one, two, three = [connect(EDGE, kept) for _ in range(3)]
    kept.give(one, 1.0)
    kept.give(two, 2.0)
    assert kept.take() is two
    kept.give(three, 3.0)
    assert [kept.take(), kept.take(), kept.take()] == [three, one, None]
    assert not aborted(one)


def test_closed_connections_are_passed_over() -> None:
    """What the backend closed while it was kept is never handed out."""
    kept = pool()
    one, two, three = [connect(EDGE, kept) for _ in range(3)]
    for backend in (one, two, three):
        kept.give(backend, 1.0)
    two.eof_received()
    three.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")  # nobody asked: that connection is confused
    assert aborted(two)
    assert aborted(three)
    assert kept.take() is one
    assert kept.take() is None


def test_a_lost_connection_is_not_kept() -> None:
    """A connection that ended with its exchange is not given back."""
    kept = pool()
    backend = connect(EDGE, kept)
    backend.connection_lost(None)
    kept.give(backend, 1.0)
    assert kept.idle == []


def test_retired() -> None:
    """A pool of the past closes what is idle, and keeps nothing that comes back later."""
    kept = pool()
    idle, busy = connect(EDGE, kept), connect(EDGE, kept)
    kept.give(idle, 1.0)
    kept.retire()
    assert aborted(idle)
    assert not aborted(busy)
    kept.give(busy, 2.0)
    assert aborted(busy)
    assert kept.take() is None


def test_close_idle() -> None:
    """Connections go when they have been kept since before an instant; the oldest are first."""
    kept = pool()
    backends = [connect(EDGE, kept) for _ in range(4)]
    for instant, backend in enumerate(backends):
        kept.give(backend, float(instant))
    kept.close_idle(0.0)
    assert kept.idle == backends
    kept.close_idle(2.0)
    assert kept.idle == backends[2:]
    assert [aborted(backend) for backend in backends] == [True, True, False, False]
    backends[2].eof_received()
    kept.close_idle(0.0)
    assert kept.idle == backends[3:]
    kept.close_idle(100.0)
    assert kept.idle == []


NAMES = [("127.0.0.1", "127.0.0.1:3000"), ("::1", "[::1]:3000")]


@pytest.mark.parametrize(("address", "name"), NAMES)
def test_names(address: str, name: str) -> None:
    """A pool is named after what it dials; its repr says what it holds."""
    kept = Pool(address, 3000, "boot-1")
    assert kept.name == name
    kept.give(connect(EDGE, kept), 1.0)
    assert repr(kept) == f"<Pool {address}:3000 boot-1: 1 idle>"


# All pools of a worker.


def test_one_pool_for_each_port() -> None:
    """The same resource, port and endpoint are the same pool; everything else is another."""
    pools = Pools()
    one = of(pools)
    assert of(pools) is one
    two = of(pools, 5173)
    other = of(pools, slug="blog")
    assert len({id(found) for found in (one, two, other)}) == len(pools) == 3
    assert set(pools) == {one, two, other}
    assert not one.retired


def test_resources_share_nothing() -> None:
    """The same address and port of two resources are two pools: an address that a sandbox leaves is soon another's."""
    pools = Pools()
    one, other = of(pools, slug="shop"), of(pools, slug="blog")
    assert (one.address, one.port) == (other.address, other.port)
    one.give(connect(EDGE, one), 1.0)
    assert other.take() is None


CHANGES = [
    {"generation": "boot-2"},
    {"address": "127.0.0.2"},
    {"generation": "boot-2", "address": "127.0.0.2"},
    {"ports": {3000: 4000}},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_endpoint_closes_the_old_pool(change: dict[str, object]) -> None:
    """After a boot or a move nothing of before is used: neither what is idle nor what comes back."""
    pools = Pools()
    old = of(pools)
    idle, busy = connect(EDGE, old), connect(EDGE, old)
    old.give(idle, 1.0)
    new = of(pools, version=2, **change)  # type: ignore[arg-type]
    assert new is not old
    assert old.retired
    assert not new.retired
    assert aborted(idle)
    old.give(busy, 2.0)
    assert aborted(busy)
    assert of(pools, version=2, **change) is new  # type: ignore[arg-type]
    assert list(pools) == [new]


def test_a_new_generation_closes_the_pools_of_all_ports() -> None:
    """The first port that is asked for after a boot speaks for all of them."""
    pools = Pools()
    one, two = of(pools, 3000), of(pools, 5173)
    idle = connect(EDGE, two)
    two.give(idle, 1.0)
    of(pools, 3000, generation="boot-2", version=2)
    assert one.retired
    assert two.retired
    assert aborted(idle)


def test_a_port_mapped_anew_closes_only_its_own_pool() -> None:
    """The others still lead where they did."""
    pools = Pools()
    one, two = of(pools, 3000), of(pools, 5173)
    of(pools, 3000, ports={3000: 4000}, version=2)
    assert one.retired
    assert not two.retired


def test_an_older_record_closes_nothing() -> None:
    """A look-up that a change overtook gets a pool that keeps nothing; the new one goes on."""
    pools = Pools()
    new = of(pools, generation="boot-2", version=2)
    idle = connect(EDGE, new)
    new.give(idle, 1.0)
    late = of(pools, generation="boot-1", version=1)
    assert late.generation == "boot-1"
    assert late.retired
    assert not new.retired
    assert not aborted(idle)
    backend = connect(EDGE, late)
    late.give(backend, 1.0)
    assert aborted(backend)
    assert of(pools, generation="boot-2", version=2) is new


def test_versions_count_per_slug() -> None:
    """A resource that got another slug counts from the start, and is another's neighbour."""
    pools = Pools()
    old = of(pools, slug="shop", id="r-1", version=7)
    renamed = of(pools, slug="store", id="r-1", version=1)
    assert renamed is not old
    assert not renamed.retired


def test_pools_that_nobody_has_are_forgotten() -> None:
    """A pool lives as long as a route or a connection has it, and goes with the last of them, without the collector; a
    scan of 65,535 ports leaves nothing behind."""
    pools = Pools()
    kept = of(pools, slug="blog")
    gc.disable()
    try:
        for port in range(1, 101):
            of(pools, port)
        assert list(pools) == [kept]
    finally:
        gc.enable()
    kept.give(connect(EDGE, kept), 1.0)
    found = next(iter(pools)).take()
    del kept
    gc.collect()
    assert found is not None
    assert len(pools) == 1
    assert found.pool in set(pools)


def test_retire_a_resource() -> None:
    """What is kept for a resource that has gone is closed, on all its ports, and nobody else's."""
    pools = Pools()
    one, two, other = of(pools, 3000), of(pools, 5173), of(pools, slug="blog")
    idle = connect(EDGE, two)
    two.give(idle, 1.0)
    pools.retire(record())
    pools.retire(record(slug="unheard-of"))
    assert [one.retired, two.retired, other.retired] == [True, True, False]
    assert aborted(idle)
    assert list(pools) == [other]


def test_sweep() -> None:
    """One look at all pools closes what has been idle too long."""
    pools = Pools()
    one, two, empty = of(pools, 3000), of(pools, 5173), of(pools, slug="blog")
    early, late = connect(EDGE, one), connect(EDGE, two)
    one.give(early, 1.0)
    two.give(late, 2.0)
    pools.sweep(2.0)
    assert [one.idle, two.idle, empty.idle] == [[], [late], []]
    assert aborted(early)


def test_close() -> None:
    """In the end everything idle is closed, and what is busy is not kept when it comes back."""
    pools = Pools()
    kept = of(pools)
    idle, busy = connect(EDGE, kept), connect(EDGE, kept)
    kept.give(idle, 1.0)
    pools.close()
    assert aborted(idle)
    kept.give(busy, 2.0)
    assert aborted(busy)
    assert len(pools) == 0


def test_a_look_at_ten_thousand_pools_touches_the_few_that_are_due() -> None:
    """What is idle for a shorter time is not even looked at: everybody waits while it is swept."""
    pools = Pools()
    kept = [of(pools, slug=f"box{number}") for number in range(100)]
    for number, pool in enumerate(kept):
        pool.give(connect(EDGE, pool), float(number))
    assert not pools.sweep(2.0)
    assert [len(pool.idle) for pool in kept] == [0] * 2 + [1] * 98
    assert pools.idle == 98
    assert len(pools._watch) == 98


def test_of_many_that_are_due_a_few_are_closed_at_once() -> None:
    """The rest is left to the next look."""
    pools = Pools()
    kept = [of(pools, slug=f"box{number}") for number in range(10)]
    for pool in kept:
        pool.give(connect(EDGE, pool), 1.0)
    assert pools.sweep(2.0, most=6)
    assert pools.idle == 4
    assert not pools.sweep(2.0, most=6)
    assert pools.idle == 0


def test_a_pool_that_is_used_is_looked_at_when_its_oldest_connection_may_be_due() -> None:
    """Connections come and go between two looks; each is closed at its time."""
    pools = Pools()
    pool = of(pools)
    one, two = connect(EDGE, pool), connect(EDGE, pool)
    pool.give(one, 1.0)
    assert pool.take() is one
    pool.give(two, 2.0)
    pool.give(one, 3.0)
    pools.sweep(2.0)
    assert pool.idle == [two, one]
    pools.sweep(2.5)
    assert pool.idle == [one]
    pools.sweep(3.5)
    assert pool.idle == []
    assert pools._watch == []
    pool.give(connect(EDGE, pool), 4.0)
    assert len(pools._watch) == 1
