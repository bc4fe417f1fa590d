"""A worker that dies or hangs, and a node that stops: who takes new connections, and how soon."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.backends import Backend, Visit
from tests.support.processes import children
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually, until
from tests.support.workers import Connection, Traffic, workers

pytestmark = [pytest.mark.e2e, pytest.mark.realtime]

AT_ONCE = 24  # new connections: that all of them go to one of two workers by chance happens once in eight million times
SOON = 1.5  # seconds: promised is one, the rest is for a busy machine


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with Router(tmp_path_factory.mktemp("node"), workers=2, limits__heartbeat_timeout=8) as router:
        settle(router)
        yield router


def settle(router: Router) -> None:
    until(lambda: b'"serving": 2' in router.get_admin("/readyz")[2], "two workers serve", 30)
    until(lambda: len(workers(router.process.pid)) == 2, "no other is left", 30)


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


async def served(router: Router, host: str) -> float:
    """How long a new connection and a request on it take."""
    began = time.monotonic()
    connection = await Connection.open(router.proxy_port)
    try:
        assert await connection.get(host) == (200, b"hello")
    finally:
        connection.close()
    return time.monotonic() - began


@pytest.mark.asyncio
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_other_worker_takes_the_new_connections_of_a_lost_one(node: Router, how: signal.Signals) -> None:
    """Those that wait in its queue and those that come, long before it is replaced."""
    await asyncio.to_thread(settle, node)
    async with Backend(hello) as backend:
        slug = f"taken{how}"
        tenant = await asyncio.to_thread(node.tenant, slug)
        await asyncio.to_thread(node.register, tenant, slug, backend.port)
        host = f"{slug}.{PLATFORM_DOMAIN}"
        await served(node, host)
        victim = workers(node.process.pid)[0]
        os.kill(victim, how)
        try:
            for _ in range(2):
                took = await asyncio.gather(*(served(node, host) for _ in range(AT_ONCE)))
                assert max(took) < SOON
        finally:
            if how is signal.SIGSTOP:
                assert victim in children(node.process.pid), "it was replaced before it was to be"
                os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(settle, node)


@pytest.mark.asyncio
async def test_false_alarm_does_no_harm(node: Router) -> None:
    """A worker that hangs for a moment gets its connections back, and no request fails."""
    await asyncio.to_thread(settle, node)
    async with Backend(hello) as backend:
        tenant = await asyncio.to_thread(node.tenant, "alarm")
        await asyncio.to_thread(node.register, tenant, "alarm", backend.port)
        before = workers(node.process.pid)
        said = node.output.count("accepts for another")
        back = node.output.count("accepts connections again")
        async with Traffic(node.proxy_port, f"alarm.{PLATFORM_DOMAIN}", 8) as traffic:
            await eventually(lambda: traffic.answers[200] > 100, "traffic")
            os.kill(before[0], signal.SIGSTOP)
            try:
                await eventually(lambda: node.output.count("accepts for another") > said, "another takes over")
            finally:
                os.kill(before[0], signal.SIGCONT)
            await eventually(lambda: node.output.count("accepts connections again") > back, "it is taken back")
            count = traffic.answers[200]
            await eventually(lambda: traffic.answers[200] > count + 100, "traffic after that")
        assert traffic.failures == []
        assert workers(node.process.pid) == before


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [1, 2])
async def test_stopping_node_refuses_connections_at_once(tmp_path: Path, count: int) -> None:
    """While a request is still under way nobody is left waiting in a queue that is never served, and what was taken is
    answered. Until the stop's first phase is over, all are served."""

    over = asyncio.Event()

    async def slow(visit: Visit) -> None:
        await over.wait()
        await visit.answer(b"hello")

    with Router(
        tmp_path, workers=count, limits__drain_not_ready=0.5, limits__drain_requests=10, limits__drain_tunnels=10
    ) as router:
        async with Backend(hello) as backend, Backend(slow) as late:
            tenant = await asyncio.to_thread(router.tenant, "Acme")
            await asyncio.to_thread(router.register, tenant, "quick", backend.port)
            await asyncio.to_thread(router.register, tenant, "slow", late.port)
            connection = await Connection.open(router.proxy_port)
            answer = asyncio.create_task(connection.get(f"slow.{PLATFORM_DOMAIN}"))
            await eventually(lambda: late.visits, "it is under way")
            router.process.signal(signal.SIGTERM)
            told = time.monotonic()
            served_yet = 0
            while not refused(router.proxy_port):
                with suppress(ConnectionError):  # closed between the two
                    assert await served(router, f"quick.{PLATFORM_DOMAIN}") < SOON
                    served_yet += 1
            assert served_yet > 5
            assert time.monotonic() - told < 2
            assert router.process.status is None
            await eventually(lambda: refused(router.api_port), "the API refuses too")
            over.set()
            assert await answer == (200, b"hello")
            connection.close()
        router.process.wait()
