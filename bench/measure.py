"""What a run costs: CPU time and memory of a program and all its processes, from /proc."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_QUOTAS = Path("/sys/fs/cgroup/cpu")  # cgroup v1; v2 has no way to limit a process of ours without moving all of them
_PERIOD = 10_000  # microseconds: short, so that a worker that has used its share is soon back


def family(pid: int) -> list[int]:
    """A process and its living descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError):
            for child in task.read_text().split():
                found += family(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time so far of a process and its descendants, in seconds; those that have ended are in it as
    soon as their parent has waited for them."""
    total = 0
    for member in family(pid):
        with suppress(FileNotFoundError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # utime stime cutime cstime
    return total / _TICK


def precise_cpu_seconds(pid: int) -> float:
    """As `cpu_seconds`, of threads that live, to the nanosecond where the kernel counts so: a process at rest takes a few ticks
    of the clock in half a minute."""
    total = 0
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").glob("*/schedstat"):
            with suppress(FileNotFoundError):
                total += int(task.read_text().split()[0])
    return total / 1e9 or cpu_seconds(pid)


def memory(pid: int, name: str = "Rss") -> int:
    """Bytes that one process holds: Rss, or Pss, which splits what it shares with others among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def family_memory(pid: int) -> int:
    """Bytes that a process and its descendants hold together (Pss)."""
    return sum(memory(member, "Pss") for member in family(pid))


def pin(pid: int, *cores: int) -> None:
    """Keep a process, its threads and its descendants on these cores."""
    listed = ",".join(map(str, cores))
    for member in family(pid):
        subprocess.run(["taskset", "-a", "-p", "-c", listed, str(member)], check=False, capture_output=True)


@contextmanager
def quota(pid: int, share: float) -> Iterator[None]:
    """Let one process have no more than this share of a core. Raises OSError where that can't be had (needs root)."""
    group = _QUOTAS / f"miosa-bench-{pid}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(int(_PERIOD * share)))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with suppress(OSError):
            (_QUOTAS / "cgroup.procs").write_text(str(pid))
        group.rmdir()
