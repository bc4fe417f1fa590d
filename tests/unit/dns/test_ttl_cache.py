"""A cache whose values expire."""

from router.base.clock import ManualClock
from router.dns.ttl_cache import TtlCache


def test_a_value_expires() -> None:
    """After its seconds, and not before."""
    clock = ManualClock()
    kept = TtlCache[str, int](clock, 10)
    kept.put("a", 1, 60)
    clock.advance(59)
    assert kept.get("a") == 1
    clock.advance(1)
    assert kept.get("a") is None
    assert len(kept) == 0


def test_a_value_without_time_is_none() -> None:
    """And takes the place of an older one."""
    kept = TtlCache[str, int](ManualClock(), 10)
    kept.put("a", 1, 60)
    kept.put("a", 2, 0)
    assert kept.get("a") is None


def test_there_are_never_too_many() -> None:
    """What was used least recently makes room; one that was put or read again is the most recent."""
    kept = TtlCache[int, int](ManualClock(), 3)
    for number in (1, 2, 3, 1):
        kept.put(number, number, 60)
    assert kept.get(3) == 3
    kept.put(2, 2, 60)
    kept.put(4, 4, 60)
    assert [number for number in range(1, 5) if kept.get(number)] == [2, 3, 4]
    kept.put(1, 1, 60)
    assert [number for number in range(1, 5) if kept.get(number)] == [1, 3, 4]
    for number in range(1000):
        kept.put(number, number, 60)
    assert len(kept) == 3
