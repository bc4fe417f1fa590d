"""Two nodes of two workers each on PostgreSQL and Redis, the sites that they serve, and visitors who notice everything.

Each site is one resource with two programs to move between. A program says which site it belongs to and which of the two
places it is, so an answer out of the wrong resource can't be mistaken for a right one.
"""

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from router.base.ids import new_id
from tests.support.backends import Backend, Visit
from tests.support.postgres import Postgres
from tests.support.processes import alive, children
from tests.support.redis import Sentinels
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually, until
from tests.support.workers import Connection, control, owner, workers

PATIENCE = 10.0  # seconds that a visitor waits for an answer
_LAST = 200  # requests on one connection; then a visitor dials anew


@dataclass
class Site:
    """A resource and its two places. `asked` is where it was sent last; `place`, where the API has said it is."""

    slug: str
    resource: str
    ports: tuple[int, int]
    place: int = 0
    asked: int = 0
    generation: int = 1

    @property
    def host(self) -> str:
        return f"{self.slug}.{PLATFORM_DOMAIN}"

    def says(self, place: int) -> bytes:
        return f"{self.slug}@{place}".encode()


class Fleet:
    """The stores and the nodes, as a context."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._folder = folder
        self._settings = settings
        self._stack = ExitStack()
        self.nodes: tuple[Router, Router]

    def __enter__(self) -> "Fleet":
        with ExitStack() as stack:
            self.postgres = stack.enter_context(Postgres())
            self.redis = stack.enter_context(Sentinels(self._folder))
            common: dict[str, object] = {
                "database_url": asyncio.run(self.postgres.create()),
                "redis_url": self.redis.url,
                "workers": 2,
                "access_log": "",
                "limits__drain_requests": 1,
                "limits__drain_tunnels": 1,
                **self._settings,
            }
            folders = [self._folder / name for name in ("first", "second")]
            for folder in folders:
                folder.mkdir()
            first = Router(folders[0], **common)
            second = Router(folders[1], **common, internal_token=first.token)
            second.token = first.token
            self.nodes = (stack.enter_context(first), stack.enter_context(second))
            for node in self.nodes:
                until(lambda node=node: serving(node) == 2, "two workers serve", 40)
            self.tenant = first.tenant("Acme")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    @asynccontextmanager
    async def sites(self, count: int) -> AsyncIterator[list[Site]]:
        """So many sites, registered, with their programs."""
        backends: list[Backend] = []

        def saying(words: bytes) -> Backend:
            async def answer(visit: Visit) -> None:
                await visit.answer(words)

            backends.append(Backend(answer))
            return backends[-1]

        made = []
        for number in range(count):
            slug = f"site{number}"
            ports = [(await saying(f"{slug}@{place}".encode()).__aenter__()).port for place in (0, 1)]
            site = Site(slug, new_id(), (ports[0], ports[1]))
            await asyncio.to_thread(self._register, site)
            made.append(site)
        try:
            yield made
        finally:
            for backend in backends:
                await backend.__aexit__(None, None, None)
            await eventually(lambda: not any(backend.open for backend in backends), "their connections are closed")

    def resource(self, slug: str) -> str:
        """A resource that listens nowhere; its id."""
        resource = new_id()
        body = {"kind": "sandbox", "slug": slug, "tenant_id": self.tenant, "default_port": 3000}
        self.nodes[0].internal("PUT", f"/resources/{resource}", body)
        return resource

    def _register(self, site: Site) -> None:
        site.resource = self.resource(site.slug)
        endpoint = {"address": "127.0.0.1", "generation": "1", "state": "running", "ports": {"3000": site.ports[0]}}
        self.nodes[0].internal("PUT", f"/endpoints/{site.resource}", endpoint)


def serving(node: Router) -> int:
    """How many workers of a node take connections."""
    try:
        lines = node.get_admin("/metrics")[2].decode().splitlines()
    except OSError:
        return 0
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("miosa_router_workers_serving"))


def figures(node: Router, name: str) -> dict[str, float]:
    """A metric's series over all processes of a node, by their labels but for the worker."""
    found: Counter[str] = Counter()
    for line in node.get_admin("/metrics")[2].decode().splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == f"miosa_router_{name}":
            labels = [one for one in series.partition("{")[2].rstrip("}").split(",") if not one.startswith("worker=")]
            found[",".join(labels)] += float(value)
    return dict(found)


class Moves:
    """Moves sites between their places, through either node's API, and remembers what it was told."""

    def __init__(self, fleet: Fleet, sites: Sequence[Site], session: aiohttp.ClientSession) -> None:
        self._fleet = fleet
        self._sites = sites
        self._session = session
        self._next = 0
        self.made = 0
        self.refused = 0

    async def another(self) -> bool:
        """Move the next site; whether an API has said yes."""
        self._next += 1
        return await self.move(self._sites[self._next % len(self._sites)])

    async def move(self, site: Site) -> bool:
        """Move one site, or try again where it was left between two places."""
        if site.asked == site.place:
            site.asked = 1 - site.place
            site.generation += 1
        nodes = self._fleet.nodes if self._next % 2 else self._fleet.nodes[::-1]
        for node in nodes:
            if await self._put(node, site):
                site.place = site.asked
                self.made += 1
                return True
        self.refused += 1
        return False

    async def finish(self) -> None:
        """Try again with every site that was left between two places, as a platform does."""
        for site in self._sites:
            while site.asked != site.place and not await self.move(site):
                await asyncio.sleep(0.05)

    async def _put(self, node: Router, site: Site) -> bool:
        endpoint = {
            "address": "127.0.0.1",
            "generation": str(site.generation),
            "state": "running",
            "ports": {"3000": site.ports[site.asked]},
        }
        url = f"http://127.0.0.1:{node.api_port}/internal/v1/endpoints/{site.resource}"
        try:
            async with self._session.put(
                url, json=endpoint, headers={"Authorization": f"Bearer {node.token}"}
            ) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@dataclass
class Seen:
    """What visitors have met since the last look."""

    requests: int = 0
    redialled: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)
    """(the connection's port, what happened)"""
    wrong: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    strangers: Counter[str] = field(default_factory=Counter)
    cold: Counter[str] = field(default_factory=Counter)


class Visitors:
    """Ask both nodes for known sites all the time, `each` visitors at either, and seldom for hosts that nobody has asked
    for: some that do not exist, and `cold`, which do.

    They do what Caddy does: a node that takes no connection is left for the other one, and that counts as redialled.
    """

    def __init__(
        self, fleet: Fleet, sites: Sequence[Site], *, each: int, pause: float, cold: Iterable[str] = ()
    ) -> None:
        self._fleet = fleet
        self._sites = sites
        self._each = each
        self._pause = pause
        self._cold = iter(cold)
        self._stranger = 0
        self.open: dict[Connection, Router] = {}
        self.seen = Seen()
        self._ending = False

    async def __aenter__(self) -> "Visitors":
        visits = [self._visit(node, number) for node in (0, 1) for number in range(self._each)]
        self._tasks = [asyncio.create_task(one) for one in (*visits, self._ask_for_strangers())]
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)

    def owned_by(self, pids: Sequence[int]) -> set[int]:
        """The ports of those connections that one of these processes has."""
        found = set()
        for connection, node in self.open.items():
            if owner(node.proxy_port, connection.port, list(pids)) is not None:
                found.add(connection.port)
        return found

    def ports(self, node: Router) -> set[int]:
        """Those of all connections to a node."""
        return {connection.port for connection, its in self.open.items() if its is node}

    async def _dial(self, home: int) -> tuple[Connection, Router]:
        first, second = self._fleet.nodes[home], self._fleet.nodes[1 - home]
        try:
            return await Connection.open(first.proxy_port), first
        except ConnectionError:
            self.seen.redialled += 1
            return await Connection.open(second.proxy_port), second

    async def _visit(self, home: int, number: int) -> None:
        turn = number
        while not self._ending:
            try:
                async with asyncio.timeout(PATIENCE):
                    connection, node = await self._dial(home)
            except (OSError, TimeoutError) as error:
                self.seen.failed.append((0, repr(error)))
                await asyncio.sleep(self._pause)
                continue
            self.open[connection] = node
            try:
                for _ in range(_LAST):
                    turn += 7
                    await self._ask(connection, self._sites[turn % len(self._sites)])
                    if self._ending or connection.last:
                        break
                    await asyncio.sleep(self._pause)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.seen.failed.append((connection.port, repr(error)))
            finally:
                del self.open[connection]
                connection.close()

    async def _ask(self, connection: Connection, site: Site) -> None:
        began = time.perf_counter()
        async with asyncio.timeout(PATIENCE):
            status, body = await connection.get(site.host)
        self.seen.requests += 1
        self.seen.waits.append(time.perf_counter() - began)
        if status != 200:
            self.seen.failed.append((connection.port, f"{site.host}: {status}"))
        elif body not in {site.says(0), site.says(1)}:
            self.seen.wrong.append(f"{site.host}: {body[:80]!r}")

    async def _ask_for_strangers(self) -> None:
        while not self._ending:
            for home in (0, 1):
                self._stranger += 1
                said = await self._first_answer(home, f"nobody{self._stranger}")
                self.seen.strangers[said] += 1
                if (slug := next(self._cold, None)) is not None:
                    self.seen.cold[await self._first_answer(home, slug)] += 1
            await asyncio.sleep(0.5)

    async def _first_answer(self, home: int, slug: str) -> str:
        """What a node says of a host that nobody has asked for yet."""
        try:
            async with asyncio.timeout(PATIENCE):
                connection, _ = await self._dial(home)
                try:
                    status, _ = await connection.get(f"{slug}.{PLATFORM_DOMAIN}")
                finally:
                    connection.close()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            return type(error).__name__
        code = re.findall(rb"\r\nx-miosa-error: (\w+)", connection.head)
        retry = "+Retry-After" if b"\r\nretry-after:" in connection.head else ""
        return f"{status} {b''.join(code).decode()}{retry}"


class Probes:
    """A connection to each worker of each node that runs."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._connections: dict[int, Connection] = {}

    async def meet(self, within: float = 30.0) -> list[Connection]:
        """One for each worker of now, in no order."""
        deadline = time.monotonic() + within
        wanted = {pid: node for node in self._fleet.nodes for pid in workers(node.process.pid)}
        for pid in set(self._connections) - set(wanted):
            self._connections.pop(pid).close()
        while missing := set(wanted) - set(self._connections):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no connection to {missing}")
            for node in {wanted[pid] for pid in missing}:
                connection = await Connection.open(node.proxy_port)
                await connection.get("nothing.example")
                pid = owner(node.proxy_port, connection.port, list(wanted))
                if pid in missing:
                    self._connections[pid] = connection
                else:
                    connection.close()
        return list(self._connections.values())

    async def everywhere(self, sites: Sequence[Site], within: float) -> float:
        """Wait until each worker answers from the place where each site is; how long that took, in seconds."""
        began = time.perf_counter()
        connections = await self.meet()
        await asyncio.gather(*(self._all(connection, sites, began + within) for connection in connections))
        return time.perf_counter() - began

    async def _all(self, connection: Connection, sites: Sequence[Site], deadline: float) -> None:
        for site in sites:
            while (found := await connection.get(site.host)) != (200, site.says(site.place)):
                if time.perf_counter() > deadline:
                    raise TimeoutError(f"{site.host}: {found} instead of {site.place}")
                await asyncio.sleep(0.005)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


# What may happen to a node.


def family(node: Router) -> list[int]:
    """Every process of a node, the supervisor first."""
    return [node.process.pid, *children(node.process.pid)]


def kill_all(pids: Sequence[int], before: Callable[[], object]) -> None:
    """Stop processes where they are, look, and kill them: what each of them had is known exactly.

    Ends when all have let go of their sockets, while everything else stands still: until then a connection may still be
    taken into a queue that nobody will serve, and would count as another's failure.
    """
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    before()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 5
    while any(map(alive, pids)):
        if time.monotonic() > until:
            raise TimeoutError("what was killed does not end")
        time.sleep(0.001)


def worker_of(node: Router) -> int:
    """One of a node's workers."""
    return min(workers(node.process.pid))


def control_of(node: Router) -> int:
    """A node's control process."""
    return control(node.process.pid)[0]


async def all_serve(fleet: Fleet) -> None:
    """Wait until two workers of each node take connections."""
    for node in fleet.nodes:
        await eventually(lambda node=node: serving(node) == 2, "two workers serve", 40)
