"""What is dear takes turns: one step per turn of the loop, in their order. `sleep(0)` is one turn: what is counted."""

import asyncio
import gc
import weakref

import pytest

from router.proxy.turns import Turns

pytestmark = pytest.mark.asyncio


async def test_the_first_step_is_taken_at_once_and_the_rest_in_later_turns() -> None:
    """Whoever comes while there is room does not wait; ten steps don't fall into one turn."""
    turns, taken = Turns(), list[int]()
    for number in range(10):
        turns.take(lambda number=number: taken.append(number))  # type: ignore[misc]
    seen = [len(taken)]
    while len(taken) < 10:
        await asyncio.sleep(0)
        seen.append(len(taken))
    assert seen == list(range(1, 11))
    assert taken == list(range(10))


async def test_a_step_may_ask_for_another() -> None:
    """The second stands behind those that wait already, and none is lost."""
    turns, taken = Turns(), list[str]()

    def asks() -> None:
        taken.append("first")
        turns.take(lambda: taken.append("second"))

    turns.take(lambda: taken.append("before"))  # all the room of this turn
    turns.take(asks)
    for _ in range(20):
        turns.take(lambda: taken.append("other"))
    for _ in range(30):
        await asyncio.sleep(0)
    assert taken == ["before", "first", *["other"] * 20, "second"]


async def test_the_more_wait_the_more_are_taken() -> None:
    """Where turns are long more may come in than a fixed number would take, and the last would wait for ever."""
    turns, taken = Turns(), list[int]()
    for number in range(10_000):
        turns.take(lambda number=number: taken.append(number))  # type: ignore[misc]
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert len(taken) == 10_000


async def test_a_step_that_fails_keeps_nobody_else_waiting() -> None:
    """A fault of ours is one exchange's, not that of every host that is cold from now on."""
    turns, taken = Turns(), list[int]()
    faults = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    error = RuntimeError("a step failed")

    def fail() -> None:
        raise error

    turns.take(lambda: taken.append(0))
    turns.take(fail)
    turns.take(lambda: taken.append(1))
    for _ in range(5):
        await asyncio.sleep(0)
    turns.take(lambda: taken.append(2))
    assert (taken, faults) == ([0, 1, 2], [error])


async def test_room_comes_back_when_nothing_waits() -> None:
    """After a quiet turn the next step is taken at once again."""
    turns, taken = Turns(), list[int]()
    turns.take(lambda: taken.append(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    turns.take(lambda: taken.append(1))
    assert taken == [0, 1]


async def test_the_collector_comes_with_the_steps() -> None:
    """It is not left to its own count of what is new, which what goes meanwhile holds down."""

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    turns, left = Turns(), list[weakref.ref[Cycle]]()
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            turns.take(lambda: left.append(weakref.ref(Cycle())))
        while len(left) < 100:
            await asyncio.sleep(0)
        alive = sum(cycle() is not None for cycle in left)
    finally:
        gc.enable()
    assert alive < 40
