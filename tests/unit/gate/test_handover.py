"""Which Caddy takes what the router holds, and when it is to let go of its own."""

import pytest

from router.base.clock import ManualClock
from router.gate import handover as module
from router.gate.handover import FRESH, ONCE, HandOver
from router.gate.held_table import HeldTable
from tests.support.held_table import BOX, a_row

HERE, THERE = "loopback", "10.0.0.7"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def handover(clock: ManualClock) -> HandOver:
    table = HeldTable(BOX, clock)
    table.put(a_row("z.org", clock.now()))
    return HandOver(table, clock)


def test_only_who_has_fetched_lately_takes_it(handover: HandOver, clock: ManualClock) -> None:
    """Each Caddy for itself: another one may not know of `/certificate`. Whatever name it fetched shows that it does."""
    assert (handover.takes("a.z.org", HERE), handover.was_fetched, len(handover)) == (False, False, 1)
    assert handover.fetch("nothing.org", HERE) is None
    assert handover.was_fetched
    assert handover.takes("a.z.org", HERE)
    assert not handover.takes("a.z.org", THERE)
    assert not handover.takes("a.other.org", HERE)
    clock.advance(FRESH)
    assert handover.takes("a.z.org", HERE)
    clock.advance(1)
    assert not handover.takes("a.z.org", HERE)
    assert handover.has("a.z.org")


def test_what_is_held_covers_only_while_it_is_fetched(handover: HandOver, clock: ManualClock) -> None:
    """Else hosts get certificates of their own, and what is known of those must not be lost."""
    assert (handover.holds("z.org"), handover.covers("z.org")) == (True, False)
    assert handover.fetch("A.Z.ORG", THERE) is not None
    assert (handover.covers("z.org"), handover.covers("sandbox.z.org"), handover.covers("org")) == (True, True, False)
    clock.advance(FRESH + 1)
    assert (handover.holds("z.org"), handover.covers("z.org")) == (True, False)


def test_a_renewal_is_refused_once(handover: HandOver, clock: ManualClock) -> None:
    """A Caddy that asks again has not taken what we hold."""
    assert handover.may_refuse("a.z.org")
    handover.refused("a.z.org")
    assert not handover.may_refuse("a.z.org")
    assert handover.may_refuse("b.z.org")
    clock.advance(ONCE + 1)
    assert handover.may_refuse("a.z.org")


def test_what_is_remembered_is_bounded(handover: HandOver, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses: the oldest goes. Refused names: the next are not refused."""
    monkeypatch.setattr(module, "_MAX_CADDYS", 2)
    monkeypatch.setattr(module, "_MAX_NAMES", 2)
    for caddy in ("1", "2", "3"):
        handover.fetch("x.org", caddy)
    assert [handover.takes("a.z.org", caddy) for caddy in ("1", "2", "3")] == [False, True, True]
    handover.refused("a.z.org")
    handover.refused("b.z.org")
    assert not handover.may_refuse("c.z.org")
    clock.advance(ONCE + 1)
    assert handover.may_refuse("c.z.org")
