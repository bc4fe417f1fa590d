"""Evidence of live certificates, learnt from traffic."""

from dataclasses import replace

import pytest

from router.clock import ManualClock
from router.gate.evidence import MemoryEvidence
from router.routes.chain import REASONS
from router.routes.route import Route
from tests.support.ended import ended, route


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
    assert evidence.seen("shop.miosa.app") == (reason in {"served", "redirect", "starting", "stopped"})


def test_evidence_grows_old(clock: ManualClock) -> None:
    """A certificate lives 90 days at most; traffic renews the evidence."""
    evidence = MemoryEvidence(clock)
    evidence.note("x.org")
    clock.advance(89 * 86400.0)
    assert evidence.seen("x.org")
    evidence.note("x.org")
    clock.advance(90 * 86400.0)
    assert evidence.seen("x.org")
    clock.advance(1.0)
    assert not evidence.seen("x.org")
    assert evidence.live() == {}


def test_what_others_know_is_evidence(clock: ManualClock) -> None:
    """Until the instant that they say, or longer where a visit says so."""
    evidence = MemoryEvidence(clock)
    clock.advance(1000.0)
    now = clock.now().timestamp()
    evidence.hold({"x.org": now + 60.0, "y.org": now + 60.0})
    evidence.note("y.org")
    assert evidence.live() == {"x.org": now + 60.0, "y.org": now + 90 * 86400.0}
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
    evidence.on_visit(lambda *visit: heard.append(visit))
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


def test_the_longest_unseen_goes_first(clock: ManualClock) -> None:
    """Memory is bounded; busy names stay."""
    evidence = MemoryEvidence(clock, most=2)
    for host in ("a.org", "b.org", "a.org", "c.org"):
        evidence.note(host)
    assert [host for host in ("a.org", "b.org", "c.org") if evidence.seen(host)] == ["a.org", "c.org"]
    assert len(evidence) == 2
