"""Nobody reads what the router writes: it goes on all the same, and says later what was lost."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from router.demo.children import PDEATHSIG
from tests.support.backends import Backend, Visit
from tests.support.processes import Process
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually
from tests.support.workers import Connection

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.realtime]

REQUESTS = 3000  # half a kilobyte of access line each: more than the pipe and the queues of two workers


class Muted(Process):
    """A program whose standard output and standard error are one pipe, which is read when the test says so."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIOSA_")}
        self.reading, writing = os.pipe()
        self._popen = subprocess.Popen(
            [sys.executable, "-I", str(PDEATHSIG), str(os.getpid()), str(MIOSA_ROUTER), "serve"],
            env={**inherited, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        os.close(writing)
        self.name = "miosa-router"
        self.data = b""

    def read(self) -> bytes:
        """All that has been written, and is written from now on."""
        os.set_blocking(self.reading, False)
        try:
            while piece := os.read(self.reading, 65536):
                self.data += piece
        except BlockingIOError:
            pass
        return self.data

    @property
    def output(self) -> str:
        return self.data.decode()


class MutedRouter(Router):
    def start(self) -> None:
        self._process = Muted(self.environment, self.folder)
        self._process.until(self.ready)


@contextmanager
def muted(folder: Path, **settings: Any) -> Iterator[tuple[MutedRouter, Muted]]:
    with MutedRouter(folder, **settings) as router:
        process = router.process
        assert isinstance(process, Muted)
        yield router, process
    os.close(process.reading)


async def visit_often(router: Router, host: str, count: int) -> None:
    async def visitor() -> None:
        connection = await Connection.open(router.proxy_port)
        for _ in range(count // 10):
            assert (await connection.get(host))[0] == 200
        connection.close()

    async with asyncio.timeout(60):
        await asyncio.gather(*(visitor() for _ in range(10)))


def lost(router: Router) -> float:
    text = router.get_admin("/metrics")[2].decode()
    lines = [line for line in text.splitlines() if line.startswith("miosa_router_access_lines_lost_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.mark.parametrize("count", [1, 2])
async def test_output_that_nobody_reads_stops_nothing(tmp_path: Path, count: int) -> None:
    """Requests, the admin listener and SIGTERM. Every line that comes out in the end is whole; with those that are
    counted as lost there is one for each request."""

    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    with muted(tmp_path, workers=count, log_level="warning", log_buffer=65536) as (router, process):
        async with Backend(hello) as backend:
            tenant = await asyncio.to_thread(router.tenant, "Acme")
            await asyncio.to_thread(router.register, tenant, "shop", backend.port)
            host = f"shop.{PLATFORM_DOMAIN}"
            await visit_often(router, host, REQUESTS)
            assert (await asyncio.to_thread(router.get_admin, "/livez"))[0] == 200
            await eventually(lambda: lost(router) > 0, "lines are counted as lost")
            await eventually(
                lambda: b"access log writable again: lines were lost" in process.read(),
                "it is said when it flows again",
                20,
            )
            found = process.read().splitlines()
            assert all(line.startswith(b"{") and line.endswith(b"}") for line in found)
            ours = [line for line in found if host.encode() in line]
            assert len(ours) + lost(router) == REQUESTS
            await visit_often(router, host, REQUESTS)
        told = time.monotonic()
        process.signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait)
        assert time.monotonic() - told < 12
