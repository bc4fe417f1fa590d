"""The others, set up to do the same job: each module's `start` gives a running proxy.

All route by Host to the same two backends, keep connections on both sides, say who the client is, make a request id,
and write one JSON line per exchange to a file, buffered where they offer it. `Ground` is what they are started on.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Process

STATIC = "bench.miosa.test"  # leads to the cheap backend
LIVE = "live.miosa.test"  # leads to the backend for chunked answers, event streams and WebSockets


@dataclass(frozen=True)
class Ground:
    """Where a contestant is put up: a folder of its own, its port, and the ports of the backends."""

    folder: Path
    port: int
    static: int
    live: int
    hosts: tuple[str, ...] = ()  # further names that lead to the static backend, for those that look hosts up
    redis: int = 0  # a Redis server that knows all names


@dataclass(frozen=True)
class Peer:
    """A running contestant: what to stop, and what it calls itself."""

    process: Process
    version: str
