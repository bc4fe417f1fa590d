"""Instants that many tasks share."""

import asyncio

import pytest

from router.base.ticks import tick, until_tick

pytestmark = pytest.mark.asyncio


async def test_they_are_multiples_of_the_interval() -> None:
    """Whenever somebody begins to wait, and never later than an interval and a tenth."""
    loop = asyncio.get_running_loop()
    for every in (0.1, 0.5, 1.0):
        before = loop.time()
        left = until_tick(every)
        at = before + left
        assert 0 < left <= every * 1.1
        assert abs(at - round(at / every) * every) < 0.01
    assert until_tick(0.0) == 0.0


async def test_a_timer_that_came_early_does_not_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers are rounded to milliseconds: what wakes just before its instant waits for the next one."""
    loop = asyncio.get_running_loop()
    for now, left in ((99.999, 1.001), (100.0, 1.0), (100.25, 0.75), (100.95, 1.05)):
        monkeypatch.setattr(loop, "time", lambda now=now: now)
        assert until_tick(1.0) == pytest.approx(left)


async def test_who_waits_is_woken() -> None:
    """At the instant."""
    await asyncio.wait_for(tick(0.01), 30.0)
