"""Evidence of live certificates, learnt from traffic."""

from dataclasses import replace
from datetime import timedelta

import pytest

from router.base.clock import ManualClock
from router.domains.certificates import Leaf
from router.gate.evidence import MemoryEvidence
from router.routes.chain import REASONS
from router.routes.route import Route
from tests.support.ended import ended, route

DAY = 86400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def with_reason(slug: str, reason: str) -> Route:
    """The route of a host that the chain decided about for this reason."""
    found = route(slug)
    return Route(found.host, replace(found.decision, reason=reason), keys=(), source="sql", expires=0.0)


def test_https_traffic_is_evidence(clock: ManualClock) -> None:
    """For the canonical name, whatever the Host header's spelling."""
    evidence = MemoryEvidence(clock)
    evidence.learn([ended(host=b"SHOP.miosa.app:443"), ended(route=route("plain"), scheme="http"), ended(route=None)])
    assert evidence.seen("shop.miosa.app")
    assert not evidence.seen("plain.miosa.app")
    assert len(evidence) == 1


@pytest.mark.parametrize("reason", REASONS)
def test_only_names_that_get_certificates_leave_evidence(clock: ManualClock, reason: str) -> None:
    """A Host that a stranger put into somebody else's connection proves nothing."""
    evidence = MemoryEvidence(clock)
    evidence.learn([ended(route=with_reason("shop", reason))])
    assert evidence.seen("shop.miosa.app") == (reason in {"served", "login", "redirect", "starting", "stopped"})


def test_evidence_grows_old(clock: ManualClock) -> None:
    """A certificate that was not read may live for 90 days; traffic renews the evidence."""
    evidence = MemoryEvidence(clock)
    evidence.note("x.org")
    clock.advance(89 * 86400.0)
    assert evidence.seen("x.org")
    evidence.note("x.org")
    clock.advance(90 * 86400.0)
    assert evidence.seen("x.org")
    clock.advance(1.0)
    assert not evidence.seen("x.org")
    assert evidence.until("x.org") is None


def test_what_others_know_is_evidence(clock: ManualClock) -> None:
    """Until the instant that they say, or longer where a visit says so."""
    evidence = MemoryEvidence(clock)
    clock.advance(1000.0)
    now = clock.now().timestamp()
    evidence.hold({"x.org": now + 60.0, "y.org": now + 60.0})
    evidence.note("y.org")
    assert evidence.until("x.org") == now + 60.0
    assert evidence.until("y.org") == now + 90 * 86400.0
    clock.advance(61.0)
    assert (evidence.seen("x.org"), evidence.seen("y.org")) == (False, True)


def test_a_removed_name_is_forgotten(clock: ManualClock) -> None:
    """Also by those who still have it from before: a connection that ends late, a worker that tells late."""
    evidence = MemoryEvidence(clock)
    clock.advance(100.0)
    evidence.note("x.org")
    evidence.forget("x.org")
    evidence.learn([ended(route=route("shop"), started=99.0)])
    assert evidence.seen("shop.miosa.app")
    evidence.forget("shop.miosa.app")
    evidence.learn([ended(route=route("shop"), started=99.0)])
    evidence.note("x.org", 100.0)
    assert (evidence.seen("x.org"), evidence.seen("shop.miosa.app"), evidence.since(0.0)) == (False, False, {})
    evidence.note("x.org", 100.5)
    assert evidence.seen("x.org")


def test_visits_are_told_once_a_day(clock: ManualClock) -> None:
    """Not once a request: whoever listens writes them down."""
    evidence = MemoryEvidence(clock)
    heard: list[tuple[str, float, str | None]] = []
    evidence.on_visit(lambda *visit: heard.append(visit) or True)
    for _ in range(3):
        evidence.learn([ended(route=route("shop"), started=clock.monotonic()) for _ in range(10)])
        clock.advance(40_000.0)
    assert heard == [("shop.miosa.app", 0.0, "acme")]
    clock.advance(40_000.0)
    evidence.note("shop.miosa.app")
    assert [at for _, at, _ in heard] == [0.0, 160_000.0]


def test_what_was_reached_lately(clock: ManualClock) -> None:
    """For another process, which asks again and again. What others know is not told back."""
    evidence = MemoryEvidence(clock)
    for host in ("a.org", "b.org", "a.org"):
        clock.advance(10.0)
        evidence.note(host)
    evidence.hold({"c.org": clock.now().timestamp() + 60.0})
    assert evidence.since(0.0) == {"a.org": 30.0, "b.org": 20.0}
    assert evidence.since(25.0) == {"a.org": 30.0}


def test_a_long_stream_is_told_of_when_it_ends(clock: ManualClock) -> None:
    """It began before the last look. Nor does it hide those that ended before it."""
    evidence = MemoryEvidence(clock)
    clock.advance(3600.0)
    evidence.note("short.org")
    evidence.note("long.org", 10.0)
    assert evidence.since(3590.0) == {"short.org": 3600.0, "long.org": 10.0}
    clock.advance(100.0)
    assert evidence.since(3690.0) == {}


def test_no_name_is_forgotten_for_want_of_room(clock: ManualClock) -> None:
    """However many there are: each may be a certificate that Caddy would throw away."""
    evidence = MemoryEvidence(clock)
    clock.advance(60.0)
    until = clock.now().timestamp() + 3600.0
    for number in range(130_000):
        evidence.hold({f"x{number}.org": until})
    assert len(evidence) == 130_000
    assert all(evidence.seen(f"x{number}.org") for number in range(0, 130_000, 97))
    assert not evidence.seen("x130000.org")


def test_a_visit_that_nobody_could_keep_is_told_again(clock: ManualClock) -> None:
    """As often as it takes; the name is known to this process all the same."""
    evidence = MemoryEvidence(clock)
    kept = False
    heard: list[str] = []

    def listener(host: str, _at: float, _tenant_id: str | None) -> bool:
        heard.append(host)
        return kept

    evidence.on_visit(listener)
    evidence.note("x.org")
    clock.advance(11.0)
    kept = True
    evidence.note("x.org")
    clock.advance(11.0)
    evidence.note("x.org")
    assert heard == ["x.org", "x.org"]
    assert evidence.seen("x.org")


def test_a_certificate_that_was_read_is_evidence_until_its_end(clock: ManualClock) -> None:
    """Visits before its renewal is due make it last no longer; one after that may be another certificate's."""
    evidence = MemoryEvidence(clock)
    now = clock.now()
    leaf = Leaf(issuer="CA", serial="1", not_before=now, not_after=now + timedelta(days=6))
    evidence.note("x.org")
    evidence.read("x.org", leaf)
    for _ in range(3):
        clock.advance(DAY)
        evidence.note("x.org")
    assert evidence.until("x.org") == leaf.not_after.timestamp()
    assert evidence.is_read("x.org")
    clock.advance(1.5 * DAY)
    assert not evidence.is_read("x.org")
    evidence.note("x.org")
    assert evidence.until("x.org") == clock.now().timestamp() + 6 * DAY
    clock.advance(2 * DAY)
    assert evidence.seen("x.org")


@pytest.mark.parametrize("days", [6, 45, 64, 90])
@pytest.mark.parametrize(
    ("age", "seen", "after_a_visit"),
    [(0.0, True, 1.0), (0.5, True, 1.0), (0.67, True, 1.67), (1.0, True, 2.0), (1.2, False, 2.2)],
    ids=["fresh", "half over", "two thirds over", "ends now", "ended"],
)
def test_evidence_follows_the_lifetime(
    clock: ManualClock, days: int, age: float, seen: bool, after_a_visit: float
) -> None:
    """Of the certificate that was read: until its end, and from when it is due a visit counts for as long as it lived."""
    evidence, begin = MemoryEvidence(clock), clock.now()
    evidence.read("x.org", Leaf(issuer="CA", serial="1", not_before=begin, not_after=begin + timedelta(days=days)))
    clock.advance(age * days * DAY)
    assert evidence.seen("x.org") == seen
    evidence.note("x.org")
    assert evidence.until("x.org") == pytest.approx(begin.timestamp() + after_a_visit * days * DAY)


@pytest.mark.parametrize("days", [6, 45, 64, 90])
def test_one_that_ended_yesterday_is_no_evidence(clock: ManualClock, days: int) -> None:
    """Visits while it was fresh do not make it last."""
    evidence, begin = MemoryEvidence(clock), clock.now()
    evidence.read("x.org", Leaf(issuer="CA", serial="1", not_before=begin, not_after=begin + timedelta(days=days)))
    clock.advance(days * DAY / 2)
    evidence.note("x.org")
    clock.advance((days / 2 + 1) * DAY)
    assert (evidence.seen("x.org"), evidence.until("x.org")) == (False, None)


def test_what_others_read_says_how_long_visits_count(clock: ManualClock) -> None:
    """Until the name is removed: then nothing is known of its next certificate."""
    evidence = MemoryEvidence(clock)
    soon = clock.now().timestamp() + 60.0
    evidence.hold_visited({"x.org": soon}, {"x.org": timedelta(days=6)})
    evidence.hold_visited({"x.org": soon})
    evidence.note("x.org")
    assert evidence.until("x.org") == clock.now().timestamp() + 6 * DAY
    evidence.forget("x.org")
    clock.advance(60.0)
    evidence.note("x.org")
    assert evidence.until("x.org") == clock.now().timestamp() + 90 * DAY


@pytest.mark.parametrize(
    ("lifetime", "counts"),
    [(timedelta(days=-1), 90 * DAY), (timedelta(0), 90 * DAY), (timedelta(days=90_000), 2.0**32 - 1)],
    ids=["ends before it begins", "none", "centuries"],
)
def test_a_lifetime_that_makes_no_sense(clock: ManualClock, lifetime: timedelta, counts: float) -> None:
    """Counts as unknown, or as the longest that can be kept."""
    evidence = MemoryEvidence(clock)
    evidence.hold_visited({"x.org": clock.now().timestamp()}, {"x.org": lifetime})
    evidence.note("x.org")
    assert evidence.until("x.org") == clock.now().timestamp() + counts


def test_visits_to_short_lived_ones_are_told_more_often(clock: ManualClock) -> None:
    """What other nodes know is at most a ninetieth of the lifetime short."""
    evidence = MemoryEvidence(clock)
    heard: list[float] = []
    evidence.on_visit(lambda _host, at, _tenant: heard.append(at) or True)
    evidence.hold_visited({"x.org": clock.now().timestamp()}, {"x.org": timedelta(days=6)})
    for _ in range(4):
        evidence.note("x.org")
        clock.advance(2900.0)
    assert heard == [0.0, 5800.0]


def test_a_certificate_that_was_read_ends(clock: ManualClock) -> None:
    """Not ninety days after the last visit."""
    evidence = MemoryEvidence(clock)
    now = clock.now()
    evidence.read("x.org", Leaf(issuer="CA", serial="1", not_before=now, not_after=now + timedelta(days=6)))
    evidence.note("x.org")
    clock.advance(6 * DAY)
    assert evidence.seen("x.org")
    clock.advance(1.0)
    assert not evidence.seen("x.org")


def test_one_that_seems_to_have_ended_is_live_when_it_is_shown(clock: ManualClock) -> None:
    """The clock is ahead: what is shown counts as a visit, and takes nothing back."""
    evidence = MemoryEvidence(clock)
    now = clock.now()
    evidence.note("x.org")
    for host in ("x.org", "y.org"):
        evidence.read(
            host, Leaf(issuer="CA", serial="1", not_before=now - timedelta(days=9), not_after=now - timedelta(days=3))
        )
        assert evidence.seen(host)
    assert evidence.until("y.org") == now.timestamp() + 6 * DAY


def test_what_others_have_seen_takes_nothing_back(clock: ManualClock) -> None:
    """Of two visits the later counts."""
    evidence = MemoryEvidence(clock)
    now = clock.now().timestamp()
    clock.advance(100.0)
    evidence.note("x.org")
    evidence.hold_visited({"x.org": now + 90 * DAY, "y.org": now + 90 * DAY})
    assert evidence.until("x.org") == now + 100.0 + 90 * DAY
    assert evidence.until("y.org") == now + 90 * DAY


@pytest.mark.parametrize("known", ["set", "read"])
def test_names_under_a_wildcard_leave_no_evidence(clock: ManualClock, known: str) -> None:
    """They have no certificate of their own; visitors reach them by https all the same. One label, as in certificates."""
    evidence = MemoryEvidence(clock, wildcards=["miosa.app"] if known == "set" else [])
    now = clock.now()
    if known == "read":
        evidence.read("*.miosa.app", Leaf(issuer="CA", serial="1", not_before=now, not_after=now + timedelta(days=6)))
    evidence.note("shop.miosa.app")
    evidence.note("a.sandbox.miosa.app")
    assert (evidence.seen("shop.miosa.app"), evidence.served("shop.miosa.app")) == (False, True)
    assert (evidence.seen("a.sandbox.miosa.app"), evidence.served("a.sandbox.miosa.app")) == (True, True)
    assert not evidence.served("miosa.app")
    clock.advance(7 * DAY)
    evidence.note("shop.miosa.app")
    assert evidence.seen("shop.miosa.app") == (known == "read")


def test_what_the_router_holds_leaves_no_evidence(clock: ManualClock) -> None:
    """Names under its wildcards have none of their own; what one had before counts until it ends, and no visit prolongs it."""
    evidence, held = MemoryEvidence(clock), {"zone.org"}
    evidence.note("old.zone.org")
    evidence.on_held(held.__contains__)
    clock.advance(60)
    for host in ("new.zone.org", "old.zone.org", "new.other.org"):
        evidence.note(host)
    assert [evidence.seen(host) for host in ("new.zone.org", "old.zone.org", "new.other.org")] == [False, True, True]
    assert (evidence.covers("zone.org"), evidence.served("new.zone.org")) == (True, True)
    assert set(evidence.since(0.0)) == {"new.zone.org", "old.zone.org", "new.other.org"}
    clock.advance(90 * DAY - 30)
    assert [evidence.seen(host) for host in ("old.zone.org", "new.other.org")] == [False, True]
    held.clear()
    evidence.note("new.zone.org")
    assert evidence.seen("new.zone.org")


def test_what_the_store_knows_counts_under_a_held_wildcard(clock: ManualClock) -> None:
    """A name may have one of its own still: Caddy keeps it until its renewal."""
    evidence = MemoryEvidence(clock)
    evidence.on_held(lambda _: True)
    evidence.hold_visited({"old.zone.org": clock.now().timestamp() + DAY})
    assert evidence.seen("old.zone.org")


def test_which_certificates_are_valid_for_certain(clock: ManualClock) -> None:
    """Those whose end was read, until then, and those that a visitor has met within five minutes."""
    evidence, now = MemoryEvidence(clock), clock.now()
    evidence.read("read.org", Leaf(issuer="CA", serial="1", not_before=now, not_after=now + timedelta(days=6)))
    evidence.note("visited.org")
    names = ("read.org", "visited.org", "unknown.org")
    assert [evidence.is_sure(host) for host in names] == [True, True, False]
    clock.advance(301)
    assert [evidence.is_sure(host) for host in names] == [True, False, False]
    clock.advance(6 * DAY)
    assert [evidence.is_sure(host) for host in names] == [False, False, False]
    evidence.renew("read.org")
    assert (evidence.seen("read.org"), evidence.is_sure("read.org")) == (True, False)
    assert evidence.until("read.org") == clock.now().timestamp() + 6 * DAY  # it lives as long as the one before
