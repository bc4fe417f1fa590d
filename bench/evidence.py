"""A million names that have a certificate: what the gate's memory of them costs, and that none is ever refused.

    python -m bench.evidence                 a node on SQLite, a minute or two
    python -m bench.evidence --names 100000  the same with fewer

The account's budget is spent, so that a name of which the gate does not know that it has a certificate is refused. The
node starts twice: without a copy, so that the store has to tell all, and with the copy. Printed are, for each, the time until it is ready and until it knows all names, the process's
growth beside a node that knows none (its peak, too), and the answers to 200 questions a second meanwhile and afterwards.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from bench.ask import Tally, answering, ask_at, hello, metric, prepare
from router.base.clock import SystemClock
from router.store import Store
from tests.support.backends import Backend
from tests.support.router import Router
from tests.support.rss import peak_rss, rss

NAMES = 1_000_000
GROWTH = 150.0  # MiB
GOAL = 0.002  # seconds, the 99th percentile when all names are known
RATE = 200.0
KNOWN = "miosa_router_certificates_known"
_MIB = 2**20

_INSERT = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :many)
INSERT INTO certificates (host, status, seen_at, source, failures, changed_at)
SELECT 'shop' || n || '.customer' || (n % 50000) || '.example', 'issued', :at, 'traffic', 0, 0 FROM numbers
"""
_ONE = """
INSERT INTO certificates (host, status, seen_at, source, failures, changed_at)
VALUES (:host, 'issued', :at, 'traffic', 0, 0)
"""
_SPENT = """
INSERT INTO certificate_attempts (id, host, domain, opened_at, outcome, changed_at)
VALUES ('1', 'spent.example', 'spent.example', :at, 'issued', 0)
"""


async def fill(database: str, names: int, hosts: Sequence[str]) -> None:
    """So many names with certificates, the hosts among them, and a budget that is spent."""
    clock = SystemClock()
    store = await Store.open(database, clock=clock)
    at = clock.now().strftime("%Y-%m-%d %H:%M:%S.000000")
    async with store.certificate_log._writer.begin() as connection:  # noqa: SLF001 - a bench may look inside
        await connection.execute(sa.text(_INSERT), {"many": names, "at": at})
        await connection.execute(sa.text(_SPENT), {"at": clock.now().timestamp()})
        for host in hosts:
            await connection.execute(sa.text(_ONE), {"host": host, "at": at})
    await store.close()


def known_only(hosts: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Names that have a certificate, without end."""
    while True:
        yield random.choice(hosts), ["200 issued"]


async def measured(router: Router, title: str, hosts: list[str], names: int, bare: float) -> bool:
    """One start; what it cost, and whether it is good enough."""
    begun = time.perf_counter()
    await asyncio.to_thread(router.start)
    ready, loading = time.perf_counter() - begun, Tally()
    while metric(router, KNOWN) < names:
        some = await ask_at(router.admin_port, known_only(hosts), RATE, 1.0)
        loading.seconds += some.seconds
        loading.wrong += some.wrong
        loading.late += some.late
    full = time.perf_counter() - begun
    await ask_at(router.admin_port, known_only(hosts), RATE, 2.0)
    after = await ask_at(router.admin_port, known_only(hosts), RATE, 5.0)
    pid = answering(router)
    grown, peak = rss(pid) / _MIB - bare, peak_rss(pid) / _MIB - bare
    print(f"{title}: ready after {ready:.1f} s, all known after {full:.1f} s; {grown:.0f} MiB more, {peak:.0f} at most")
    if loading.seconds:
        print(f"  meanwhile: {loading}")
    print(f"  then: {after}", flush=True)
    wrong = [*loading.wrong, *after.wrong]
    if wrong or grown > GROWTH or after.p99 > GOAL:
        print(f"  MISSED: {grown:.0f} MiB, p99 {after.p99 * 1e3:.2f} ms, wrong {wrong[:3]}")
        return False
    return True


async def run(names: int) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Backend(hello) as backend:
            database = f"sqlite:///{folder}/router.db"
            hosts = await prepare(database, backend.port)
            router = Router(
                folder, access_log="", database_url=database, gate__budgets=True, gate__account=1, state_dir=folder
            )
            await asyncio.to_thread(router.__enter__)
            try:
                bare = rss(answering(router)) / _MIB
                await asyncio.to_thread(router.process.stop)
                await fill(database, names, hosts)
                good = True
                for title in ("from the store", "with a copy"):
                    if title == "from the store":
                        (folder / "certificates").unlink(missing_ok=True)
                    good = await measured(router, title, hosts, names, bare) and good
                    begun = time.perf_counter()
                    await asyncio.to_thread(router.process.stop)
                    size = (folder / "certificates").stat().st_size / _MIB
                    print(f"  stopped in {time.perf_counter() - begun:.1f} s; the copy has {size:.0f} MiB", flush=True)
                return good
            finally:
                await asyncio.to_thread(router.__exit__, None, None, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=NAMES)
    raise SystemExit(0 if asyncio.run(run(parser.parse_args().names)) else 1)


if __name__ == "__main__":
    main()
