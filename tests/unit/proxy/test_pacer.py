"""Expensive steps are paced: a few per turn of the loop, in their order. `sleep(0)` is one turn, which is what is counted."""

import asyncio
import gc
import weakref

import pytest

from router.base.clock import ManualClock
from router.proxy.pacer import Pacer

pytestmark = pytest.mark.asyncio


async def test_the_first_step_is_taken_at_once_and_the_rest_in_later_turns() -> None:
    """A step that comes while there is room does not wait; ten steps do not fall into one turn."""
    pacer, taken = Pacer(ManualClock().monotonic), list[int]()
    for number in range(10):
        pacer.take(lambda number=number: taken.append(number))  # type: ignore[misc]
    seen = [len(taken)]
    while len(taken) < 10:
        await asyncio.sleep(0)
        seen.append(len(taken))
    assert seen == list(range(1, 11))
    assert taken == list(range(10))


async def test_a_step_may_ask_for_another() -> None:
    """The second stands behind those that wait already, and none is lost."""
    pacer, taken = Pacer(ManualClock().monotonic), list[str]()

    def asks() -> None:
        taken.append("first")
        pacer.take(lambda: taken.append("second"))

    pacer.take(lambda: taken.append("before"))  # all the room of this turn
    pacer.take(asks)
    for _ in range(20):
        pacer.take(lambda: taken.append("other"))
    for _ in range(30):
        await asyncio.sleep(0)
    assert taken == ["before", "first", *["other"] * 20, "second"]


async def test_the_more_wait_the_more_are_taken() -> None:
    """Where turns are long, more may come in than a fixed number would take, and the last would wait for ever."""
    pacer, taken = Pacer(ManualClock().monotonic), list[int]()
    for number in range(10_000):
        pacer.take(lambda number=number: taken.append(number))  # type: ignore[misc]
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert len(taken) == 10_000


@pytest.mark.parametrize("where", ["in the step", "in what it starts"])
async def test_a_turn_has_two_milliseconds(where: str) -> None:
    """However many wait: a step's cost is measured, its own and that of the task that it starts."""
    clock = ManualClock()
    pacer, taken = Pacer(clock.monotonic), list[int]()

    def step(number: int) -> None:
        taken.append(number)
        if where == "in the step":
            clock.advance(0.000_25)
        else:
            asyncio.get_running_loop().call_soon(clock.advance, 0.000_25)

    for number in range(10_000):
        pacer.take(lambda number=number: step(number))  # type: ignore[misc]
    turns = []
    while len(taken) < 10_000:
        before, began = len(taken), clock.monotonic()
        await asyncio.sleep(0)
        turns.append((len(taken) - before, clock.monotonic() - began))
    steady = turns[20:1000]  # once the cost is known, and before few are left
    assert {steps for steps, _ in steady} <= {7, 8}
    assert max(seconds for _, seconds in turns) <= 0.006  # before it was known
    assert max(seconds for _, seconds in steady) <= 0.002_01
    assert taken == list(range(10_000))


async def test_long_turns_leave_a_share_for_cold_hosts() -> None:
    """Where other work takes 20 ms of each turn, a quarter of a turn is for steps: they must not wait for ever."""
    clock = ManualClock()
    pacer, taken = Pacer(clock.monotonic), list[int]()

    def step(number: int) -> None:
        taken.append(number)
        clock.advance(0.000_25)

    for number in range(10_000):
        pacer.take(lambda number=number: step(number))  # type: ignore[misc]
    for _ in range(50):
        await asyncio.sleep(0)
        clock.advance(0.02)
    before = len(taken)
    for _ in range(10):
        await asyncio.sleep(0)
        clock.advance(0.02)
    assert 200 <= len(taken) - before <= 280


async def test_a_step_that_fails_keeps_nobody_else_waiting() -> None:
    """A fault of ours is one exchange's, not that of every host that is cold from now on."""
    pacer, taken = Pacer(ManualClock().monotonic), list[int]()
    faults = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    error = RuntimeError("a step failed")

    def fail() -> None:
        raise error

    pacer.take(lambda: taken.append(0))
    pacer.take(fail)
    pacer.take(lambda: taken.append(1))
    for _ in range(5):
        await asyncio.sleep(0)
    pacer.take(lambda: taken.append(2))
    assert (taken, faults) == ([0, 1, 2], [error])


async def test_room_comes_back_when_nothing_waits() -> None:
    """After a quiet turn the next step is taken at once again."""
    pacer, taken = Pacer(ManualClock().monotonic), list[int]()
    pacer.take(lambda: taken.append(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    pacer.take(lambda: taken.append(1))
    assert taken == [0, 1]


async def test_garbage_is_collected_with_the_steps() -> None:
    """The collector is not left to its own count of new objects, which stays low while as many old ones go."""

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    pacer, left = Pacer(ManualClock().monotonic), list[weakref.ref[Cycle]]()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            pacer.take(lambda: left.append(weakref.ref(Cycle())))
        while len(left) < 100:
            await asyncio.sleep(0)
        alive = sum(cycle() is not None for cycle in left)
    finally:
        gc.enable()
    assert alive < 40
