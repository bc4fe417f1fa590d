"""Requests at a constant rate, and how long each took from the moment it was due: `python -m bench.rate PORT HOST`

A generator that waits for an answer before it asks again does not ask while a server stalls, so the stall is one slow
request instead of hundreds (coordinated omission). Here each request has an instant at which it is due, whatever the
ones before it do, and its time counts from there: also what it waited for a free connection, or for this program.

One thread on epoll, woken by a timer of the kernel (timerfd): asyncio's timers round to a millisecond.
"""

import argparse
import ctypes
import json
import os
import select
import socket
import struct
import time
from collections import Counter, deque
from typing import Any

from bench.load import BROWSER

_CLOCK_MONOTONIC, _TFD_NONBLOCK, _TFD_TIMER_ABSTIME = 1, 0o4000, 1
_PATIENCE = 5.0  # seconds after the last due instant for what is still open


def _timer(first: float, interval: float) -> int:
    """A descriptor that becomes readable at each instant that something is due."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK))
    parts = [part for seconds in (interval, first) for part in (int(seconds), int(seconds % 1 * 1e9))]
    setting = struct.pack("llll", *parts)
    if descriptor < 0 or libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME, setting, None) != 0:
        raise OSError(ctypes.get_errno(), "timerfd")
    return descriptor


def _connect(port: int, connections: int) -> dict[int, socket.socket]:
    opened = {}
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", port), timeout=5)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        opened[one.fileno()] = one
    return opened


def run(port: int, host: str, rate: int, seconds: float, connections: int) -> dict[str, Any]:
    """Times in milliseconds by quantile, how many requests took how many tens of microseconds, and how much was asked,
    failed and left without an answer."""
    request = "\r\n".join(["GET / HTTP/1.1", f"Host: {host}", *BROWSER, "", ""]).encode("ascii")
    opened = _connect(port, connections)
    free = list(opened.values())
    due_of: dict[int, float] = {}  # what is asked on each connection, by when it was due
    waiting: deque[float] = deque()
    took: list[float] = []
    failed = 0
    now = time.monotonic
    count, interval = int(rate * seconds), 1 / rate
    first = now() + 0.2
    timer = _timer(first, interval)
    poll = select.epoll()
    for descriptor in (timer, *opened):
        poll.register(descriptor, select.EPOLLIN)
    asked = 0
    end = first + seconds + _PATIENCE
    while len(took) + failed < count and now() < end:
        for descriptor, _ in poll.poll(0.5):
            if descriptor == timer:
                os.read(timer, 8)
                passed = min(count, int((now() - first) / interval) + 1)
                while asked < passed:
                    waiting.append(first + asked * interval)
                    asked += 1
            else:
                one = opened[descriptor]
                answer = one.recv(65536)
                if not answer and descriptor in due_of:
                    raise ConnectionError("the proxy has closed a connection that waits for a response")
                if not answer:  # it was not needed for as long as the proxy waits for a request
                    poll.unregister(descriptor)
                    free.remove(one)
                    opened.pop(descriptor).close()
                    continue
                instant = now()
                if answer.startswith(b"HTTP/1.1 200"):
                    took.append(instant - due_of.pop(descriptor))
                else:
                    failed += 1
                free.append(one)
            while waiting and free:
                one = free.pop()
                due_of[one.fileno()] = waiting.popleft()
                one.send(request)
    took.sort()
    quantiles = {f"p{name}": took[int(len(took) * share)] * 1000 for name, share in _QUANTILES.items()}
    times = Counter(int(seconds * 100_000 + 0.5) for seconds in took)
    return {**quantiles, "times": times, "done": len(took), "failed": failed + count - len(took) - failed}


_QUANTILES = {"50": 0.5, "99": 0.99, "99.9": 0.999}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("port", type=int)
    words.add_argument("host")
    words.add_argument("--rate", type=int, default=2000)
    words.add_argument("--seconds", type=float, default=3)
    words.add_argument("--connections", type=int, default=64)
    chosen = words.parse_args()
    print(json.dumps(run(chosen.port, chosen.host, chosen.rate, chosen.seconds, chosen.connections)))


if __name__ == "__main__":
    main()
