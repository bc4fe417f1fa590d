"""What a run costs: CPU time of a program and all its processes, and what wrk saw."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time so far of a process and its living descendants, in seconds."""
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = (int(own[11]) + int(own[12])) / _TICK
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += sum(cpu_seconds(int(child)) for child in (task / "children").read_text().split())
    return total


def pin(pid: int, core: int) -> None:
    """Keep a process, its threads and its descendants on one core."""
    subprocess.run(["taskset", "-a", "-p", "-c", str(core), str(pid)], check=True, stdout=subprocess.DEVNULL)
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pin(int(child), core)


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw. `failed` counts answers other than 2xx and 3xx, and socket errors."""

    requests: int
    per_second: float
    failed: int


def wrk(url: str, host: str, *, connections: int, seconds: int, core: int) -> Load:
    """Load `url` with browser-like requests from one core. Raises CalledProcessError where wrk fails."""
    headers = (
        f"Host: {host}",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Cookie: session=6f1d2b9c8a7e4f30; theme=dark",
    )
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for header in headers:
        command += ["-H", header]
    done = subprocess.run([*command, url], check=True, capture_output=True, text=True, timeout=seconds + 30)
    requests = int(re.findall(r"(\d+) requests in", done.stdout)[0])
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)[0])
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", done.stdout)))
    for errors in re.findall(r"Socket errors: (.*)", done.stdout):
        failed += sum(map(int, re.findall(r"\d+", errors)))
    return Load(requests, rate, failed)
