"""A worker whose settings nobody reads: the supervisor says so in time, and goes on trying until it works."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Process
from tests.support.router import MIOSA_ROUTER, Router

pytestmark = [pytest.mark.e2e]

LIMIT = 5  # seconds for a process to be ready

# Python runs it before anything else in each process. A worker forks the process that reads its settings, and nothing else forks so.
FAULTS = {
    "ends": """
import os
fork = os.fork
def broken():
    pid = fork()
    if not pid:
        os._exit(3)
    return pid
os.fork = broken
""",
    "hangs": """
import os
fork = os.fork
def broken():
    reading, writing = os.pipe()
    pid = fork()
    if not pid:
        os.close(writing)
        os.read(reading, 1)  # ends when the worker, which holds the other end, has ended
        os._exit(3)
    os.close(reading)
    return pid
os.fork = broken
""",
}


def lines(process: Process, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


@pytest.mark.parametrize(
    ("fault", "reason"), [("ends", "it ended with status 1"), ("hangs", f"it was not ready within {LIMIT} s")]
)
def test_the_supervisor_says_why_and_goes_on(tmp_path: Path, fault: str, reason: str) -> None:
    """No worker serves meanwhile; once the fault is gone, they all do."""
    router = Router(tmp_path, workers=2, limits__process_start=LIMIT)
    router.prepare()
    module = tmp_path / "sitecustomize.py"
    module.write_text(FAULTS[fault])
    environment = {**router.environment, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    with Process([MIOSA_ROUTER, "serve"], tmp_path / "router.log", environment, tmp_path) as process:

        def refusals() -> list[Any]:
            return [line["reason"] for line in lines(process, "process could not start") if line["number"]]

        process.until(lambda: len(refusals()) > 2)  # a worker's second attempt
        assert set(refusals()) == {reason}
        assert lines(process, "restarting process")
        assert not router.ready()
        module.unlink()
        process.until(lambda: {line["number"] for line in lines(process, "process ready")} == {0, 1, 2})
        process.until(router.ready)
    assert process.status == 0
