"""What is measured. Each scenario is a function that fills one table; `SCENARIOS` is the order in which they run.

Rounds are interleaved: each round goes through all contestants, so that a slow minute of the machine is everybody's.
The first round only warms up.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.backend import start as start_backend
from bench.load import LOAD_CORE, Load, Sockets, h2load, wrk
from bench.measure import family, family_memory, memory, pin, quota
from bench.peers import LIVE, STATIC, caddy, nginx
from bench.results import Results, Table
from bench.stage import HOSTS, OURS, PROXY_CORE, Contestant, Stage, most_connections
from tests.support.ports import answers, free_port
from tests.support.processes import Process
from tests.support.router import PLATFORM_DOMAIN

_TUNNELS = 10_000
_STREAMS = 1000
_ECHOES = 32
WARM = 4  # seconds in which every host is asked for once
_QUOTA = 0.45  # of a core, for each of two workers, so that load and backend have the rest


@dataclass
class Bench:
    """One run: the stage, how often, and what has been found."""

    stage: Stage
    results: Results
    rounds: int
    seconds: int = 1
    names: tuple[str, ...] = ()  # of contestants; empty for all
    minutes: float = 0.0  # of the steady rate; 0 for a few seconds in each round

    def contestants(self, *names: str) -> list[Contestant]:
        found = self.stage.find(*names)
        return [one for one in found if one.name in self.names] if self.names else found

    def interleave(
        self, table: Table, contestants: Sequence[Contestant], work: Callable[[Contestant], Load], *, per: float = 1
    ) -> None:
        """Rounds of `work`, of which each has `per` units, and the CPU time that each contestant took for one."""
        for number in range(self.rounds + 1):
            for one in contestants:
                before = one.cpu()
                load = work(one)
                if number == 0:
                    continue
                table.fail(one.name, load.failed)
                if load.done == 0:
                    continue
                table.add(one.name, "rate", load.per_second * per)
                if before is not None:
                    table.add(one.name, "cpu", ((one.cpu() or 0) - before) / (load.done * per) * 1e6)


Scenario = Callable[[Bench], None]


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests by wrk."""

    name: str
    title: str
    connections: int = 32
    host: str = STATIC
    path: str = "/"
    unit: str = "request"
    per: float = 1  # units that a request has
    headers: tuple[str, ...] = ()
    script: str | None = None
    words: tuple[str, ...] = ()
    longer: int = 1  # times as long as other rounds
    note: str = ""

    def __call__(self, bench: Bench) -> None:
        table = bench.results.table(self.name, self.title, self.unit)
        if self.note:
            table.notes.append(self.note)

        def work(one: Contestant) -> Load:
            return wrk(
                f"http://127.0.0.1:{one.port_for(self.host)}{self.path}",
                self.host,
                connections=self.connections,
                seconds=bench.seconds * self.longer,
                headers=self.headers,
                script=self.script,
                words=self.words,
            )

        bench.interleave(table, bench.contestants(), work, per=self.per)


@dataclass(frozen=True, slots=True)
class Bulk:
    """A fixed number of 100 MiB bodies, one after the other."""

    name: str
    title: str
    way: str
    times: int = 8

    def __call__(self, bench: Bench) -> None:
        table = bench.results.table(self.name, self.title, "MiB")

        def work(one: Contestant) -> Load:
            # What is sent up goes to the backend that reads all of a body before it answers; nginx would answer at once.
            host = STATIC if self.way == "down" else LIVE
            command = [
                "taskset",
                "-c",
                str(LOAD_CORE),
                sys.executable,
                "-m",
                "bench.bulk",
                str(one.port_for(host)),
                host,
            ]
            done = subprocess.run(
                [*command, self.way, str(self.times)], capture_output=True, text=True, timeout=120, check=False
            )
            if done.returncode != 0:
                return Load(0, 0, 1)
            return Load(100 * self.times, 100 * self.times / float(done.stdout), 0)

        bench.interleave(table, bench.contestants(), work)


def contest(name: str, port: int, process: Process) -> Contestant:
    """One more of them, on the core of the proxies."""
    pin(process.pid, PROXY_CORE)
    return Contestant(name, port, process, port)


def cold(bench: Bench) -> None:
    """Hosts that nobody remembers: each request is a look-up. Ours keep one route, nginx's Lua keeps none."""
    stage = bench.stage
    with ExitStack() as stack:
        found: dict[str, list[Contestant]] = {"redis": [], "sql": [], "unknown": []}
        few = {"cache__hosts": 1, "cache__unknown_hosts": 1}
        through = stack.enter_context(stage.our_router("cold-redis", redis_url=stage.redis.url, **few))
        found["redis"].append(contest(OURS, through.proxy_port, through.process))
        alone = stack.enter_context(stage.our_router("cold-sql", **few))
        found["sql"].append(contest(OURS, alone.proxy_port, alone.process))
        found["unknown"].append(found["redis"][0])
        if "nginx+lua" in stage.versions:
            peer = stage.start("nginx+lua cold", lambda ground: nginx.start_lua(ground, lifetime=0))
            asker = contest("nginx+lua", stage.ports["nginx+lua cold"], peer.process)
            found["redis"].append(asker)
            found["unknown"].append(asker)
        titles = {
            "redis": "cold hosts, known to Redis",
            "sql": "cold hosts, known to SQLite",
            "unknown": "hosts that do not exist (404)",
        }
        for source, contestants in found.items():
            table = bench.results.table(f"cold-{source}", titles[source], "request")
            prefix = "none" if source == "unknown" else "box"
            at = 0

            def work(one: Contestant, prefix: str = prefix, source: str = source) -> Load:
                nonlocal at
                at = (at + HOSTS // 3) % HOSTS
                words = ("each", prefix, f".{PLATFORM_DOMAIN}", str(HOSTS), "/", str(at))
                load = wrk(
                    f"http://127.0.0.1:{one.port}/",
                    STATIC,
                    connections=32,
                    seconds=max(2, bench.seconds) if source == "sql" else bench.seconds,
                    script="hosts.lua",
                    words=words,
                )
                # A 404 is what an unknown host is to get.
                return Load(load.done, load.per_second, 0) if source == "unknown" else load

            bench.interleave(table, contestants, work)


def events(bench: Bench) -> None:
    """A thousand event streams through each proxy, ten events a second on each."""
    table = bench.results.table("events", f"event streams: {_STREAMS} of them, 10 events a second each", "event")
    table.notes.append(
        "The rate is given by the backend. One resource has all of the streams, so ours may have as many."
    )
    hosts = [LIVE]
    contestants = [one for one in bench.contestants() if one.process is not None]
    with ExitStack() as stack:
        router = stack.enter_context(bench.stage.our_router("events"))
        ours = contest(OURS, router.proxy_port, router.process)
        for one in [ours if one.name == OURS else one for one in contestants]:
            with Sockets("events", one.live_port, hosts, _STREAMS) as opened:
                one_only = [one]
                bench.interleave(table, one_only, lambda _one, opened=opened: opened.run(bench.seconds))


def echo(bench: Bench) -> None:
    """WebSockets that send 64 bytes, wait for them, and send again."""
    table = bench.results.table("echo", f"WebSocket echo, 64 bytes, {_ECHOES} connections", "message")
    table.notes.append("A message is one there and back: two to carry.")
    contestants = bench.contestants()

    def work(one: Contestant) -> Load:
        with Sockets("echo", one.live_port, [LIVE], _ECHOES) as opened:
            time.sleep(0.1)
            before = one.cpu()
            load = opened.run(bench.seconds)
            if before is not None:
                costs[one.name] = ((one.cpu() or 0) - before) / max(1, load.done) * 1e6
        return load

    costs: dict[str, float] = {}
    for number in range(bench.rounds + 1):
        for one in contestants:
            load = work(one)
            if number and load.done:
                table.fail(one.name, load.failed)
                table.add(one.name, "rate", load.per_second)
                if one.name in costs:
                    table.add(one.name, "cpu", costs[one.name])


def tunnels(bench: Bench) -> None:
    """Idle WebSockets, and what each adds to the proxy's memory."""
    most = min(_TUNNELS, most_connections())
    table = bench.results.table("tunnels", f"idle tunnels: {most:,} WebSockets, memory of the proxy for each", "tunnel")
    if most < _TUNNELS:
        table.notes.append(f"A process may open no more files here; {_TUNNELS:,} were meant.")
    with ExitStack() as stack:
        router = stack.enter_context(bench.stage.our_router("tunnels"))
        ours = contest(OURS, router.proxy_port, router.process)
        for one in bench.contestants():
            this = ours if one.name == OURS else one
            if this.process is None or this.name == "aiohttp":
                continue
            members = family(this.process.pid)
            with Sockets("tunnels", this.live_port, [LIVE], 8):  # what the first few allocate is not theirs
                before = sum(memory(member) for member in members)
            with Sockets("tunnels", this.live_port, [LIVE], most) as opened:
                time.sleep(1)
                held = sum(memory(member) for member in members) - before
                table.fail(this.name, opened.ready["failed"])
                table.add(this.name, "memory", held / most / 1024)
            time.sleep(0.5)
    if "aiohttp" in bench.stage.versions:
        table.notes.append(
            "The aiohttp proxy is not asked: its loop of two tasks per tunnel says nothing about others."
        )


def ask(bench: Bench) -> None:
    """Caddy's question, for names that are known."""
    table = bench.results.table(
        "ask", "ask: may this name have a certificate? 10,000 names in turn, 32 connections", "answer"
    )
    table.notes.append("Only ours has this; the goal is in µs of this machine.")
    router = bench.stage.router
    one = Contestant(OURS, router.admin_port, router.process, router.admin_port)
    words = ("each", "www.site", ".com", str(HOSTS), "/ask?domain=HOST")

    def work(one: Contestant, seconds: int = bench.seconds) -> Load:
        url = f"http://127.0.0.1:{one.port}/ask"
        return wrk(url, STATIC, connections=32, seconds=seconds, script="hosts.lua", words=words)

    work(one, 2 * WARM)  # until all of them are known
    bench.interleave(table, [one], work)


def fronts(bench: Bench, table: Table, work: Callable[[Contestant], Load]) -> None:
    """Rounds of `work` on Caddies that end TLS: one that answers itself from the backend, and one before each proxy."""
    for number in range(bench.rounds + 1):
        for front, one in _caddies(bench.stage):
            first, second = front.cpu() or 0, 0.0 if one is None else one.cpu() or 0
            load = work(front)
            if number == 0 or not load.done:
                continue
            its = 0.0 if one is None else (one.cpu() or 0) - second
            table.fail(front.name, load.failed)
            table.add(front.name, "cpu", ((front.cpu() or 0) - first + its) / load.done * 1e6)
            table.add(front.name, "rate", load.per_second)
            if one is not None:
                table.add(front.name, "behind", its / load.done * 1e6)


def _caddies(stage: Stage) -> list[tuple[Contestant, Contestant | None]]:
    """Each with the proxy behind it. They start when they are first needed, and end with the stage."""
    if not stage.fronts:
        for one in (None, *stage.find(OURS, "nginx+lua", "nginx", "haproxy")):
            name = "caddy alone" if one is None else f"caddy → {one.name}"
            try:
                peer = stage.start(name, caddy.start_tls, static=stage.static if one is None else one.port)
            except (OSError, AssertionError) as error:
                stage.missing[name] = str(error).partition("\n")[0]
                continue
            stage.fronts.append((contest(name, stage.ports[name], peer.process), one))
    return stage.fronts


def behind_caddy(bench: Bench) -> None:
    """Through Caddy, which ends TLS: HTTP/1.1 and HTTP/2 from the client."""
    for http1 in (True, False):
        form = "HTTP/1.1" if http1 else "HTTP/2"
        key = "tls-http1" if http1 else "tls-http2"
        table = bench.results.table(key, f"behind Caddy with TLS, {form}, 32 connections", "request")

        def work(front: Contestant, http1: bool = http1) -> Load:
            return h2load(STATIC, front.port, connections=32 if http1 else 8, seconds=bench.seconds, http1=http1)

        fronts(bench, table, work)


def two_workers(bench: Bench) -> None:
    """Throughput of two workers over that of one, when each has the same share of a core and the load has the rest."""
    table = bench.results.table("two-workers", "two workers over one, small GET, 64 connections", "request")
    table.notes.append(
        f"On two cores two workers and their load would fight for them, so each worker may use {_QUOTA:.0%} of a core"
        " (a CPU quota) and the load what is left of both."
    )
    stage = bench.stage
    try:
        with ExitStack() as stack:
            port = free_port()
            folder = stage.folder / "two"
            folder.mkdir()
            backend = stack.enter_context(start_backend(folder, port, workers=2))
            backend.until(lambda: answers(port))
            routers = {}
            for count in (1, 2):
                router = stack.enter_context(stage.our_router(f"workers-{count}", workers=count))
                router.register(router.tenant("Two"), "two", port, public_port=3000)
                routers[count] = router
                workers = worker_pids(router.process.pid) if count == 2 else [router.process.pid]
                for core, pid in enumerate(workers):
                    pin(pid, PROXY_CORE if count == 1 else core)
                    stack.enter_context(quota(pid, _QUOTA))
            for number in range(bench.rounds + 1):
                rates = {}
                for count, router in routers.items():
                    load = wrk(
                        f"http://127.0.0.1:{router.proxy_port}/",
                        f"two.{PLATFORM_DOMAIN}",
                        connections=64,
                        seconds=2 * bench.seconds,
                        cores="0,1",
                    )
                    rates[count] = load.per_second
                    if number:
                        table.fail(OURS, load.failed)
                        table.add("one worker" if count == 1 else "two workers", "rate", load.per_second)
                if number:
                    table.add(OURS, "ratio", rates[2] / rates[1])
    except OSError as error:
        table.notes.append(f"Not measured: a CPU quota needs root and cgroups ({error}).")


def worker_pids(supervisor: int) -> list[int]:
    """The workers of a supervisor: of its children all but the control process, which is the one that was first."""
    return sorted(pid for pid in family(supervisor) if pid != supervisor)[1:]


def idle(bench: Bench) -> None:
    """Memory of processes that have just started, without a host in their cache."""
    table = bench.results.table("idle", "memory of an idle node", "process")
    for count in (1, 2):
        with bench.stage.our_router(f"idle-{count}", workers=count) as router:
            time.sleep(1)
            pid = router.process.pid
            if count == 1:
                table.add("one process with everything", "rss", memory(pid) / 2**20)
            else:
                for worker in worker_pids(pid):
                    table.add("worker of two", "rss", memory(worker) / 2**20)
                table.add(
                    "supervisor, control process and two workers together (Pss)", "rss", family_memory(pid) / 2**20
                )


_REQUESTS = (
    Requests("get-32", "small GET with equal heads, the best case: 32 connections kept alive", longer=2),
    Requests("get-1", "small GET, 1 connection", connections=1),
    Requests("get-512", "small GET, 512 connections", connections=512),
    Requests(
        "get-differing",
        "small GET, 32 connections, no two heads alike",
        script="differing.lua",
        note="Path, query, cookie and the answer's ETag differ each time: what a proxy remembers of heads does not help it.",
    ),
    Requests("new-connection", "a new connection for each request", headers=("Connection: close",)),
    Requests("1m-down", "1 MiB down, 8 connections", connections=8, path="/1m", unit="MiB"),
    Requests(
        "1m-up",
        "1 MiB up, 8 connections",
        connections=8,
        host=LIVE,
        path="/upload",
        unit="MiB",
        script="upload.lua",
        words=(str(1 << 20),),
    ),
    Requests("chunked", "chunked answer of 16 chunks of 1 KiB", host=LIVE, path="/chunked"),
)

SCENARIOS: dict[str, Scenario] = {
    **{row.name: row for row in _REQUESTS},
    "100m-down": Bulk("100m-down", "100 MiB down, 1 connection", "down"),
    "100m-up": Bulk("100m-up", "100 MiB up, 1 connection", "up"),
    "echo": echo,
    "events": events,
    "tunnels": tunnels,
    "cold": cold,
    "ask": ask,
    "tls": behind_caddy,
    "two-workers": two_workers,
    "idle": idle,
}
