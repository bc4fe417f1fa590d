"""Evidence of live certificates, learnt from traffic."""

from dataclasses import replace

import pytest

from router.clock import ManualClock
from router.gate.evidence import MemoryEvidence
from router.routes.chain import REASONS
from router.routes.route import Route
from tests.support.ended import Ended, route


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
    evidence.learn([Ended(host=b"SHOP.miosa.app:443"), Ended(route=route("plain"), scheme="http"), Ended(route=None)])
    assert evidence.seen("shop.miosa.app")
    assert not evidence.seen("plain.miosa.app")
    assert len(evidence) == 1


@pytest.mark.parametrize("reason", REASONS)
def test_only_names_that_get_certificates_leave_evidence(clock: ManualClock, reason: str) -> None:
    """A Host that a stranger put into somebody else's connection proves nothing."""
    evidence = MemoryEvidence(clock)
    evidence.learn([Ended(route=with_reason("shop", reason))])
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


def test_the_longest_unseen_goes_first(clock: ManualClock) -> None:
    """Memory is bounded; busy names stay."""
    evidence = MemoryEvidence(clock, most=2)
    for host in ("a.org", "b.org", "a.org", "c.org"):
        evidence.note(host)
    assert [host for host in ("a.org", "b.org", "c.org") if evidence.seen(host)] == ["a.org", "c.org"]
    assert len(evidence) == 2
