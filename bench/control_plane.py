"""What calls of the API cost, beside a hundred rows of their tenant and beside 200,000: `python -m bench.control_plane`.

Six minutes; `--store sqlite` or `--store postgresql` for one of the databases, `--rows 20000 --calls 100` for a glance. The API runs in
this process as a node serves it, with DNS out of memory, and is asked over loopback: one call after the other for p50 and
p99, then eight at once for calls per second. Every mutation carries an Idempotency-Key. Beside each: how many transactions
and statements it takes (SQLAlchemy tells), and what the database does for the slowest of them (EXPLAIN).

    --write FILE     the table and the plans, as Markdown
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa
import structlog
import uvloop

from router.base.clock import SystemClock
from router.domains.lookup import RecordType
from router.node.rest import credentials_of, handlers_of
from router.node.services import build_services
from router.outbound.health import HttpHealthCheck
from router.routes.records import Kind
from router.settings import Database, Rates, load
from router.store import Store, migrate
from router.store.engine import parsed, writing_engine
from tests.support.api import ApiClient, serving
from tests.support.crowd import Crowd
from tests.support.memory_dns import MemoryFetch, MemoryLookup
from tests.support.postgres import Postgres

FEW, MANY = 100, 200_000
_AT_ONCE = 8
_NO_LIMIT = 10_000_000

# What else a tenant with many resources has: an event and an entry of the audit log for each.
_EVENTS = """
    INSERT INTO events (id, type, tenant_id, workspace_id, project_id, resource_id, data, created_at)
    SELECT id, 'sandbox.created', tenant_id, workspace_id, project_id, id, '{}', created_at FROM resources
"""
_ENTRIES = """
    INSERT INTO audit_entries (id, tenant_id, workspace_id, project_id, actor_type, actor_id, via, action, resource_type,
        resource_id, outcome, status, changes, count, created_at)
    SELECT id, tenant_id, workspace_id, project_id, 'api_key', 'a', 'api', 'sandbox.create', 'sandbox', id, 'ok', 201,
        '{}', 1, created_at FROM resources
"""
# No two rows were made at the same moment.
_APART = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', created_at, '-' || abs(random() % 10000000) || ' seconds')",
    "postgresql": "created_at - random() * interval '100 days'",
}


@dataclass(slots=True)
class Heard:
    """What was asked of a database while a call ran."""

    transactions: int = 0
    statements: list[tuple[float, str, Any]] = field(default_factory=list)

    @property
    def slowest(self) -> tuple[float, str, Any]:
        return max(self.statements, key=lambda one: one[0])


class Hearing:
    """Hears every transaction and statement of the process, while it is on."""

    def __init__(self) -> None:
        self._heard = Heard()
        self._began = 0.0

    def __enter__(self) -> Heard:
        self._heard = Heard()
        sa.event.listen(sa.Engine, "begin", self._on_begin)
        sa.event.listen(sa.Engine, "before_cursor_execute", self._before)
        sa.event.listen(sa.Engine, "after_cursor_execute", self._after)
        return self._heard

    def __exit__(self, *_: object) -> None:
        sa.event.remove(sa.Engine, "begin", self._on_begin)
        sa.event.remove(sa.Engine, "before_cursor_execute", self._before)
        sa.event.remove(sa.Engine, "after_cursor_execute", self._after)

    def _on_begin(self, _connection: sa.Connection) -> None:
        self._heard.transactions += 1

    def _before(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _after(self, _connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            self._heard.statements.append((time.perf_counter() - self._began, statement, parameters))


@dataclass(frozen=True, slots=True)
class Call:
    """One call: method, path, body."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None


class Plane:
    """An API on a database in which one tenant has `rows` sandboxes and as many custom domains, and calls to it."""

    def __init__(self, database: str, rows: int) -> None:
        self.database = database
        self.rows = rows
        self.dns = MemoryLookup()
        self.hearing = Hearing()
        self._crowd = Crowd(tenants=1, resources=rows, domains=rows)
        self._numbers = itertools.count()
        self._registered: list[str] = []
        self._computer = ""
        self._api: ApiClient | None = None

    async def fill(self) -> None:
        await self._crowd.fill(self.database)
        engine = writing_engine(parsed(self.database, create=False), Database(statement_time=600))
        async with engine.begin() as connection:
            apart = _APART[self.database.partition(":")[0]]
            for table in ("resources", "custom_domains"):
                await connection.execute(sa.text(f"UPDATE {table} SET created_at = {apart}"))
            for statement in (_EVENTS, _ENTRIES):
                await connection.execute(sa.text(statement))
            if self.database.startswith("sqlite"):
                await connection.execute(sa.text("ANALYZE"))
        await engine.dispose()
        if not self.database.startswith("sqlite"):
            driver = await asyncpg.connect(self.database)
            await driver.execute("VACUUM ANALYZE", timeout=600)  # as autovacuum does after a while
            await driver.close()

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Plane"]:
        """It, while it is served."""
        settings = load(environ={"MIOSA_ROUTER_DOMAINS_PER_TENANT": str(10 * MANY), "MIOSA_ROUTER_INTERNAL_TOKEN": "x"})
        clock = SystemClock()
        store = await Store.open(self.database, clock=clock)
        async with HttpHealthCheck() as probe:
            services = build_services(store, settings, clock, lookup=self.dns, fetch=MemoryFetch(), probe=probe)
            tenant = self._crowd.tenant_id(0)
            _, key = await services.keys.create(tenant)
            computer, _ = await services.resources.put(
                str(uuid.uuid4()), slug=f"pc-{uuid.uuid4().hex[:8]}", tenant_id=tenant, kind=Kind.COMPUTER
            )
            self._computer = computer.id
            async with serving(
                handlers_of(services, settings, _no_activity, clock, _nothing, _nothing),
                credentials_of(services, settings, clock),
                key=key,
                clock=clock,
                idempotency=store.idempotency,
                rates=Rates(workspace=_NO_LIMIT, anonymous=_NO_LIMIT, auth=_NO_LIMIT),
                audit=services.audit,
                one_transaction=store.ambient,
            ) as self._api:
                yield self
            await services.publishing.close()
        await store.close()

    async def send(self, call: Call) -> Any:
        """What is answered. Anything but a success ends the bench."""
        assert self._api is not None
        headers = {"Idempotency-Key": uuid.uuid4().hex} if call.method != "GET" else {}
        answered = await self._api(call.method, call.path, headers=headers, json=call.body)
        if answered.status >= 300:
            raise SystemExit(f"{call}: {answered.status} {answered.body.decode()}")
        return answered.json

    async def ready(self, name: str, number: int) -> list[Call]:
        """`number` calls of that name; what they need is there."""
        if name == "verify":
            await self._register_for_verification(number)
        return [self._made(name) for _ in range(number)]

    async def _register_for_verification(self, number: int) -> None:
        for _ in range(number):
            found = await self.send(self._made("register"))
            domain = found["data"]["fqdn"]
            self.dns.put(domain, RecordType.CNAME, "verify.miosa.ai")
            self.dns.put("verify.miosa.ai", RecordType.A, "192.0.2.1")
            self._registered.append(found["data"]["id"])

    def _made(self, name: str) -> Call:
        number = next(self._numbers)
        if name == "expose":
            sandbox = self._crowd.resource_id(number * 7919 % self.rows)
            return Call("POST", f"/api/v1/sandboxes/{sandbox}/expose", {"port": 8000 + number // self.rows})
        if name == "register":
            body = {"computer_id": self._computer, "domain": f"www.shop{uuid.uuid4().hex[:12]}.com"}
            return Call("POST", "/api/v1/custom-domains", body)
        if name == "verify":
            return Call("POST", f"/api/v1/custom-domains/{self._registered.pop()}/verify")
        if name == "get":
            return Call("GET", f"/api/v1/sandboxes/{self._crowd.resource_id(number % self.rows)}")
        noun, _, page = name.removeprefix("list ").partition(", ")
        number = max(1, self.rows // 200) if page == "middle" else 1
        return Call("GET", f"/api/v1/{_PATHS[noun]}?limit=100&page={number}")


_PATHS = {"domains": "custom-domains", "sandboxes": "sandboxes", "events": "events", "audit log": "audit-log"}
OPERATIONS = (
    *("expose", "register", "verify", "get", "list domains", "list domains, middle", "list sandboxes"),
    *("list sandboxes, middle", "list events", "list audit log"),
)


async def _nothing(*_: object) -> Any:
    raise AssertionError("no call here asks that")


class _NoActivity:
    async def activity(self, _since: datetime | None) -> tuple[Mapping[str, datetime], Mapping[str, datetime]]:
        return {}, {}


_no_activity = _NoActivity()


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one call. Times in milliseconds."""

    store: str
    rows: int
    name: str
    p50: float
    p99: float
    cpu: float
    per_second: float
    heard: Heard
    plan: Sequence[str]

    def cells(self) -> tuple[str, ...]:
        slowest = self.heard.slowest[0] * 1000
        return (
            *(self.name, f"{self.rows:,}", str(self.heard.transactions), str(len(self.heard.statements))),
            *(f"{self.p50:.1f}", f"{self.p99:.1f}", f"{self.cpu:.1f}", f"{self.per_second:,.0f}", f"{slowest:.2f}"),
        )


async def measured(plane: Plane, name: str, calls: int) -> Row:
    """One call of a plane that is served."""
    for call in await plane.ready(name, 5):
        await plane.send(call)  # what is compiled or remembered at first
    (call,) = await plane.ready(name, 1)
    with plane.hearing as heard:
        await plane.send(call)
    took = []
    for call in await plane.ready(name, calls):
        began = time.perf_counter()
        await plane.send(call)
        took.append((time.perf_counter() - began) * 1000)
    queue = iter(await plane.ready(name, calls))

    async def work() -> None:
        for call in queue:
            await plane.send(call)

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    lasted, cpu = time.perf_counter() - began, (time.process_time() - used) / calls * 1000
    store = plane.database.partition(":")[0]
    took.sort()
    p99 = took[min(len(took) - 1, len(took) * 99 // 100)]
    plan = await explained(plane.database, heard.slowest[1], heard.slowest[2])
    return Row(store, plane.rows, name, statistics.median(took), p99, cpu, calls / lasted, heard, plan)


async def explained(database: str, statement: str, parameters: Any) -> list[str]:
    """How the database does that for a reader: PostgreSQL by a plan that is the same whatever the values. Nothing is done."""
    try:
        if database.startswith("sqlite"):
            engine = writing_engine(parsed(database, create=False), Database())
            words = f"EXPLAIN QUERY PLAN {statement}"
            rows = await engine.run(lambda connection: connection.exec_driver_sql(words, parameters).all())
            await engine.dispose()
            return [str(row[3]) for row in rows]
        values = ", ".join(str(one) if isinstance(one, int) else f"'{one}'" for one in parameters)
        connection = await asyncpg.connect(database)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE asked AS {statement}")
        lines = await connection.fetch(f"EXPLAIN EXECUTE asked({values})")
        await connection.close()
        return [line[0] for line in lines]
    except Exception as error:  # noqa: BLE001 - what can't be explained, such as a statement of many rows
        return [f"(not explained: {error})"]


_HEAD = ("call", "rows", "transactions", "statements", "p50 ms", "p99 ms", "CPU ms", "calls/s", "slowest statement ms")


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [f"| {' | '.join(_HEAD)} |", f"|---|{'---:|' * (len(_HEAD) - 1)}"]
    return "\n".join(lines + [f"| {' | '.join(row.cells())} |" for row in rows])


def plans(rows: Sequence[Row]) -> str:
    """The plan of each row's slowest statement, as Markdown."""
    parts = []
    for row in rows:
        statement = " ".join(row.heard.slowest[1].split())
        parts.append(
            f"**{row.name}, {row.rows:,} rows**\n\n```sql\n{statement}\n```\n\n```\n" + "\n".join(row.plan) + "\n```"
        )
    return "\n\n".join(parts)


def _databases(names: Sequence[str], folder: Path, stack: ExitStack) -> Iterator[tuple[str, Callable[[int], Any]]]:
    for name in names:
        if name == "sqlite":

            async def of_file(rows: int) -> str:
                return f"sqlite:///{folder / f'{rows}.db'}"

            yield name, of_file
        else:
            server = stack.enter_context(Postgres(shared_buffers="256MB", max_wal_size="2GB"))

            async def of_server(_rows: int, server: Postgres = server) -> str:
                return await server.create()

            yield name, of_server


async def _run(words: argparse.Namespace, folder: Path, stack: ExitStack) -> str:
    parts = []
    for name, made in _databases(words.store or ["sqlite", "postgresql"], folder, stack):
        rows: list[Row] = []
        for size in (FEW, words.rows):
            database = await made(size)
            await migrate(database)
            plane = Plane(database, size)
            await plane.fill()
            async with plane.served():
                for operation in words.only or OPERATIONS:
                    rows.append(await measured(plane, operation, words.calls))
                    print(name, *rows[-1].cells(), sep="\t", flush=True)
        rows.sort(key=lambda row: OPERATIONS.index(row.name))
        parts.append(f"## {name}\n\n{table(rows)}\n\n### The slowest statements\n\n{plans(rows)}")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--only", action="append", choices=OPERATIONS)
    parser.add_argument("--rows", type=int, default=MANY)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--write", type=Path)
    words = parser.parse_args()
    structlog.configure(
        processors=[structlog.dev.ConsoleRenderer()], wrapper_class=structlog.make_filtering_bound_logger(30)
    )
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory(prefix="miosa-bench-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        text = runner.run(_run(words, Path(folder), stack))
    if words.write is not None:
        words.write.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
