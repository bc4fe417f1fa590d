"""Caddy's ask under load: how soon it is answered, what an answer costs, and that each one is right.

    python -m bench.ask            half a minute of 1,000 questions a second, alone and beside 1,000 requests a second
                                   to the proxy; then a scanner's night: 100,000 names under a verified zone
    python -m bench.ask --quick    the same with a tenth of the time and of the names
    python -m bench.ask --workers 2    the proxy in two workers, ask in the control process

The questions are of known, unknown and malformed names in turn, on as many connections as Caddy keeps. They are sent at
their time whether or not the last ones were answered, so a stall of the node delays all that fall into it. How late the
bench itself was with asking (its timers, a machine without a free core) is printed beside and not counted. The scanner
has two and a half minutes; names that it has not asked about by then are a miss. The node is on SQLite; without workers
it is one process with everything in it.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from bench.measure import cpu_seconds
from router.base.clock import SystemClock
from router.routes.records import Scope
from router.store import Store, migrate
from tests.support.backends import Backend, Visit
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.rss import rss
from tests.support.waiting import eventually
from tests.support.workers import control
from tests.support.world import World

ZONE = "previews.customer.example"
CONNECTIONS = 4  # Go's client keeps two idle ones per host and opens more while it needs them
GOAL = 0.002  # seconds, the 99th percentile
CPU_GOAL = 60e-6
NIGHT = 150.0  # seconds that the scanner has, however slow the machine
AHEAD = 50  # questions that it asks at once
GROWTH = 8.0  # MiB
IN_FLIGHT = "miosa_router_certificates_in_flight"
_FIELDS = "Host: 127.0.0.1:8082\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"


@dataclass
class Tally:
    """Answers by status and reason, their times, and those that were wrong."""

    seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # how late the bench itself was, for want of a core

    def __str__(self) -> str:
        times = sorted(self.seconds)
        p50, p99, worst = times[len(times) // 2], times[len(times) * 99 // 100], times[-1]
        late = sorted(self.late)[len(self.late) * 99 // 100] if self.late else 0.0
        return (
            f"{len(times)} answers, {len(self.wrong)} wrong; p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, "
            f"worst {worst * 1e3:.1f} ms (asked late, at p99: {late * 1e3:.2f} ms)"
        )

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


class Connection(asyncio.Protocol):
    """One of Caddy's: questions in, answers out, in order."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._pending: list[tuple[float, str, Sequence[str]]] = []
        self._buffer = b""
        self._all: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, name: str, right: Sequence[str], at: float) -> None:
        self._pending.append((at, name, right))
        self.transport.write(f"GET /ask?domain={name} HTTP/1.1\r\n{_FIELDS}".encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *heads, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for head in heads:
            at, name, right = self._pending.pop(0)
            lines = head.decode().split("\r\n")
            reason = next(line.partition(": ")[2] for line in lines if line.startswith("X-Ask-Reason"))
            found = f"{lines[0].split()[1]} {reason}"
            self._tally.seconds.append(now - at)
            self._tally.answers[found] += 1
            if found not in right:
                self._tally.wrong.append(f"{name}: {found}")
        if not self._pending and not self._all.done():
            self._all.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pending and not self._all.done():
            self._all.set_exception(exc or ConnectionResetError("closed before every answer had come"))

    async def answered(self) -> None:
        """Wait until no question is open."""
        if self._pending:
            self._all = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(30.0):
                await self._all

    @property
    def waiting(self) -> int:
        return len(self._pending)


def questions(known: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Names and what the answers may be, without end: known, unknown and malformed in turn."""
    allowed = ["200 first_issue", "200 in_flight", "200 issued"]
    unknown = [f"x{number}.{ZONE}" for number in range(50)] + [f"x{number}.example.org" for number in range(50)]
    malformed = ["10.0.0.1", "-x.org", "a_b.org", "x..org", "ab--cd.org", "localhost", "x" * 64 + ".org"]
    right = {"10.0.0.1": "400 ip_address"}
    for good, bad, broken in zip(cycle(known), cycle(unknown), cycle(malformed), strict=False):
        yield good, allowed
        yield bad, ["404 no_such_resource", "404 unknown_host"]
        yield broken, [right.get(broken, "400 invalid_name")]


async def ask_at(port: int, asked: Iterator[tuple[str, Sequence[str]]], rate: float, seconds: float) -> Tally:
    """So many questions a second, each at its time."""
    loop, tally = asyncio.get_running_loop(), Tally()
    connections = [
        (await loop.create_connection(lambda: Connection(tally), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)
    ]
    begun = time.perf_counter()
    for number in range(int(rate * seconds)):
        at = begun + number / rate
        wait = at - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        name, right = next(asked)
        now = time.perf_counter()
        tally.late.append(now - at)
        connections[number % CONNECTIONS].ask(name, right, now)
    await eventually(lambda: not any(one.waiting for one in connections), "every answer has come", 30.0)
    for one in connections:
        one.transport.close()
    return tally


async def visit_at(port: int, hosts: Sequence[str], rate: float, stop: asyncio.Event) -> int:
    """Requests to the proxy until `stop`, on connections that are kept; how many were answered."""
    done = 0

    async def one(host: str) -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not stop.is_set():
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            done += 1
            await asyncio.sleep(random.expovariate(rate / len(hosts)))
        writer.close()

    await asyncio.gather(*(one(host) for host in hosts))
    return done


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


async def prepare(database: str, port: int) -> list[str]:
    """A customer with a verified zone and names in it; the names that may have certificates."""
    await migrate(database)
    store = await Store.open(database, clock=SystemClock())
    world = World(store, SystemClock())
    tenant = await world.tenant()
    await world.zone(Scope.TENANT, tenant.id, ZONE)
    hosts = []
    for number in range(8):
        box = await world.sandbox(tenant, f"box{number}", running=False, exposed_ports=[5173])
        await world.place(box, address="127.0.0.1", ports={3000: port})
        hosts += [f"box{number}.{PLATFORM_DOMAIN}", f"5173-box{number}.sandbox.{ZONE}", f"box{number}.{ZONE}"]
    await store.close()
    return hosts


async def scan(router: Router, names: int) -> bool:
    """A scanner's night: names that nobody has, each once. Not one is allowed, no budget is touched, memory stays."""
    tally, loop = Tally(), asyncio.get_running_loop()
    _, one = await loop.create_connection(lambda: Connection(tally), "127.0.0.1", router.admin_port)
    right, sizes, before = ["404 no_such_resource"], [held(router)], metric(router, IN_FLIGHT)
    begun = time.perf_counter()
    for number in range(names):
        if number % AHEAD == 0:
            await one.answered()
        if number % (names // 10) == names // 10 - 1:
            sizes.append(held(router))
        if time.perf_counter() - begun > NIGHT:
            break
        one.ask(f"{random.getrandbits(64):x}.{ZONE}", right, time.perf_counter())
    await one.answered()
    took = time.perf_counter() - begun
    one.transport.close()
    sizes.append(held(router))
    asked, attempts = len(tally.seconds), metric(router, IN_FLIGHT) - before
    print(f"a scanner's night: {asked} of {names} names in {took:.0f} s, {len(tally.wrong)} wrong")
    print(f"  {dict(tally.answers)}; {max(0.0, attempts):.0f} attempts begun")
    print(f"  memory {sizes[0]:.0f} MiB before, {sizes[-1]:.0f} after; at each tenth: {_listed(sizes[1:-1])}")
    grown = sizes[-1] - sizes[min(2, len(sizes) - 1)]  # what is bounded is full after the first two tenths
    good = asked == names and grown < GROWTH and not tally.wrong and attempts <= 0
    if not good:
        print(f"  MISSED: {names - asked} not asked, {grown:.1f} MiB more at the end, wrong {tally.wrong[:5]}")
    return good


def held(router: Router) -> float:
    """MiB of the process that answers: the control process where there are workers."""
    return rss(answering(router)) / 2**20


def answering(router: Router) -> int:
    """The process that has the admin listener."""
    return next(iter(control(router.process.pid)), router.process.pid)


def _listed(sizes: Sequence[float]) -> str:
    return " ".join(f"{size:.0f}" for size in sizes)


def metric(router: Router, name: str) -> float:
    text = router.get_admin("/metrics")[2].decode()
    found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith((name + " ", name + "{"))]
    if not found:
        raise LookupError(f"no metric {name}")
    return sum(map(float, found))  # of all the node's processes


async def measure(router: Router, hosts: list[str], *, seconds: float, names: int) -> bool:
    pid, good, before_all = router.process.pid, True, held(router)
    await ask_at(router.admin_port, questions(hosts), 500.0, 2.0)
    before = cpu_seconds(pid)
    await asyncio.sleep(seconds)
    idle, before = cpu_seconds(pid) - before, cpu_seconds(pid)
    alone = await ask_at(router.admin_port, questions(hosts), 1000.0, seconds)
    cost = (cpu_seconds(pid) - before - idle) / len(alone.seconds)
    print(f"alone: {alone}")
    print(f"  {cost * 1e6:.0f} µs of CPU each, less the {idle / seconds * 1e3:.1f} ms a second of a node that rests")
    stop, boxes = asyncio.Event(), [host for host in hosts if host.startswith("box")]
    visits = asyncio.get_running_loop().create_task(visit_at(router.proxy_port, boxes * 2, 1000.0, stop))
    beside = await ask_at(router.admin_port, questions(hosts), 1000.0, seconds)
    stop.set()
    print(f"beside {await visits / seconds:.0f} requests a second to the proxy: {beside}")
    print(f"  {dict(beside.answers)}")
    print(f"memory: {before_all:.0f} MiB before, {held(router):.0f} after", flush=True)
    for name, tally in (("alone", alone), ("beside", beside)):
        if tally.wrong or tally.p99 > GOAL:
            good = False
            print(f"  MISSED {name}: p99 {tally.p99 * 1e3:.2f} ms, wrong {tally.wrong[:5]}")
    if cost > CPU_GOAL:
        good = False
        print(f"  MISSED: {cost * 1e6:.0f} µs of CPU, wanted {CPU_GOAL * 1e6:.0f}")
    return await scan(router, names) and good


async def run(*, seconds: float, names: int, workers: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        async with Backend(hello) as backend:
            database = f"sqlite:///{folder}/router.db"
            hosts = await prepare(database, backend.port)
            router = Router(
                Path(folder),
                access_log="",
                database_url=database,
                gate__budgets=True,
                gate__starts=100,
                gate__in_flight=100,
                **({"workers": workers} if workers > 1 else {}),
            )
            await asyncio.to_thread(router.__enter__)
            try:
                return await measure(router, hosts, seconds=seconds, names=names)
            finally:
                await asyncio.to_thread(router.__exit__, None, None, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="serve with N: then ask has a process of its own"
    )
    given = parser.parse_args()
    seconds, names = (3.0, 10_000) if given.quick else (30.0, 100_000)
    done = asyncio.run(run(seconds=seconds, names=names, workers=given.workers))
    raise SystemExit(0 if done else 1)


if __name__ == "__main__":
    main()
