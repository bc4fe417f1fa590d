"""Requests at 2,000 a second for ten minutes, all of them recorded: is anything lost, are the bounds kept, does the proxy's p99 change?
`python -m bench.record_load [--seconds 600] [--rate 2000] [--postgres]`

One node of one process per turn, without records and with them, at the same rate (`bench/rate.py`): the turn without is a minute at most. The
tenant may keep 8 MiB, which are full after half a minute, so the oldest records go all the time. At the end every request that
was answered must be counted, and each record stored: the exit status says so.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import backend
from bench.fleet import figures
from bench.load import steady
from bench.measure import cpu_seconds, pin
from bench.stage import PROXY_CORE
from tests.support.ports import answers, free_port
from tests.support.router import PLATFORM_DOMAIN, Router

_MIB = 1024 * 1024
_TENANTS = 8 * _MIB
_REFERENCE = 60  # seconds without records, at most
_PATIENCE = 90.0  # seconds until the last records are stored and pruned
_SLACK = 1.15  # records of a minute may come between two prunes
_HOST = f"box.{PLATFORM_DOMAIN}"


def _until(condition: Any, within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("not reached in time")
        time.sleep(0.2)


@contextmanager
def _node(folder: Path, url: str | None, *, records: bool) -> Iterator[tuple[Router, str]]:
    """A node with a sandbox, and a key of its tenant."""
    port = free_port()
    program = backend.start_live(folder, port)
    try:
        _until(lambda: answers(port), 20)
        settings: dict[str, object] = {
            "access_log": folder / "access.log",
            "limits__client_idle": 86400,  # the load keeps connections that it seldom uses
            "records__enabled": records,
            "records__per_second": 10_000_000,
            "records__max_bytes_per_tenant": _TENANTS,
        }
        if url is not None:
            settings["database_url"] = url
        with Router(folder, **settings) as node:
            tenant = node.tenant(f"Bench {uuid.uuid4().hex[:6]}")
            node.register(tenant, "box", port)
            pin(node.process.pid, PROXY_CORE)
            yield node, node.key(tenant)
    finally:
        program.stop()


def _turn(
    folder: Path, url: str | None, rate: int, seconds: int, *, records: bool
) -> tuple[dict[str, float], list[str]]:
    """What a turn measured, and what is wrong."""
    folder.mkdir()
    wrong: list[str] = []
    with _node(folder, url, records=records) as (node, key):
        steady(node.proxy_port, _HOST, rate=rate, seconds=2)  # warm
        cpu = cpu_seconds(node.process.pid)
        warm = 2 * rate
        found = steady(node.proxy_port, _HOST, rate=rate, seconds=seconds)
        found["cpu µs"] = (cpu_seconds(node.process.pid) - cpu) / max(1.0, found["done"]) * 1e6
        if found["failed"]:
            wrong.append(f"{found['failed']:.0f} requests failed")
        if records:
            wrong += _kept(node, key, warm + int(found["done"]), found)
    if records and url is None:
        found["file MiB"] = (folder / "router.db.requests").stat().st_size / _MIB
        with sqlite3.connect(folder / "router.db.requests") as connection:
            (found["kept MiB"],) = connection.execute("SELECT sum(bytes) / 1048576.0 FROM request_sizes").fetchone()
        if found["kept MiB"] > _TENANTS / _MIB * _SLACK:
            wrong.append(f"{found['kept MiB']:.1f} MiB of records are kept")
    return found, wrong


def _kept(node: Router, key: str, answered: int, found: dict[str, float]) -> list[str]:
    """What is wrong with the records of so many requests."""
    wrong: list[str] = []

    def counts() -> dict[str, float]:
        by_label = figures(node, "request_records_total")
        return {label.partition('"')[2].rstrip('"'): value for label, value in by_label.items()}

    try:
        _until(lambda: sum(counts().values()) >= answered, _PATIENCE)
    except SystemExit:
        wrong.append(f"of {answered} requests only {sum(counts().values()):.0f} records are accounted for")
    found |= counts()
    if found.get("lost", 0.0):
        wrong.append(f"{found['lost']:.0f} records were lost")
    try:
        _until(lambda: _counted(node, key) >= answered, _PATIENCE)
    except SystemExit:
        wrong.append(f"of {answered} requests only {_counted(node, key)} are counted")
    time.sleep(61)  # one prune
    return wrong


def _counted(node: Router, key: str) -> int:
    """How many requests the tenant's own metrics have."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{node.api_port}/api/v1/metrics", headers={"Authorization": f"Bearer {key}"}
    )
    _, _, body = node.send(request)
    lines = [line for line in body.decode().splitlines() if "requests_total{" in line]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def add_words(words: argparse.ArgumentParser) -> None:
    """What can be said about the load."""
    words.add_argument("--seconds", type=int, default=600)
    words.add_argument("--rate", type=int, default=2000)
    words.add_argument("--postgres", action="store_true", help="records beside PostgreSQL instead of SQLite")


def measure(chosen: argparse.Namespace) -> None:
    """Both turns. Exits with 1 where something is wrong."""
    with tempfile.TemporaryDirectory(prefix="miosa-bench-") as name:
        folder = Path(name)
        wrong: list[str] = []
        with _databases(postgres=chosen.postgres) as new:
            for title, seconds in (("without", min(_REFERENCE, chosen.seconds)), ("with", chosen.seconds)):
                records = title == "with"
                found, bad = _turn(folder / title, new(), chosen.rate, seconds, records=records)
                wrong += bad
                shown = "  ".join(f"{name} {value:,.2f}".rstrip("0").rstrip(".") for name, value in found.items())
                print(f"{title:8} records, {seconds} s at {chosen.rate}/s: {shown}")
    for one in wrong:
        print(f"WRONG: {one}")
    sys.exit(bool(wrong))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    add_words(words)
    measure(words.parse_args())


@contextmanager
def _databases(*, postgres: bool) -> Iterator[Any]:
    """Makes the URL of a database of this version's schema; None is the node's own file."""
    if not postgres:
        yield lambda: None
        return
    import asyncio  # noqa: PLC0415 - with PostgreSQL only

    from tests.support.postgres import Postgres  # noqa: PLC0415

    with Postgres() as server:
        yield lambda: asyncio.run(server.create())


if __name__ == "__main__":
    main()
