"""Programs as processes: started, waited for with a deadline, ended by their pid, their output kept for failures."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from router.demo.children import PDEATHSIG

BIN = Path(sys.executable).parent


class Process:
    """One program. As a context it is ended on the way out."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIOSA_")}
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                # With a parent-death signal, so that a test run that is killed leaves nothing behind.
                [sys.executable, "-I", str(PDEATHSIG), str(os.getpid()), *map(str, command)],
                env={**inherited, **(environment or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.name = Path(command[0]).name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._popen.poll()

    def until(self, condition: Callable[[], object], within: float = 60.0) -> None:
        """Wait until `condition()` is true while the program runs. Fails with its output."""
        deadline = time.monotonic() + within
        while not condition():
            if self.status is not None:
                raise AssertionError(f"{self.name} ended with status {self.status}:\n{self.output}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} was not ready after {within} s:\n{self.output}")
            time.sleep(0.02)

    def says(self, words: str, within: float = 60.0) -> None:
        """Wait until `words` are in its output."""
        self.until(lambda: words in self.output, within)

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, within: float = 60.0) -> int:
        """Wait for its end; the exit status."""
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still ran after {within} s:\n{self.output}") from None

    def stop(self, within: float = 15.0) -> None:
        """SIGTERM, and SIGKILL where that was not enough."""
        if self.status is not None:
            return
        self._popen.terminate()
        try:
            self._popen.wait(within)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that still run."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text(encoding="ascii").split()]
    return [child for child in found if alive(child)]
