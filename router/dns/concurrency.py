"""Run coroutines at once and wait for all, for most, or for the first good result. Leaving cancels the rest."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from router.base.tasks import Tasks

T = TypeVar("T")


async def all_of(tasks: Tasks, name: str, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What each comes to, in their order. Raises what the first of them raises."""
    async with _started(tasks, name, work) as going:
        if going:
            await asyncio.wait(going)
        return [task.result() for task in going]


async def most_of(
    tasks: Tasks, name: str, work: Sequence[Coroutine[Any, Any, T]], enough: Callable[[T], bool], grace: float
) -> list[T | None]:
    """What each comes to, in their order; None for those that are not there `grace` seconds after the first that is
    `enough`."""
    async with _started(tasks, name, work) as going:
        pending = await _until_first(going, enough)
        if pending:
            await asyncio.wait(pending, timeout=grace)
        return [task.result() if task.done() else None for task in going]


async def first_of(
    tasks: Tasks, name: str, work: Sequence[Coroutine[Any, Any, T]], enough: Callable[[T], bool]
) -> T | None:
    """What the first comes to that is `enough`; where none is, one of them. None without any work."""
    async with _started(tasks, name, work) as going:
        await _until_first(going, enough)
        came = [task.result() for task in going if task.done()]
        return next((one for one in came if enough(one)), came[-1] if came else None)


async def _until_first(going: Sequence[asyncio.Task[T]], enough: Callable[[T], bool]) -> set[asyncio.Task[T]]:
    """Wait until one of them is `enough`, or all are done; who is not done then."""
    pending = set(going)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if any(enough(task.result()) for task in done):
            break
    return pending


@asynccontextmanager
async def _started(
    tasks: Tasks, name: str, work: Sequence[Coroutine[Any, Any, T]]
) -> AsyncIterator[list[asyncio.Task[T]]]:
    going = [tasks.start(name, one) for one in work]
    try:
        yield going
    finally:
        for task in going:
            task.cancel()
