"""What a node takes while nothing is asked of it, or when it is over: processor time at rest, memory of idle clients, how soon
it is ready, and memory after many slow readers."""

import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from bench.load import LOAD_CORE, Sockets, wrk
from bench.measure import family, memory, pin, precise_cpu_seconds
from bench.peers import STATIC, nginx
from bench.scenarios import Bench, Scenario, contest
from bench.stage import OTHERS, OURS, PROXY_CORE, Contestant, Stage, most_connections
from tests.support.ports import answers, free_port
from tests.support.processes import Process
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router

_SETTLED = 15.0  # seconds until what a start leaves to do is done
_REST = 30.0
_CLIENTS = 5000
_READERS = 2000
_READING = 15.0  # seconds
_AFTER = 60.0
_START_PATIENCE = 60.0
_PROCESSES = {"one process": 1, "two workers": 2}


def rest(bench: Bench) -> None:
    """Processor time of nodes that nobody asks anything."""
    table = bench.results.table("rest", f"at rest: processor time over {_REST:g} s without a request", "second")
    table.notes.append(
        "All processes of a node together; 10,000 resources in the database, Redis, nothing in the cache."
    )
    with ExitStack() as stack:
        found: dict[str, int] = {}
        for name, workers in _PROCESSES.items():
            settings = {"workers": workers} if workers > 1 else {}
            router = stack.enter_context(
                bench.stage.our_router(f"rest-{workers}", redis_url=bench.stage.redis.url, **settings)
            )
            found[f"{OURS}, {name}"] = router.process.pid
        found |= {
            one.name: one.process.pid for one in bench.contestants() if one.process is not None and one.name != OURS
        }
        time.sleep(_SETTLED)
        before = {name: precise_cpu_seconds(pid) for name, pid in found.items()}
        began = time.monotonic()
        time.sleep(_REST)
        for name, pid in found.items():
            table.add(name, "share", (precise_cpu_seconds(pid) - before[name]) / (time.monotonic() - began) * 100)


def _held(one: Contestant) -> int:
    assert one.process is not None
    return sum(memory(member) for member in family(one.process.pid))


def idle_clients(bench: Bench) -> None:
    """Clients that have asked once and keep their connection, and what each adds to the proxy's memory."""
    count = min(_CLIENTS, most_connections())
    table = bench.results.table("clients", f"{count:,} idle clients, memory of the proxy for each", "client")
    table.notes.append(
        "Each has had one response and may send its next request at any time. All have just been started: what others have"
        " left behind is not used again. nginx has room for its connections from its start, so a place of that is part of"
        " what a client takes."
    )
    stage = bench.stage
    with ExitStack() as stack:
        router = stack.enter_context(stage.our_router("clients"))
        fresh = [contest(OURS, router.proxy_port, router.process)]
        for name in ("nginx", "haproxy", "caddy"):
            if name in stage.versions:
                peer = stage.start(f"{name} clients", OTHERS[name])
                fresh.append(contest(name, stage.ports[f"{name} clients"], peer.process))
        places = {"nginx": _place_in_nginx(stage)} if "nginx" in stage.versions else {}
        for one in fresh:
            wrk(
                f"http://127.0.0.1:{one.port}/", STATIC, connections=64, seconds=1
            )  # what traffic allocates is not theirs
            with Sockets("clients", one.port, [STATIC], 8):
                before = _held(one)
            with Sockets("clients", one.port, [STATIC], count) as opened:
                time.sleep(2)
                table.fail(one.name, opened.ready["failed"])
                table.add(one.name, "memory", ((_held(one) - before) / count + places.get(one.name, 0.0)) / 1024)


def _place_in_nginx(stage: Stage) -> float:
    """Bytes that nginx takes at its start for each connection that it may have."""
    few, many = 1000, nginx.CONNECTIONS
    held = []
    for connections in (few, many):
        name = f"nginx {connections} places"
        peer = stage.start(name, partial(nginx.start_static, connections=connections))
        held.append(_held(Contestant(name, stage.ports[name], peer.process, 0)))
        peer.process.stop()
    return (held[1] - held[0]) / (many - few)


def ready(bench: Bench) -> None:
    """From the start of the program to its first response."""
    table = bench.results.table("ready", "from the start of the program to its first response", "start")
    table.notes.append(
        "`serve` with a database that is up to date, until the proxy answers a request and /readyz says yes."
    )
    for name, workers in _PROCESSES.items():
        settings = {"workers": workers} if workers > 1 else {}
        with bench.stage.our_router(f"ready-{workers}", **settings) as router:
            router.process.stop()
            for number in range(bench.rounds + 1):
                took = _start(router)
                if number:
                    table.add(f"{OURS}, {name}", "ready", took)


def _start(router: Router) -> float:
    """Start a node that has been stopped, and stop it again; the seconds until it is ready."""
    began = time.monotonic()
    with Process([MIOSA_ROUTER, "serve"], router.folder / "start.log", router.environment, router.folder) as process:
        pin(process.pid, PROXY_CORE)
        for port, path, host in ((router.admin_port, "/readyz", router.admin), (router.proxy_port, "/", STATIC)):
            while _status(port, path, host) != 200:
                if process.status is not None or time.monotonic() - began > _START_PATIENCE:
                    raise AssertionError(f"the router has not started: {process.output[-500:]}")
                time.sleep(0.002)
        return time.monotonic() - began


def _status(port: int, path: str, host: str) -> int:
    """Of a GET; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def slow_readers(bench: Bench) -> None:
    """Clients that read a long response slowly, all at once: what is left of their memory a minute after they have gone."""
    table = bench.results.table(
        "slow-readers", f"{_READERS:,} slow readers of 10 MB: memory before, at most, and later", "node"
    )
    table.notes.append(
        f"They read for {_READING:g} s and go. What is compared with the memory before, with a moment of traffic behind it, is"
        f" the memory {_AFTER:g} s later."
    )
    with ExitStack() as stack:
        port = free_port()
        backend = stack.enter_context(
            Process([sys.executable, "-m", "bench.attack", "serve", str(port)], bench.stage.folder / "slow.log")
        )
        backend.until(lambda: answers(port))
        pin(backend.pid, LOAD_CORE)
        router = stack.enter_context(bench.stage.our_router("slow-readers"))
        router.register(router.tenant("Slow"), "slow", port)
        one = contest(OURS, router.proxy_port, router.process)
        wrk(f"http://127.0.0.1:{one.port}/", STATIC, connections=64, seconds=2)
        before = _held(one)
        most = readers = 0
        with _slow(one.port, f"slow.{PLATFORM_DOMAIN}") as reads:
            while reads():
                most = max(most, _held(one))
                readers = max(readers, _in_flight(router))
                time.sleep(0.5)
        table.notes.append(f"At most {readers:,} of them read at once.")
        time.sleep(_AFTER)
        after = _held(one)
        for name, held in (("before", before), ("at most", most), ("a minute later", after)):
            table.add(f"{OURS}, {name}", "rss", held / 2**20)
        table.add(OURS, "later", after / before)


def _in_flight(router: Router) -> int:
    """Exchanges, by the router's own metrics."""
    text = router.get_admin("/metrics")[2].decode()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith("miosa_router_exchanges_in_flight")
    )


@contextmanager
def _slow(port: int, host: str) -> Iterator[Callable[[], bool]]:
    """The readers; whether they still read."""
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.attack", "run"]
    with subprocess.Popen([*command, f"slow-{_READERS}", str(port), host, str(_READING)]) as process:
        try:
            yield lambda: process.poll() is None
        finally:
            with suppress(ProcessLookupError):
                process.kill()


SCENARIOS: dict[str, Scenario] = {
    "rest": rest,
    "clients": idle_clients,
    "ready": ready,
    "slow-readers": slow_readers,
}
