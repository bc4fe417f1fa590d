"""Background tasks: each has a name and an owner that reports its failure and ends it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from router.base.tasks import Tasks

pytestmark = pytest.mark.asyncio


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_task_has_the_owners_name() -> None:
    """So that a stack dump says who runs it; it is forgotten when it ends."""

    async def answer() -> int:
        return 42

    tasks = Tasks("resolver")
    task = tasks.start("look up", answer())
    assert task.get_name() == "resolver: look up"
    assert repr(tasks) == "<Tasks resolver: ['resolver: look up']>"
    assert len(tasks) == 1
    assert await task == 42
    assert len(tasks) == 0
    assert repr(tasks) == "<Tasks resolver: []>"


async def test_a_failure_is_logged_and_leaves_the_others_alone() -> None:
    """Background jobs outlive each other; whoever awaits the task gets the error as well."""

    async def fail() -> None:
        raise LookupError("no such thing")

    tasks = Tasks("jobs")
    with capture_logs() as logs:
        other = tasks.start("other", forever())
        failing = tasks.start("failing", fail())
        with pytest.raises(LookupError):
            await failing
    assert [(line["event"], line["task"], line["log_level"]) for line in logs] == [
        ("task failed", "jobs: failing", "error")
    ]
    assert isinstance(logs[0]["exc_info"], LookupError)
    assert not other.done()
    await tasks.close()
    assert other.cancelled()


async def test_close_cancels_and_waits() -> None:
    """What cleans up when it is cancelled has done so when `close` returns; nothing is logged."""
    cleaned = []

    async def work() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    tasks = Tasks("owner")
    tasks.start("one", work())
    tasks.start("two", work())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await tasks.close()
    assert cleaned == [True, True]
    assert len(tasks) == 0
    assert logs == []


async def test_a_task_that_will_not_end_is_reported() -> None:
    """`close` waits no longer than it was told to."""
    stop = asyncio.Event()

    async def stubborn() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    tasks = Tasks("owner")
    task = tasks.start("stubborn", stubborn())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await tasks.close(within=0.01)
    assert [(line["event"], line["task"]) for line in logs] == [("task did not end when cancelled", "owner: stubborn")]
    stop.set()
    await task


async def test_nothing_starts_after_close() -> None:
    """A task that nobody would end is refused, and its coroutine is not left unawaited."""
    tasks = Tasks("owner")
    await tasks.close()
    await tasks.close()
    with pytest.raises(RuntimeError, match="owner is closed"):
        tasks.start("late", forever())
    assert len(tasks) == 0
