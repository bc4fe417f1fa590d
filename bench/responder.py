"""The name server of `acme_zone` under a flood: what it costs the node, and how soon ask is answered beside it.

    python -m bench.responder              5 seconds each: no flood, then 20,000 packets a second of three kinds
    python -m bench.responder --workers 2  the same where a control process has the admin listener

The flood comes from other processes: from one network with a name of the zone; from 4,000 networks with invented tokens, each
different, which is the dearest that a stranger can send; from as many with names of other zones. Beside it 200 questions a
second go to ask, and a resolver of another network asks for a challenge's values over UDP, up to three times a second each,
then over TCP, as resolvers do.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import dns.asyncquery
import dns.exception

from bench.measure import cpu_seconds
from router.base.clock import SystemClock
from router.certificates.order import OrderState
from router.store import Store
from tests.support.held_certificates import an_order
from tests.support.ports import free_port
from tests.support.responder_zone import ZONE, query
from tests.support.router import Router
from tests.support.workers import control

RATE = 20_000  # packets a second of a flood
SECONDS = 5.0
ASKS = 200  # a second
GOAL = 0.002  # seconds, the 99th percentile of ask
CPU_GOAL = 0.4  # of a core, for the node as a whole
KINDS = ("none", "one network", "invented tokens", "other zones")
_SENDERS = 2
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def flood(kind: str, port: int, rate: float, seconds: float) -> None:
    """Send, once there is a line on standard input. Prints how many packets went off."""
    count = 1 if kind == "one network" else 2000
    senders = []
    for number in range(count):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((f"127.{random.randrange(1, 250)}.{number % 250}.{number // 250 + 1}", 0))
        sender.connect(("127.0.0.1", port))
        sender.setblocking(False)
        senders.append(sender)
    wire = query(f"{'a' * 32}.{ZONE if kind != 'other zones' else 'example.org'}").to_wire()
    names = ["".join(random.choices(_LETTERS, k=32)).encode() for _ in range(4000)]
    print("ready", flush=True)
    sys.stdin.readline()
    started, sent, at = time.perf_counter(), 0, 0
    while (now := time.perf_counter() - started) < seconds:
        while sent < now * rate:
            packet = wire if kind == "one network" else wire[:13] + names[sent % 4000] + wire[45:]
            with contextlib.suppress(OSError):  # its buffer is full
                senders[at].send(packet)
            sent, at = sent + 1, (at + 1) % count
        time.sleep(0.001)
    print(sent)


async def ask(router: Router, seconds: float) -> list[float]:
    """How long each question took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.admin_port)
    request = b"GET /ask?domain=nobody.example.org HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    loop = asyncio.get_running_loop()
    began, times = loop.time(), []
    while loop.time() - began < seconds:
        started = time.perf_counter()
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
        times.append(time.perf_counter() - started)
        await asyncio.sleep(1 / ASKS)
    writer.close()
    return sorted(times)


async def resolve(name: str, port: int, seconds: float) -> tuple[int, int, int]:
    """(by UDP, by TCP, not at all): how the values were found, once after the other."""
    found = [0, 0, 0]
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < seconds:
        found[await _resolve(name, port)] += 1
        await asyncio.sleep(0.05)
    return found[0], found[1], found[2]


async def _resolve(name: str, port: int) -> int:
    asked = query(name)
    for _ in range(3):
        try:
            answer = await dns.asyncquery.udp(asked, "127.0.0.1", 0.3, port, source="127.254.1.1")
        except dns.exception.Timeout:
            continue
        if answer.answer:
            return 0
        break
    try:
        return 1 if (await dns.asyncquery.tcp(asked, "127.0.0.1", 3, port)).answer else 2
    except (dns.exception.Timeout, EOFError, OSError):
        return 2


async def measure(router: Router, kind: str, name: str, port: int, seconds: float) -> bool:
    """One kind of flood; whether the goals hold."""
    pids = control(router.process.pid) or [router.process.pid]
    command = [
        sys.executable,
        "-m",
        "bench.responder",
        "--send",
        kind,
        "--port",
        str(port),
        "--seconds",
        str(seconds + 1),
    ]
    pipe = subprocess.PIPE
    senders = [] if kind == "none" else [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(_SENDERS)]
    for sender in senders:
        assert sender.stdin is not None
        assert sender.stdout is not None
        await asyncio.to_thread(sender.stdout.readline)
        sender.stdin.write(b"go\n")
        sender.stdin.flush()
    taken = _taken(router)
    before, began = cpu_seconds(pids[0]), time.perf_counter()
    times, found = await asyncio.gather(ask(router, seconds), resolve(name, port, seconds))
    cpu = (cpu_seconds(pids[0]) - before) / (time.perf_counter() - began)
    taken = (_taken(router) - taken) / (time.perf_counter() - began)
    sent = sum(int(sender.communicate()[0]) for sender in senders)
    p50, p99, worst = times[len(times) // 2], times[len(times) * 99 // 100], times[-1]
    print(
        f"{kind:16} {sent / (seconds + 1):7.0f} packets/s, taken {taken:6.0f}   node {cpu:5.1%} of a core   ask p50 {p50 * 1e3:.2f} p99 {p99 * 1e3:.2f}"
        f" max {worst * 1e3:.2f} ms   values by UDP {found[0]}, TCP {found[1]}, not {found[2]}"
    )
    return p99 < GOAL and cpu < CPU_GOAL


def _taken(router: Router) -> float:
    """How many packets the node has read; the kernel dropped the others."""
    found = re.findall(
        r"^miosa_router_responder_queries_total\S* (\S+)$", router.get_admin("/metrics")[2].decode(), re.MULTILINE
    )
    return sum(map(float, found))


async def run(workers: int, seconds: float) -> bool:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        router = Router(
            Path(folder),
            workers=workers,
            acme_zone=ZONE,
            acme_dns_bind=f"127.0.0.1:{port}",
            acme_dns_names="ns1.example.net",
            secrets_key="ab12" * 16,
        )
        with router:
            clock = SystemClock()
            later = clock.now() + timedelta(hours=1)  # no job is to drive it
            order = an_order(
                "customer.org", clock.now(), state=OrderState.PUBLISHED, txt=("x" * 43, "y" * 43), next_at=later
            )
            store = await Store.open(router.environment["MIOSA_ROUTER_DATABASE_URL"], clock=clock)
            async with store.begin() as tx:
                await tx.acme_orders.add(order)
            await store.close()
            return all([await measure(router, kind, f"{order.token}.{ZONE}", port, seconds) for kind in KINDS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--send", choices=KINDS[1:], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        os.nice(5)  # the node is what is measured
        flood(given.send, given.port, RATE / _SENDERS, given.seconds)
        return
    sys.exit(0 if asyncio.run(run(given.workers, given.seconds)) else 1)


if __name__ == "__main__":
    main()
