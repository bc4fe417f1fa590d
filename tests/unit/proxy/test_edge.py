"""What the data plane derives from a route once: pool, load, Host, and whether it may be dialled at all."""

import ipaddress
from collections.abc import Collection

import pytest
from structlog.testing import capture_logs

from router.clock import ManualClock
from router.errors import PORT_CLOSED
from router.routes.records import ResourceRecord
from router.settings import Networks
from tests.support.records import resource
from tests.unit.proxy.build import Line, build_edge, record, route

TEN: Networks = (ipaddress.IPv4Network("10.0.0.0/8"), ipaddress.IPv6Network("fd00::/8"))


def test_prepared_once() -> None:
    """What is derived is remembered with the route."""
    edge, way = build_edge(), route(record())
    prepared = edge.prepare(way)
    assert way.prepared is prepared
    assert prepared.problem is None
    assert prepared.host_mode is None
    assert prepared.first_byte is None
    assert not prepared.seen_https
    assert (prepared.pool.address, prepared.pool.port, prepared.pool.generation) == ("127.0.0.1", 3000, "boot-1")


def test_one_load_for_all_routes_of_a_resource() -> None:
    """Hosts and ports of one resource share its limit; other resources have theirs."""
    edge = build_edge()
    one = edge.prepare(route(record(), 3000))
    two = edge.prepare(route(record(), 5173))
    other = edge.prepare(route(record(slug="blog"), 3000))
    assert one.load is two.load
    assert one.load is not other.load
    assert one.pool is not two.pool
    assert one.pool is not other.pool


def test_used_since() -> None:
    """Whoever copies activity gets what was used at that instant or later; what is under way is used now."""
    edge = build_edge(clock=(clock := ManualClock()))
    loads = {slug: edge.prepare(route(record(slug=slug))).load for slug in ("early", "late", "open")}
    loads["early"].active_at, loads["late"].active_at = 1.0, 2.0
    loads["open"].exchanges = 1
    clock.advance(5)
    edge.now = clock.monotonic()
    ids = {slug: record(slug=slug).id for slug in loads}
    assert edge.used(2.0) == {ids["late"]: 2.0, ids["open"]: 5.0}
    assert edge.used(0.0) == {ids["early"]: 1.0, ids["late"]: 2.0, ids["open"]: 5.0}


def test_one_pool_for_all_hosts_of_a_port() -> None:
    """A custom domain and the platform's host lead through the same connections."""
    edge = build_edge()
    assert edge.prepare(route(record())).pool is edge.prepare(route(record())).pool


def test_mapped_ports() -> None:
    """The endpoint may listen on another port than the public one; the dialled one counts for the backend."""
    prepared = build_edge().prepare(route(record(ports={3000: 49152}, host_modes={3000: "localhost"})))
    assert prepared.pool.port == 49152
    assert prepared.host_mode == b"localhost:49152"


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
    assert build_edge().prepare(route(record(host_modes=modes))).host_mode == host


def test_first_byte() -> None:
    """How long the resource may take for an answer is its own."""
    assert build_edge().prepare(route(record(first_byte=7.5))).first_byte == 7.5


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
    edge = build_edge(networks=networks, own_listeners=listeners)
    with capture_logs() as logs:
        prepared = edge.prepare(route(record(address)))
    assert prepared.problem is PORT_CLOSED
    assert [(line["log_level"], line["why"]) for line in logs] == [("error", why)]


DIALLED = [("10.0.0.1", [("10.0.0.1", 8080), ("10.0.0.2", 3000)]), ("fd00::1", []), ("::ffff:10.0.0.1", [])]


@pytest.mark.parametrize(("address", "listeners"), DIALLED)
def test_dialled(address: str, listeners: Collection[tuple[str, int]]) -> None:
    """What lies in the backend networks and is none of our own listeners may be dialled."""
    edge = build_edge(networks=TEN, own_listeners=listeners)
    assert edge.prepare(route(record(address))).problem is None


def test_own_listeners_may_still_grow() -> None:
    """A listener that is opened later counts for what is derived later: an edge opens its own port after it is made."""
    listeners: list[tuple[str, int]] = []
    edge = build_edge(own_listeners=listeners)
    listeners.append(("127.0.0.1", 3000))
    with capture_logs():
        assert edge.prepare(route(record())).problem is PORT_CLOSED


NOWHERE = [(None, 3000), (resource(endpoint=None), 3000), (record(), None)]


@pytest.mark.parametrize(("leads_to", "port"), NOWHERE)
def test_nowhere(leads_to: ResourceRecord | None, port: int | None) -> None:
    """Only a route that leads to a port of a running resource can be prepared: the others have a problem instead."""
    with pytest.raises(ValueError, match="leads nowhere"):
        build_edge().prepare(route(leads_to, port))


def test_request_ids() -> None:
    """Ids differ within a worker and between workers, and have one form."""
    edge, other = build_edge(), build_edge()
    ids = [edge.request_id() for _ in range(1000)] + [other.request_id() for _ in range(1000)]
    assert len(set(ids)) == 2000
    assert all(len(made) == 28 and made.startswith(b"req_") for made in ids)


def test_buffers() -> None:
    """What is held per direction, and a read of the loop on top of it, keep within the limit."""
    assert build_edge().high_water == 256 * 1024 - 256_000
    assert build_edge(buffer=1_000_000).high_water == 744_000
    assert build_edge(buffer=1024).high_water == 0


def test_what_tunnels_leave() -> None:
    """A connection that could not send its last bytes in time is closed for good; the others may go on."""
    edge = build_edge()
    late, early = Line(), Line()
    edge.leaving += [(10.0, late), (20.0, early)]
    edge.abort_leaving(10.0)
    assert [late.aborted, early.aborted] == [False, False]
    edge.abort_leaving(10.5)
    assert [late.aborted, early.aborted] == [True, False]
    assert edge.leaving == [(20.0, early)]
