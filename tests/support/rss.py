"""How much memory a process holds, read from /proc. Sizes in bytes."""

from pathlib import Path


def rss(pid: int) -> int:
    """What it holds now."""
    return _field(pid, "VmRSS")


def peak_rss(pid: int) -> int:
    """The most that it held since `forget_peak`."""
    return _field(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Start measuring the peak anew (proc(5): 5 into clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _field(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/status has no {name}")
