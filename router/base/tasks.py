"""Every background task has a name and an owner: this is the only caller of `create_task`.

A `TaskGroup` would cancel its siblings when one fails; a server's background jobs must outlive each other, so an
owner keeps its tasks, reports each failure, and ends them all when it is closed.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

_log = structlog.get_logger("router.base.tasks")


class Tasks:
    """The tasks of one owner."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return f"<Tasks {self._owner}: {sorted(task.get_name() for task in self._tasks)}>"

    @property
    def closed(self) -> bool:
        """Whether `start` is refused."""
        return self._closed

    def start(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` now. Its failure is logged; awaiting the task raises it too.

        Raises RuntimeError after `close`.
        """
        if self._closed:
            work.close()
            raise RuntimeError(f"{self._owner} is closed")
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task failed", task=task.get_name(), exc_info=error)

    async def close(self, within: float = 5.0) -> None:
        """Cancel what still runs and wait for it, at most `within` seconds."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within)
            for task in late:
                _log.error("task did not end when cancelled", task=task.get_name())
