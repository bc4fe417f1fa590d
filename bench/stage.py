"""Who takes part: the backends, ours and the others, on two cores: proxies on one, load and backends on the other."""

import asyncio
import dataclasses
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from bench import backend
from bench.load import LOAD_CORE
from bench.measure import cpu_seconds, pin
from bench.peers import LIVE, STATIC, Ground, Peer, aiohttp, caddy, haproxy, nginx
from tests.support.crowd import Crowd
from tests.support.ports import answers, free_port
from tests.support.processes import Process
from tests.support.redis import Server
from tests.support.router import PLATFORM_DOMAIN, Router

PROXY_CORE = 1
HOSTS = 10_000
OURS = "miosa-router"
_OTHER_FILES = 600  # that a proxy has open besides its connections


@dataclass(frozen=True)
class Contestant:
    """One of those compared. Without a process (the direct connection) there is no CPU time to read."""

    name: str
    port: int
    process: Process | None
    live_port: int

    def cpu(self) -> float | None:
        return None if self.process is None else cpu_seconds(self.process.pid)

    def port_for(self, host: str) -> int:
        return self.live_port if host == LIVE else self.port


def host_of(number: int) -> str:
    """One of the many hosts."""
    return f"box{number}.{PLATFORM_DOMAIN}"


def most_connections() -> int:
    """How many clients a proxy can have here, each with a connection to a backend."""
    return min(20_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES) // 2)


class Stage:
    """Everything that runs for the whole bench. `missing` says of those that could not start why."""

    def __init__(self, folder: Path, only: frozenset[str] | None = None) -> None:
        self.folder = folder
        self.contestants: list[Contestant] = []
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.static = free_port()
        self.live = free_port()
        self.ports: dict[str, int] = {}  # of the others
        self.fronts: list[
            tuple[Contestant, Contestant | None]
        ] = []  # Caddies that end TLS, and what each has behind it
        self.router: Router
        self.redis: Server
        self._only = only
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stack = stack
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def find(self, *names: str) -> list[Contestant]:
        """Those of these names that run, in this order; all without a name."""
        if not names:
            return self.contestants
        return [one for name in names for one in self.contestants if one.name == name]

    def _start(self) -> None:
        self._backend(backend.start(self.folder, self.static), self.static)
        self._backend(backend.start_live(self.folder, self.live), self.live)
        self.redis = self._stack.enter_context(Server(self.folder))
        pin(self.redis._process.pid, LOAD_CORE)  # type: ignore[union-attr] # noqa: SLF001 - a bench may look inside
        with redis.Redis(port=self.redis.port) as client:
            names = [STATIC, *map(host_of, range(HOSTS))]
            client.mset({f"bench:{name}": self.static for name in names} | {f"bench:{LIVE}": self.live})
        self.router = self._stack.enter_context(self.our_router("main", redis_url=self.redis.url))
        self._join(OURS, self.router.proxy_port, self.router.process)
        self.versions[OURS] = f"uvloop on Python {sys.version.split()[0]}"
        for name, start in OTHERS.items():
            if self._only is None or name in self._only:
                self._invite(name, start)
        self.contestants.append(Contestant("direct", self.static, None, self.live))

    def another_backend(self, name: str) -> int:
        """The port of one more cheap backend, which ends with the stage."""
        folder, port = self.folder / name, free_port()
        folder.mkdir()
        self._backend(backend.start(folder, port), port)
        return port

    def _backend(self, process: Process, port: int) -> None:
        self._stack.enter_context(process)
        process.until(lambda: answers(port))
        pin(process.pid, LOAD_CORE)

    def _join(self, name: str, port: int, process: Process) -> None:
        pin(process.pid, PROXY_CORE)
        self.contestants.append(Contestant(name, port, process, port))

    def _invite(self, name: str, start: Callable[[Ground], Peer]) -> None:
        """Start one of the others, or note why it is missing: the rest goes on without it."""
        try:
            peer = self.start(name, start)
        except (OSError, AssertionError, LookupError) as error:
            self.missing[name] = str(error).partition("\n")[0]
            print(f"{name} is left out: {self.missing[name]}", file=sys.stderr)
            return
        self.versions[name] = peer.version
        self._join(name, self.ports[name], peer.process)

    def start(self, name: str, start: Callable[[Ground], Peer], **changes: Any) -> Peer:
        """Start a proxy; it ends with the stage. Raises OSError where it is not installed, AssertionError where it ends."""
        folder = self.folder / name.replace(" ", "-")
        folder.mkdir()
        ground = dataclasses.replace(self._ground(folder), **changes)
        peer = start(ground)
        self._stack.enter_context(peer.process)
        peer.process.until(lambda: answers(ground.port))
        self.ports[name] = ground.port
        return peer

    def _ground(self, folder: Path) -> Ground:
        hosts = tuple(map(host_of, range(HOSTS)))
        return Ground(folder, free_port(), self.static, self.live, hosts, self.redis.port)

    @contextmanager
    def our_router(self, name: str, **settings: object) -> Iterator[Router]:
        """One of ours with all hosts in its database, as `serve` runs it: everything on, the access log in a file, but no request
        records, since the others have no store of requests (`bench.request_records` measures those)."""
        folder = self.folder / name
        folder.mkdir()
        # All load is one visitor's, and much of it one resource's, which have limits that the others don't.
        bounds = ("exchanges_per_resource", "exchanges_per_tenant", "exchanges_per_address", "tunnels_per_resource")
        told: dict[str, object] = {
            "records__enabled": False,
            **{f"limits__{name}": 20_000 for name in bounds},
            # Where it has not two open files for each of them, it has fewer, and gives no tenant more than half.
            "limits__connections": most_connections(),
            "limits__drain_requests": 0,
            "limits__drain_tunnels": 0,
        }
        router = Router(folder, access_log=folder / "access.log", **(told | settings))
        router.command("db", "upgrade")
        crowd = Crowd(20, HOSTS, HOSTS, listens=lambda host: (backend.address_of(host), {"3000": self.static}))
        asyncio.run(crowd.fill(f"sqlite:///{folder / 'router.db'}"))
        router.start()
        try:
            tenant = router.tenant("Bench")
            router.register(tenant, "bench", self.static)
            router.register(tenant, "live", self.live)
            yield router
        finally:
            router.process.stop()


OTHERS: dict[str, Callable[[Ground], Peer]] = {
    "nginx": nginx.start_static,
    "nginx+lua": nginx.start_lua,
    "haproxy": haproxy.start,
    "caddy": caddy.start,
    "aiohttp": aiohttp.start,
}
