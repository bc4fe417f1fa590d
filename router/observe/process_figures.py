"""What this process uses, from /proc: the metrics that Prometheus's clients give of a process, by the names that they have there."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from router.base import descriptors

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PROC: Final = Path("/proc")


def process_figures(labels: Mapping[str, str]) -> list[list[Any]]:
    """The families, as `figures.py` describes them, their samples with these labels. None where there is no /proc."""
    try:
        # The name, in brackets, may have spaces and brackets in it.
        stat = (_PROC / "self/stat").read_bytes().rpartition(b")")[2].split()
        started = int(stat[19]) / _TICKS + _boot_time()
        opened = sum(1 for _ in (_PROC / "self/fd").iterdir())
    except OSError:
        return []
    found: tuple[tuple[str, str, float], ...] = (
        ("virtual_memory_bytes", "Virtual memory size in bytes.", float(stat[20])),
        ("resident_memory_bytes", "Resident memory size in bytes.", float(int(stat[21]) * _PAGE)),
        ("start_time_seconds", "Start time of the process since unix epoch in seconds.", started),
        (
            "cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            (int(stat[11]) + int(stat[12])) / _TICKS,
        ),
        ("open_fds", "Number of open file descriptors.", float(opened)),
        ("max_fds", "Maximum number of open file descriptors.", float(descriptors.limit())),
    )
    return [
        [
            f"process_{name.removesuffix('_total')}",
            "counter" if name.endswith("_total") else "gauge",
            text,
            False,
            [[f"process_{name}", dict(labels), value]],
        ]
        for name, text, value in found
    ]


@cache
def _boot_time() -> int:
    for line in (_PROC / "stat").read_bytes().splitlines():
        if line.startswith(b"btime "):
            return int(line.split()[1])
    return 0
