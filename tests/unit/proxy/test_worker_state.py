"""What the data plane derives from a route once: pool, load, Host, and whether it may be dialled at all."""

import ipaddress
import math
from collections.abc import Collection

import pytest
from structlog.testing import capture_logs

from router.errors import PORT_CLOSED
from router.proxy.pool import Pool
from router.routes.records import ResourceRecord
from router.settings import Limits, Networks
from tests.support.records import resource
from tests.unit.proxy.build import Line, build_worker, connect, record, route

TEN: Networks = (ipaddress.IPv4Network("10.0.0.0/8"), ipaddress.IPv6Network("fd00::/8"))


def test_prepared_once() -> None:
    """What is derived is remembered with the route."""
    worker, way = build_worker(), route(record())
    prepared = worker.prepare(way)
    assert way.prepared is prepared
    assert prepared.problem is None
    assert (prepared.rules.host, prepared.rules.cookie_scope) == (None, b"shop.miosa.app")
    assert prepared.first_byte == Limits().first_byte
    assert (prepared.pool.address, prepared.pool.port, prepared.pool.generation) == ("127.0.0.1", 3000, "boot-1")


def test_one_activity_for_all_routes_of_a_resource() -> None:
    """Hosts and ports of one resource share its limit; other resources have theirs."""
    worker = build_worker()
    one = worker.prepare(route(record(), 3000))
    two = worker.prepare(route(record(), 5173))
    other = worker.prepare(route(record(slug="blog"), 3000))
    assert one.activity is two.activity
    assert one.activity is not other.activity
    assert one.pool is not two.pool
    assert one.pool is not other.pool


def test_used_since() -> None:
    """Whoever copies activity gets what was used at that instant or later."""
    worker = build_worker()
    activities = {slug: worker.prepare(route(record(slug=slug))).activity for slug in ("early", "late", "never")}
    activities["early"].active_at, activities["late"].active_at = 1.0, 2.0
    ids = {slug: record(slug=slug).id for slug in activities}
    assert worker.used(2.0) == {ids["late"]: 2.0}
    assert worker.used(0.5) == {ids["early"]: 1.0, ids["late"]: 2.0}


def test_one_pool_for_all_hosts_of_a_port() -> None:
    """A custom domain and the platform's host lead through the same connections."""
    worker = build_worker()
    assert worker.prepare(route(record())).pool is worker.prepare(route(record())).pool


def test_mapped_ports() -> None:
    """The endpoint may listen on another port than the public one; the dialled one counts for the backend."""
    prepared = build_worker().prepare(route(record(ports={3000: 49152}, host_modes={3000: "localhost"})))
    assert prepared.pool.port == 49152
    assert prepared.rules.host == b"localhost:49152"


HOST_MODES = [
    ({}, None),
    ({3000: "preserve"}, None),
    ({3000: "localhost"}, b"localhost:3000"),
    ({3000: "dev.internal:8080"}, b"dev.internal:8080"),
    ({5173: "localhost"}, None),
]


@pytest.mark.parametrize(("modes", "host"), HOST_MODES)
def test_host_mode(modes: dict[int, str], host: bytes | None) -> None:
    """What Host to say instead, by port; None keeps what the client says."""
    assert build_worker().prepare(route(record(host_modes=modes))).rules.host == host


def test_first_byte() -> None:
    """How long the resource may take for an answer is its own, where it has one; longer than the limit too."""
    assert build_worker().prepare(route(record(first_byte=86400))).first_byte == 86400
    assert build_worker().prepare(route(record(first_byte=7.5))).first_byte == 7.5


NOT_DIALLED = [
    ("192.0.2.1", TEN, (), "is outside the backend networks"),
    ("127.0.0.1", TEN, (), "is a loopback address"),
    ("127.0.0.1", (ipaddress.IPv4Network("0.0.0.0/0"),), (), "is a loopback address"),
    ("169.254.169.254", (ipaddress.IPv4Network("0.0.0.0/0"),), (), "is a metadata service"),
    ("::ffff:127.0.0.1", TEN, (), "is a loopback address"),
    ("10.0.0.1", TEN, [("10.0.0.1", 3000)], "is one of our own listeners"),
    ("127.0.0.1", (ipaddress.IPv4Network("127.0.0.0/8"),), [("0.0.0.0", 3000)], "is one of our own listeners"),
]


@pytest.mark.parametrize(("address", "networks", "listeners", "why"), NOT_DIALLED)
def test_not_dialled(address: str, networks: Networks, listeners: Collection[tuple[str, int]], why: str) -> None:
    """An endpoint that came past its registration is refused here again, and the reason is logged."""
    worker = build_worker(networks=networks, own_listeners=listeners)
    with capture_logs() as logs:
        prepared = worker.prepare(route(record(address)))
    assert prepared.problem is PORT_CLOSED
    assert [(line["log_level"], line["why"]) for line in logs] == [("error", why)]


DIALLED = [("10.0.0.1", [("10.0.0.1", 8080), ("10.0.0.2", 3000)]), ("fd00::1", []), ("::ffff:10.0.0.1", [])]


@pytest.mark.parametrize(("address", "listeners"), DIALLED)
def test_dialled(address: str, listeners: Collection[tuple[str, int]]) -> None:
    """What lies in the backend networks and is none of our own listeners may be dialled."""
    worker = build_worker(networks=TEN, own_listeners=listeners)
    assert worker.prepare(route(record(address))).problem is None


def test_own_listeners_may_still_grow() -> None:
    """A listener that is opened later counts for what is derived later: an worker opens its own port after it is made."""
    listeners: list[tuple[str, int]] = []
    worker = build_worker(own_listeners=listeners)
    listeners.append(("127.0.0.1", 3000))
    with capture_logs():
        assert worker.prepare(route(record())).problem is PORT_CLOSED


NOWHERE = [(None, 3000), (resource(endpoint=None), 3000), (record(), None)]


@pytest.mark.parametrize(("leads_to", "port"), NOWHERE)
def test_nowhere(leads_to: ResourceRecord | None, port: int | None) -> None:
    """Only a route that leads to a port of a running resource can be prepared: the others have a problem instead."""
    with pytest.raises(ValueError, match="leads nowhere"):
        build_worker().prepare(route(leads_to, port))


def test_request_ids() -> None:
    """Ids differ within a worker and between workers, and have one form."""
    worker, other = build_worker(), build_worker()
    ids = [worker.request_id() for _ in range(1000)] + [other.request_id() for _ in range(1000)]
    assert len(set(ids)) == 2000
    assert all(len(made) == 28 and made.startswith(b"req_") for made in ids)


def test_buffers() -> None:
    """What is held per direction, and a read of the loop on top of it, keep within the limit."""
    assert build_worker().high_water == 256 * 1024 - 256_000
    assert build_worker(buffer=1_000_000).high_water == 744_000
    assert build_worker(buffer=1024).high_water == 0
    small = build_worker(buffer=70_000)
    assert len(small.budget.buffer) + small.high_water == 70_000


def test_slow_readers_hold_little() -> None:
    """Once a client has not kept up, its backend is read by little: what a read brings waits in our memory."""
    worker = build_worker()
    assert len(worker.budget.held) + worker.high_water <= 40 * 1024
    backend = connect(worker, Pool("127.0.0.1", 3000, "boot-1"))
    backend.pause()
    assert len(backend.get_buffer(65536)) == len(worker.budget.held)


def test_what_tunnels_leave() -> None:
    """A connection whose last bytes nobody has taken in time is closed for good; the others may go on."""
    worker = build_worker()
    stuck, slow, sent, early = Line(held=100), Line(held=100), Line(), Line(held=100)
    worker.leaving += [(10.0, 100, line, None) for line in (stuck, slow, sent)]
    worker.leaving.append((20.0, 100, early, None))
    worker.abort_leaving(10.0)
    assert not any(line.aborted for line in (stuck, slow, sent, early))
    slow.held = 99
    worker.abort_leaving(10.5)
    assert [line.aborted for line in (stuck, slow, sent, early)] == [True, False, False, False]
    assert worker.leaving == [(worker.now + worker.body_idle, 99, slow, None), (20.0, 100, early, None)]
    worker.abort_leaving(math.inf)
    assert slow.aborted
    assert early.aborted


def test_tunnels_leave_little() -> None:
    """No tunnel counts what it leaves, so a tenant that ends many of them would hold ever more descriptors: the oldest of
    the tenant that has most are closed for good, and nobody else's. In a drain, which ends by itself, all may go on."""
    worker = build_worker(connections=64 * 32)
    quiet, greedy = worker.connection_limits.tenants.of("quiet"), worker.connection_limits.tenants.of("greedy")
    first = Line(held=100)
    worker.leave(first, quiet)
    lines = [Line(held=100) for _ in range(200)]
    for line in lines:
        worker.leave(line, greedy)
        assert len(worker.leaving) <= 32
    aborted = [line.aborted for line in lines]
    assert aborted == sorted(aborted, reverse=True)
    assert 200 - 32 < sum(aborted) < 200 - 20
    assert not first.aborted
    for line in lines:
        line.held = 0  # what has gone out needs no room
    for _ in range(31):
        worker.leave(last := Line(held=100), greedy)
    assert len(worker.leaving) == 32
    worker.draining = True
    worker.leave(Line(held=100), greedy)
    assert not last.aborted
    assert len(worker.leaving) == 33
