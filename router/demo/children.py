"""Child processes that end with us, and whose last lines of output are kept for error messages."""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from router.base.tasks import Tasks

PDEATHSIG = Path(__file__).with_name("pdeathsig.py")
LAST_LINES = 15
MAX_LINE = 1024 * 1024


class ChildError(Exception):
    """A child that ended, or was not ready in time. `str()` has its last lines of output."""


class Child:
    """One running process. Its output goes to `log`, and line by line to `listener`, where one is set."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.listener: Callable[[str], None] | None = None
        self.first_line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._process = process
        self._log = log
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._heard_all = asyncio.Event()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def read(self) -> None:
        """Follow the output to its end."""
        output = self._process.stdout
        if output is None:
            raise RuntimeError("started without a pipe")
        try:
            with self._log.open("w", encoding="utf-8") as log:
                async for raw in output:
                    line = raw.decode("utf-8", "replace").rstrip("\n")
                    log.write(line + "\n")
                    log.flush()
                    self._last.append(line)
                    if not self.first_line.done():
                        self.first_line.set_result(line)
                    if self.listener is not None:
                        self.listener(line)
        finally:
            self._heard_all.set()

    async def wait(self) -> None:
        await self._process.wait()

    async def failure(self, what: str | None = None) -> ChildError:
        """An error that says what happened (by default, that it ended), with its last lines of output."""
        if what is None:
            what = f"ended with status {self._process.returncode}"
        if self.ended:  # then its output is here, or on its way
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard_all.wait(), 1)
        words = "".join(f"\n    {line}" for line in self._last) or "\n    (it printed nothing)"
        return ChildError(f"{self.name} {what}. Its last output (all of it is in {self._log}):{words}")

    async def ready(self, condition: Callable[[], Awaitable[bool]], within: float) -> None:
        """Wait until `condition` holds, polling it. Raises ChildError when the child ends first, or is late."""
        try:
            async with asyncio.timeout(within):
                while not await condition():
                    if self.ended:
                        raise await self.failure()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise await self.failure(f"was not ready after {within:.0f} s") from None

    async def stop(self, within: float) -> bool:
        """Send SIGTERM, and SIGKILL after `within` seconds. Whether SIGTERM was enough."""
        if self.ended:
            return True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(within):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            return False
        return True


class Children:
    """All child processes. They are stopped in reverse order of their start: each one before those it depends on."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._readers = Tasks("demo")

    async def start(
        self, name: str, command: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
    ) -> Child:
        """Start `command` with our environment, and `variables` on top."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(PDEATHSIG), str(os.getpid()), *command),
            env=environment(variables or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; we end them in order
            limit=MAX_LINE,
        )
        child = Child(name, process, log)
        self._children.append(child)
        self._readers.start(f"read {name}", child.read())
        return child

    async def first_death(self) -> Child:
        """Wait until one of them ends."""
        waits = {self._readers.start(f"watch {child.name}", child.wait()): child for child in self._children}
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return waits[done.pop()]

    async def stop(self, within: float = 8.0) -> list[Child]:
        """Stop all of them; returns those that had to be killed. Their output while stopping goes to their logs only."""
        for child in self._children:
            child.listener = None
        killed = [child for child in reversed(self._children) if not await child.stop(within)]
        await self._readers.close()
        return killed


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Our environment, as it is handed on, with `variables` on top."""
    return {**os.environ, **variables}  # noqa: TID251  handed on, not read
