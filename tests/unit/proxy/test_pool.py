"""Kept connections to backends: last in, first out, and never past a generation, an address or a resource."""

import gc

import pytest

from router.proxy.pool import Keeping, Pool
from router.proxy.pools import Pools
from router.routes.records import Endpoint
from tests.unit.proxy.build import aborted, build_worker, connect, record

WORKER = build_worker()
KEEPING = Keeping(longest=30.0, unsaid=30.0, unproven=1.0, call_later=lambda _delay, _step: Never())


class Never:
    """A timer that is never due."""

    def cancel(self) -> None:
        pass


def pool() -> Pool:
    """One of a running sandbox."""
    return Pool("127.0.0.1", 3000, "boot-1", keeping=KEEPING)


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
    one, two, three = [connect(WORKER, kept) for _ in range(3)]
    kept.give(one, 1.0)
    kept.give(two, 2.0)
    assert kept.take() is two
    kept.give(three, 3.0)
    assert [kept.take(), kept.take(), kept.take()] == [three, one, None]
    assert not aborted(one)


def test_pools_of_which_nothing_is_unanswered_have_no_table_for_it() -> None:
    """Ten thousand hosts have a pool each: what they share is empty, whether the last new connection was answered or has closed."""
    one, other = pool(), pool()
    answered, closed = connect(WORKER, one), connect(WORKER, one)
    one.sent(answered)
    one.sent(closed)
    assert list(one.unanswered) == [answered, closed]
    assert list(other.unanswered) == []
    one.answered(answered, 1.0)
    one.gone(closed)
    assert one.unanswered is other.unanswered
    one.sent(closed)
    one.answered(closed, 2.0)
    assert one.unanswered is other.unanswered
    assert list(other.unanswered) == []


def test_closed_connections_are_passed_over() -> None:
    """What the backend closed while it was kept is never handed out."""
    kept = pool()
    one, two, three = [connect(WORKER, kept) for _ in range(3)]
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
    backend = connect(WORKER, kept)
    backend.connection_lost(None)
    kept.give(backend, 1.0)
    assert kept.idle == []


def test_retired() -> None:
    """A pool of the past closes what is idle, and keeps nothing that comes back later."""
    kept = pool()
    idle, busy = connect(WORKER, kept), connect(WORKER, kept)
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
    backends = [connect(WORKER, kept) for _ in range(4)]
    for instant, backend in enumerate(backends):
        kept.give(backend, float(instant))
    kept.close_idle(30.0)
    assert kept.idle == backends
    kept.close_idle(32.0)
    assert kept.idle == backends[2:]
    assert [aborted(backend) for backend in backends] == [True, True, False, False]
    backends[2].eof_received()
    kept.close_idle(30.0)
    assert kept.idle == backends[3:]
    kept.close_idle(130.0)
    assert kept.idle == []


NAMES = [("127.0.0.1", "127.0.0.1:3000"), ("::1", "[::1]:3000")]


@pytest.mark.parametrize(("address", "name"), NAMES)
def test_names(address: str, name: str) -> None:
    """A pool is named after what it dials; its repr says what it holds."""
    kept = Pool(address, 3000, "boot-1", keeping=KEEPING)
    assert kept.name == name
    kept.give(connect(WORKER, kept), 1.0)
    assert repr(kept) == f"<Pool {address}:3000 boot-1: 1 idle>"


# All pools of a worker.


def test_one_pool_for_each_port() -> None:
    """The same resource, port and endpoint are the same pool; everything else is another."""
    pools = Pools(KEEPING)
    one = of(pools)
    assert of(pools) is one
    two = of(pools, 5173)
    other = of(pools, slug="blog")
    assert len({id(found) for found in (one, two, other)}) == len(pools) == 3
    assert set(pools) == {one, two, other}
    assert not one.retired


def test_resources_share_nothing() -> None:
    """The same address and port of two resources are two pools: an address that a sandbox leaves is soon another's."""
    pools = Pools(KEEPING)
    one, other = of(pools, slug="shop"), of(pools, slug="blog")
    assert (one.address, one.port) == (other.address, other.port)
    one.give(connect(WORKER, one), 1.0)
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
    pools = Pools(KEEPING)
    old = of(pools)
    idle, busy = connect(WORKER, old), connect(WORKER, old)
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
    pools = Pools(KEEPING)
    one, two = of(pools, 3000), of(pools, 5173)
    idle = connect(WORKER, two)
    two.give(idle, 1.0)
    of(pools, 3000, generation="boot-2", version=2)
    assert one.retired
    assert two.retired
    assert aborted(idle)


def test_a_port_mapped_anew_closes_only_its_own_pool() -> None:
    """The others still lead where they did."""
    pools = Pools(KEEPING)
    one, two = of(pools, 3000), of(pools, 5173)
    of(pools, 3000, ports={3000: 4000}, version=2)
    assert one.retired
    assert not two.retired


def test_an_older_record_closes_nothing() -> None:
    """A look-up that a change overtook gets a pool that keeps nothing; the new one goes on."""
    pools = Pools(KEEPING)
    new = of(pools, generation="boot-2", version=2)
    idle = connect(WORKER, new)
    new.give(idle, 1.0)
    late = of(pools, generation="boot-1", version=1)
    assert late.generation == "boot-1"
    assert late.retired
    assert not new.retired
    assert not aborted(idle)
    backend = connect(WORKER, late)
    late.give(backend, 1.0)
    assert aborted(backend)
    assert of(pools, generation="boot-2", version=2) is new


def test_versions_count_per_slug() -> None:
    """A resource that got another slug counts from the start, and is another's neighbour."""
    pools = Pools(KEEPING)
    old = of(pools, slug="shop", id="r-1", version=7)
    renamed = of(pools, slug="store", id="r-1", version=1)
    assert renamed is not old
    assert not renamed.retired


def test_pools_that_nobody_has_are_forgotten() -> None:
    """A pool lives as long as a route or a connection has it, and goes with the last of them, without the collector; a
    scan of 65,535 ports leaves nothing behind."""
    pools = Pools(KEEPING)
    kept = of(pools, slug="blog")
    gc.disable()
    try:
        for port in range(1, 101):
            of(pools, port)
        assert list(pools) == [kept]
    finally:
        gc.enable()
    kept.give(connect(WORKER, kept), 1.0)
    found = next(iter(pools)).take()
    del kept
    gc.collect()
    assert found is not None
    assert len(pools) == 1
    assert found.pool in set(pools)


def test_retire_a_resource() -> None:
    """What is kept for a resource that has gone is closed, on all its ports, and nobody else's."""
    pools = Pools(KEEPING)
    one, two, other = of(pools, 3000), of(pools, 5173), of(pools, slug="blog")
    idle = connect(WORKER, two)
    two.give(idle, 1.0)
    pools.retire(record())
    pools.retire(record(slug="unheard-of"))
    assert [one.retired, two.retired, other.retired] == [True, True, False]
    assert aborted(idle)
    assert list(pools) == [other]


def test_sweep() -> None:
    """One look at all pools closes what has been idle too long."""
    pools = Pools(KEEPING)
    one, two, empty = of(pools, 3000), of(pools, 5173), of(pools, slug="blog")
    early, late = connect(WORKER, one), connect(WORKER, two)
    one.give(early, 1.0)
    two.give(late, 2.0)
    pools.sweep(32.0)
    assert [one.idle, two.idle, empty.idle] == [[], [late], []]
    assert aborted(early)


def test_close() -> None:
    """In the end everything idle is closed, and what is busy is not kept when it comes back."""
    pools = Pools(KEEPING)
    kept = of(pools)
    idle, busy = connect(WORKER, kept), connect(WORKER, kept)
    kept.give(idle, 1.0)
    pools.close()
    assert aborted(idle)
    kept.give(busy, 2.0)
    assert aborted(busy)
    assert len(pools) == 0


def test_a_look_at_ten_thousand_pools_touches_the_few_that_are_due() -> None:
    """What is idle for a shorter time is not even looked at: everybody waits while it is swept."""
    pools = Pools(KEEPING)
    kept = [of(pools, slug=f"box{number}") for number in range(100)]
    for number, pool in enumerate(kept):
        pool.give(connect(WORKER, pool), float(number))
    assert not pools.sweep(32.0)
    assert [len(pool.idle) for pool in kept] == [0] * 2 + [1] * 98
    assert pools.idle == 98
    assert len(pools._watch) == 98


def test_of_many_that_are_due_a_few_are_closed_at_once() -> None:
    """The rest is left to the next look."""
    pools = Pools(KEEPING)
    kept = [of(pools, slug=f"box{number}") for number in range(10)]
    for pool in kept:
        pool.give(connect(WORKER, pool), 1.0)
    assert pools.sweep(32.0, max_pools=6)
    assert pools.idle == 4
    assert not pools.sweep(32.0, max_pools=6)
    assert pools.idle == 0


def test_a_pool_that_is_used_is_looked_at_when_its_oldest_connection_may_be_due() -> None:
    """Connections come and go between two looks; each is closed at its time."""
    pools = Pools(KEEPING)
    pool = of(pools)
    one, two = connect(WORKER, pool), connect(WORKER, pool)
    pool.give(one, 1.0)
    assert pool.take() is one
    pool.give(two, 2.0)
    pool.give(one, 3.0)
    pools.sweep(32.0)
    assert pool.idle == [two, one]
    pools.sweep(32.5)
    assert pool.idle == [one]
    pools.sweep(33.5)
    assert pool.idle == []
    assert pools._watch == []
    pool.give(connect(WORKER, pool), 4.0)
    assert len(pools._watch) == 1


@pytest.mark.parametrize(
    ("said", "kept"),
    [(0, 4.0), (1, 0.5), (2, 1.0), (3, 2.0), (5, 4.0), (20, 19.0), (300, 30.0), (999_999_999, 30.0)],
)
def test_a_backend_says_how_long_it_keeps_connections(said: int, kept: float) -> None:
    """It is believed with a margin; `longest` is the most; one that does not say it has the usual time."""
    pool = Pool("127.0.0.1", 3000, "boot-1", keeping=Keeping(30.0, 4.0, 1.0, lambda _delay, _step: Never()))
    backend = connect(WORKER, pool)
    pool.sent(backend)
    pool.answered(backend, 0.0, said)
    pool.give(backend, 100.0)
    pool.close_idle(100.0 + kept)
    assert pool.idle == [backend]
    pool.close_idle(100.01 + kept)
    assert aborted(backend)


def test_a_request_that_may_not_be_repeated_gets_a_connection_that_is_there_for_sure() -> None:
    """Otherwise it gets none, and the others stay for those that may be repeated."""
    pool = Pool("127.0.0.1", 3000, "boot-1", keeping=Keeping(30.0, 4.0, 1.0, lambda _delay, _step: Never()))
    old, new, closed = (connect(WORKER, pool) for _ in range(3))
    for instant, backend in enumerate((old, new, closed), start=100):
        pool.give(backend, float(instant))
    closed.eof_received()
    assert pool.take_sure(102.0) is new
    assert pool.take_sure(102.0) is None
    waiting = connect(WORKER, pool)
    pool.sent(waiting)
    assert pool.take_sure(101.0) is None
    pool.answered(waiting, 101.0)
    assert pool.take_sure(101.0) is old
    pool.give(old, 100.0)
    assert pool.take() is old
    assert pool.take_sure(102.0) is None
