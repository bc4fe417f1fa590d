"""Faults, errors, networks, routes, sampling and numbers of request records."""

import math
import random

import pytest

from router.observe.endings import COMBINATIONS
from router.records.record import APPLICATION, CLIENT, EDGE, NOBODY, fault_of, is_error, network_of
from router.records.route_patterns import route_of
from router.records.sampling import Sampler
from router.records.totals import MINUTE, WHOLE, Counting, Totals, bucket_of, merged, percentile
from tests.support.request_records import ACME, DESK, GLOBEX, SHOP


@pytest.mark.parametrize(
    ("ending", "status", "fault", "error"),
    [
        ("--", 200, NOBODY, False),
        ("--", 404, NOBODY, False),
        ("--", 500, APPLICATION, True),
        ("EA", 404, EDGE, False),
        ("EA", 503, EDGE, True),
        ("BH", 502, APPLICATION, True),
        ("bH", 504, APPLICATION, True),
        ("BB", 200, APPLICATION, True),
        ("CB", 200, CLIENT, False),
        ("cH", 408, CLIENT, False),
        ("ET", 101, EDGE, False),
        ("BT", 101, APPLICATION, True),
    ],
)
def test_whose_fault_it_was(ending: str, status: int, fault: int, error: bool) -> None:
    """Who ended it early or answered with an error; a visitor who leaves is no error."""
    assert ending in COMBINATIONS
    assert (fault_of(ending, status), is_error(ending, status)) == (fault, error)


@pytest.mark.parametrize(
    ("client", "network"),
    [
        (b"203.0.113.9", "203.0.113.0/24"),
        (b"2001:db8:1:2::3", "2001:db8:1::/48"),
        (b"::ffff:203.0.113.9", "203.0.113.0/24"),
        (b"unknown", ""),
        (b"", ""),
    ],
)
def test_the_network_of_a_client(client: bytes, network: str) -> None:
    """Where a visitor is, and not who."""
    assert network_of(client) == network


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "GET /"),
        ("/users/17/posts", "GET /users/:id/posts"),
        ("/users/17", "GET /users/:id"),
        ("/17/18/19", "GET /:id/:id/:id"),
        ("/v1/health", "GET /v1/health"),
        ("/o/0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11/x", "GET /o/:id/x"),
        ("/o/01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET /o/:id"),
        ("/c/da39a3ee5e6b4b0d3255bfef95601890afd80709", "GET /c/:id"),
        ("/blog/how-to-fold-ids", "GET /blog/how-to-fold-ids"),
        ("/feedbacked", "GET /feedbacked"),
        ("/s/ses_8f7d6a5c4b3e2f1a0987", "GET /s/:id"),
        ("/a/b/c/d/e/f/g/h/i/j", "GET /a/b/c/d/e/f/g/h/…"),
        ("*", "GET *"),
    ],
)
def test_routes_fold_ids(path: str, route: str) -> None:
    """All users' pages are one route."""
    assert route_of("GET", path) == route


def test_a_made_up_method_is_no_route_of_its_own() -> None:
    """Strangers choose methods too."""
    assert route_of("BREW", "/pot") == "* /pot"


def test_a_flood_is_sampled_and_errors_are_not() -> None:
    """The first ones of a second are all kept, then one in ten, which stands for ten, then one in a hundred."""
    sampler = Sampler(10)
    sampler.begin(5.0)
    assert [sampler.weigh(SHOP.bytes, error=False) for _ in range(10)] == [1] * 10
    assert [sampler.weigh(SHOP.bytes, error=False) for _ in range(10)] == [0] * 9 + [10]
    assert sum(sampler.weigh(SHOP.bytes, error=False) for _ in range(80)) == 80
    assert sum(sampler.weigh(SHOP.bytes, error=False) for _ in range(200)) == 200
    assert sampler.weigh(SHOP.bytes, error=True) == 1
    assert sampler.weigh(DESK.bytes, error=False) == 1
    sampler.begin(6.0)
    assert sampler.weigh(SHOP.bytes, error=False) == 1


def count(counting: Counting, at: int = 0, route: str = "GET /", status: int = 200, total: int = 1000) -> None:
    counting.add(ACME.bytes, SHOP.bytes, at, route, "--", status, 1, 2, total)


def changed(counting: Counting, now: int = 0) -> list[Totals]:
    """Those of resources."""
    return [one for one in counting.take_changed(now) if one.route != WHOLE]


def test_a_tenant_is_counted_as_a_whole() -> None:
    """Over all its resources and routes, by the minute; each state replaces the one before."""
    counting = Counting()

    def sums(now: int = 0) -> list[Totals]:
        return sorted((one for one in counting.take_changed(now) if one.route == WHOLE), key=lambda one: one[:3])

    count(counting, status=500)
    count(counting, route="GET /a", total=9000)
    counting.add(ACME.bytes, DESK.bytes, MINUTE, "GET /", "--", 404, 1, 2, 1000)
    counting.add(GLOBEX.bytes, bytes(15) + b"x", 0, "GET /", "--", 200, 1, 2, -1)
    first, second, theirs = sums()
    assert (first.tenant, first.resource, first.minute) == (ACME.bytes, ACME.bytes, 0)
    assert (first.requests, first.errors, first.client_errors, first.received, first.sent) == (2, 1, 0, 2, 4)
    assert sum(merged([first.histogram]).values()) == 2
    assert (second.resource, second.minute, second.requests, second.client_errors) == (ACME.bytes, MINUTE, 1, 1)
    assert (theirs.resource, theirs.requests, theirs.histogram) == (GLOBEX.bytes, 1, b"")
    count(counting)
    (again,) = sums(10 * MINUTE)
    assert (again.part, again.requests) == (first.part, 3)
    count(counting)
    (late,) = sums()
    assert late.part != first.part
    assert late.requests == 1


def test_minutes_are_counted_apart() -> None:
    """With errors, refusals and bytes; what has not changed is not handed out again, what has replaces the older."""
    counting = Counting()
    for status in (200, 404, 500):
        count(counting, at=MINUTE - 1, status=status)
    count(counting, at=MINUTE)
    first, second = sorted(changed(counting, 0), key=lambda one: one.minute)
    assert (first.minute, first.requests, first.errors, first.client_errors) == (0, 3, 1, 1)
    assert (first.received, first.sent) == (3, 6)
    assert (second.minute, second.requests) == (MINUTE, 1)
    assert changed(counting, 0) == []
    count(counting, at=MINUTE)
    (again,) = changed(counting, 0)
    assert (again.part, again.requests) == (second.part, 2)


def test_a_minute_that_is_long_over_is_another_part() -> None:
    """What comes late is added to what was stored, and replaces none of it."""
    counting = Counting()
    count(counting)
    (first,) = changed(counting, 10 * MINUTE)
    count(counting)
    (late,) = changed(counting, 10 * MINUTE)
    assert (late.minute, late.route, late.requests) == (first.minute, first.route, 1)
    assert late.part != first.part


def test_a_scan_makes_few_routes() -> None:
    """Of one minute fifty are counted apart; the others together, and none is left out."""
    counting = Counting()
    for number in range(1000):
        count(counting, route=f"GET /{number}x")
    found = changed(counting, 0)
    assert len(found) == 51
    assert sum(one.requests for one in found) == 1000


def test_tunnels_have_no_duration() -> None:
    """A WebSocket of an hour is no slow request."""
    counting = Counting()
    count(counting, total=-1)
    (found,) = changed(counting, 0)
    assert (found.requests, found.histogram) == (1, b"")


def test_percentiles_are_right_to_a_few_per_cent() -> None:
    """Of a thousand durations between 0.1 ms and 100 s."""
    rng = random.Random(7)
    durations = sorted(int(10 ** rng.uniform(2, 8)) for _ in range(1000))
    counting = Counting()
    for duration in durations:
        count(counting, total=duration)
    (found,) = changed(counting, 0)
    buckets = merged([found.histogram])
    for share in (0.5, 0.9, 0.95, 0.99, 1.0):
        exact = durations[math.ceil(share * 1000) - 1] / 1000
        assert percentile(buckets, share) == pytest.approx(exact, rel=0.03)


def test_nothing_has_no_percentile() -> None:
    """None, and not 0."""
    assert percentile({}, 0.5) is None


def test_buckets_rise_with_durations() -> None:
    """From nothing to a day."""
    found = [bucket_of(duration) for duration in (0, 1, 10, 1000, 10**6, 86_400 * 10**6)]
    assert found == sorted(found)
    assert found[0] == 0
