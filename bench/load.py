"""Load from other programs: wrk and h2load, and this package's own generators as processes."""

import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.peers import STATIC

LOAD_CORE = 0
_PATIENCE = 60.0  # seconds in which all connections have to be open
SCRIPTS = Path(__file__).with_name("wrk")

# As Firefox says it: about 480 bytes with the request line.
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://bench.miosa.test/some/page",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Cookie: session=6f1d2b9c8a7e4f30; theme=dark",
)


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator saw. `failed` counts answers other than 2xx and 3xx, and socket errors."""

    done: int
    per_second: float
    failed: int


def _headers(option: str, headers: Sequence[str]) -> list[str]:
    return [word for header in headers for word in (option, header)]


def wrk(
    url: str,
    host: str,
    *,
    connections: int,
    seconds: int,
    headers: Sequence[str] = (),
    script: str | None = None,
    words: Sequence[str] = (),
    cores: str = str(LOAD_CORE),
) -> Load:
    """Load `url` with browser-like requests from one core. Raises CalledProcessError where wrk fails."""
    command = ["taskset", "-c", cores, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += _headers("-H", [f"Host: {host}", *BROWSER, *headers])
    if script is not None:
        command += ["-s", str(SCRIPTS / script)]
    command.append(url)
    if words:
        command += ["--", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    requests = int(re.findall(r"(\d+) requests in", done.stdout)[0])
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)[0])
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", done.stdout)))
    for errors in re.findall(r"Socket errors: (.*)", done.stdout):
        failed += sum(map(int, re.findall(r"\d+", errors)))
    return Load(requests, rate, failed)


def h2load(name: str, port: int, *, connections: int, seconds: int, http1: bool) -> Load:
    """Load Caddy's TLS port. Raises CalledProcessError where h2load fails."""
    command = ["taskset", "-c", str(LOAD_CORE), "h2load", f"-c{connections}", "-t1", f"-D{seconds}"]
    command += ["--warm-up-time=0", *(["--h1"] if http1 else ["-m4"]), *_headers("-H", BROWSER)]
    command += [f"--connect-to=127.0.0.1:{port}", f"https://{name}:{port}/"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    counts = re.findall(r"requests: .*?(\d+) done, (\d+) succeeded, (\d+) failed", done.stdout)[0]
    codes = sum(map(int, re.findall(r"status codes: .*?(\d+) 4xx, (\d+) 5xx", done.stdout)[0]))
    return Load(int(counts[0]), int(counts[0]) / seconds, int(counts[2]) + codes)


def h2_visits(port: int, file: Path, start: int, *, seconds: int) -> Load:
    """Load Caddy's TLS port with requests that differ (`bench/h2_load.py`). Raises CalledProcessError where that fails."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.h2_load", str(port), STATIC, str(file)]
    done = subprocess.run(
        [*command, str(start), str(seconds)], check=True, capture_output=True, text=True, timeout=seconds + 60
    )
    found = json.loads(done.stdout)
    return Load(found["done"], found["rate"], found["failed"])


def steady(port: int, host: str, *, rate: int, seconds: int) -> dict[str, Any]:
    """Requests at a constant rate: `bench/rate.py`, and what it prints."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.rate", str(port), host]
    command += [f"--rate={rate}", f"--seconds={seconds}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Sockets:
    """Long connections, kept by `bench/sockets.py` in a process of its own; `count` is what has passed so far."""

    def __init__(self, mode: str, port: int, hosts: Sequence[str], connections: int) -> None:
        command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.sockets", mode, str(port)]
        self._process = subprocess.Popen(
            [*command, str(connections)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._write("\n".join(hosts) + "\n.")
        self.ready = self._read()  # waits until all are open

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:  # closes the pipes
            self._process.kill()

    def count(self) -> dict[str, Any]:
        """What has passed and failed so far, and when this was said."""
        self._write("")
        return self._read()

    def run(self, seconds: float) -> Load:
        """What passes within so many seconds from now."""
        before = self.count()
        time.sleep(seconds)
        after = self.count()
        done = after["passed"] - before["passed"]
        return Load(done, done / (after["at"] - before["at"]), after["failed"])

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        line = self._process.stdout.readline() if readable else ""
        if not line:
            self._process.kill()
            raise RuntimeError(f"the generator of long connections said nothing for {_PATIENCE} s, or has ended")
        found: dict[str, Any] = json.loads(line)
        return found
