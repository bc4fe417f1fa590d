"""When secrets were used, as a worker notes it."""

from router.base.clock import ManualClock
from router.proxy.secret_uses import SecretUses


def test_the_last_use_of_each_is_noted() -> None:
    """API keys are told apart from secrets of previews."""
    clock = ManualClock()
    uses = SecretUses(clock)
    began = clock.monotonic()
    for secret, key in (("link", False), ("digest", True)):
        clock.advance(1)
        uses.note(secret, key=key)
    clock.advance(1)
    uses.note("link", key=False)
    assert uses.since(began) == {"link": began + 3, "key:digest": began + 2}
    assert uses.since(began + 3) == {"link": began + 3}


def test_only_so_much_is_kept() -> None:
    """What was used long ago is forgotten, and of too many those that were noted first."""
    clock = ManualClock()
    uses = SecretUses(clock, most=2)
    for secret in ("a", "b", "a", "c"):
        uses.note(secret, key=False)
    assert set(uses.since(0)) == {"b", "c"}
    clock.advance(601)
    assert uses.since(0) == {}
