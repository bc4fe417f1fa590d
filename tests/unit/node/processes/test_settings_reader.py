"""The process that reads a worker's settings, where it does not do so: the worker does not wait for ever, and leaves none behind."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from router.node.processes import settings_reader
from router.node.processes.settings_reader import SettingsReader
from tests.support.processes import alive
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio

VALUES = {"platform_domain": "miosa.test"}


@contextmanager
def reading_by(*command: str) -> Iterator[tuple[SettingsReader, int]]:
    """A reader whose process is another program, with its end of the socket as standard input; and the process."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL)
    reader = SettingsReader(ours, process.pid)
    try:
        yield reader, process.pid
    finally:
        reader.close()
        process.wait()


async def test_one_that_ends_without_an_answer() -> None:
    """It has heard the whole question."""
    with reading_by("cat") as (reader, pid):
        with pytest.raises(RuntimeError, match="ended without an answer"):
            await reader.parse(VALUES)
        assert not alive(pid)


async def test_one_that_ends_at_once() -> None:
    """The question may not even be sent: the same is said then."""
    with reading_by("true") as (reader, pid):
        with pytest.raises(RuntimeError, match="ended without an answer"):
            await reader.parse(VALUES)
        assert not alive(pid)


async def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its time, and is killed then."""
    monkeypatch.setattr(settings_reader, "_TIMEOUT", 0.1)
    with reading_by("sleep", "600") as (reader, pid):
        with pytest.raises(TimeoutError):
            await reader.parse(VALUES)
        assert not alive(pid)


ORPHAN = """
import os, signal
from router.node.processes import settings_reader
settings_reader._TIMEOUT = 1
settings_reader._read = lambda end: signal.pause()
print(settings_reader.SettingsReader.fork()._pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_one_that_hangs_and_whose_worker_was_killed() -> None:
    """No process is left to end it, so it ends by itself when its time is over."""
    worker = subprocess.run([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, check=False, timeout=30)
    assert worker.returncode == -signal.SIGKILL
    reader = int(worker.stdout)
    until(lambda: not alive(reader), "the reader has ended")


async def test_one_that_nobody_asks() -> None:
    """A worker that ends before it gets its settings ends it too, and once is enough."""
    with reading_by("sleep", "600") as (reader, pid):
        reader.close()
        assert not alive(pid)
        reader.close()
