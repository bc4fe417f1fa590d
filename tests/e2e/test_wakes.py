"""Sleeping sandboxes on two real nodes, with a real platform: one call, every visitor answered, also where a node is killed."""

import asyncio
import os
import re
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.platform import SECRET, Platform
from tests.support.postgres import Postgres
from tests.support.processes import children
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router
from tests.support.rss import forget_peak, peak_rss, rss
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

VISITORS = 200
BODY = b"x" * (1024 * 1024)


@dataclass
class Fleet:
    """Two nodes of two workers each on one database, a platform, and a program that says how long a body was."""

    nodes: tuple[Router, Router]
    platform: Platform
    program: Backend
    tenant_id: str

    async def sleeping(self, slug: str, **fields: object) -> str:
        """A sandbox that sleeps; its id."""
        resource = str(uuid.uuid4())
        body = {
            "kind": "sandbox",
            "slug": slug,
            "tenant_id": self.tenant_id,
            "default_port": 3000,
            "wake": "any",
            **fields,
        }
        first, _ = self.nodes
        await asyncio.to_thread(first.internal, "PUT", f"/resources/{resource}", body)
        await asyncio.to_thread(first.internal, "PATCH", f"/resources/{resource}", {"state": "paused"})
        return resource

    async def boot(self, resource: str) -> None:
        """The platform says that it runs, to a node that is there."""
        endpoint = {"address": "127.0.0.1", "generation": str(uuid.uuid4()), "ports": {"3000": self.program.port}}
        node = next(node for node in self.nodes if node.process.status is None)
        await asyncio.to_thread(node.internal, "PUT", f"/endpoints/{resource}", endpoint)


on_sqlite = pytest.mark.parametrize("fleet", ["sqlite"], indirect=True)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    async def measure(visit: Visit) -> None:
        length = 0
        async for piece in visit.body():
            length += len(piece)
        await visit.answer(b"%d" % length)

    async with AsyncExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'router.db'}"
        if request.param == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = await asyncio.to_thread(asyncio.run, server.create(migrated=False))
            stack.push_async_callback(asyncio.to_thread, lambda: asyncio.run(server.drop(url)))
        platform = await stack.enter_async_context(Platform())
        program = await stack.enter_async_context(Backend(measure))
        nodes = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            wake = {"wake__url": platform.url, "wake__secret": SECRET, "wake__hold": 30, "wake__call_time": 20}
            node = Router(tmp_path / name, database_url=url, internal_token="t" * 32, workers=2, **wake)
            node.token = "t" * 32
            nodes.append(node)
        command = [MIOSA_ROUTER, "db", "upgrade"]
        await asyncio.to_thread(
            subprocess.run, command, env=nodes[0].environment, cwd=tmp_path, check=True, capture_output=True, timeout=60
        )
        for node in nodes:
            stack.enter_context(node)
        yield Fleet((nodes[0], nodes[1]), platform, program, nodes[0].tenant("Acme"))


def counted(node: Router, name: str, label: str) -> float:
    """A counter of one node, over its processes."""
    _, _, body = node.get_admin("/metrics")
    lines = [line for line in body.decode().splitlines() if re.match(rf"miosa_router_{name}(_total)?\{{", line)]
    return sum(float(line.rpartition(" ")[2]) for line in lines if f'"{label}"' in line)


async def test_a_crowd_at_one_sleeping_sandbox(fleet: Fleet) -> None:
    """Visitors with bodies of a mebibyte at both nodes and all their workers: the platform is called once, everybody is
    answered by the program, and the bodies arrive whole."""
    await crowd(fleet, VISITORS)


@pytest.mark.deep
@on_sqlite
async def test_a_thousand_at_one_sleeping_sandbox(fleet: Fleet) -> None:
    """With a mebibyte each: what the processes of both nodes hold does not grow with what was sent."""
    before = memory(fleet)
    for pid in processes(fleet):
        forget_peak(pid)
    await crowd(fleet, 1000)
    most, after = memory(fleet, peak_rss), memory(fleet)
    print(f"MiB of {len(processes(fleet))} processes: {before} before, {most} at the most, {after} after")
    assert most - before < 256  # of 1000 that were sent: one read of each, and what libraries keep


def processes(fleet: Fleet) -> list[int]:
    return [pid for node in fleet.nodes for pid in (node.process.pid, *children(node.process.pid))]


def memory(fleet: Fleet, measure: Callable[[int], int] = rss) -> int:
    """Of all processes of both nodes, in MiB."""
    return sum(map(measure, processes(fleet))) // (1024 * 1024)


async def crowd(fleet: Fleet, visitors: int) -> None:
    resource = await fleet.sleeping("shop")
    fleet.platform.boot = fleet.boot
    fleet.platform.silence()

    async def visit(session: aiohttp.ClientSession, node: Router) -> tuple[int, str, str | None]:
        headers = {"Host": f"shop.{PLATFORM_DOMAIN}"}
        async with session.post(f"http://{node.proxy}/upload", data=BODY, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers.get("X-Miosa-Cold-Start")

    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        visits = [asyncio.create_task(visit(session, fleet.nodes[number % 2])) for number in range(visitors)]
        await eventually(
            lambda: sum(counted(node, "requests_held", "") or held(node) for node in fleet.nodes) == visitors,
            "all wait",
        )
        fleet.platform.go_on.set()
        answers = await asyncio.gather(*visits)
    assert {(status, text) for status, text, _ in answers} == {(200, str(len(BODY)))}
    assert "1" in {cold for _, _, cold in answers}
    assert [call.body["resource_id"] for call in fleet.platform.calls] == [resource]
    await eventually(
        lambda: sum(counted(node, "wakes", "running") for node in fleet.nodes) == 1, "it is counted once", within=10
    )


def held(node: Router) -> float:
    _, _, body = node.get_admin("/metrics")
    lines = [line for line in body.decode().splitlines() if line.startswith("miosa_router_requests_held")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_the_node_that_asks_is_killed(fleet: Fleet) -> None:
    """kill -9 of all its processes in the middle of the call: who waits at the other node goes on, and there is no second call
    before that node's deadline."""
    resource = await fleet.sleeping("shop")
    fleet.platform.silence()
    first, second = fleet.nodes

    async def visit(session: aiohttp.ClientSession, node: Router) -> tuple[int, str]:
        async with session.get(f"http://{node.proxy}/", headers={"Host": f"shop.{PLATFORM_DOMAIN}"}) as answer:
            return answer.status, await answer.text()

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        lost = [asyncio.create_task(visit(session, first)) for _ in range(5)]
        await eventually(lambda: fleet.platform.calls, "the first node asks")
        waits = [asyncio.create_task(visit(session, second)) for _ in range(20)]
        await eventually(lambda: held(second) == len(waits), "the other node's visitors wait")
        pids = (first.process.pid, *children(first.process.pid))
        for pid in pids:  # so that none of them can end in good order: children hear of their parent's end
            os.kill(pid, signal.SIGSTOP)
        await eventually(lambda: all(is_stopped(pid) for pid in pids), "they are stopped")
        for pid in reversed(pids):
            os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(first.process.wait)
        for ended in await asyncio.gather(*lost, return_exceptions=True):
            assert isinstance(ended, aiohttp.ClientError), ended
        await asyncio.sleep(3)  # in which nobody may ask again: a round a second has looked
        assert len(fleet.platform.calls) == 1
        fleet.platform.go_on.set()
        await fleet.boot(resource)  # the call had reached the platform
        assert set(await asyncio.gather(*waits)) == {(200, "0")}
    assert len(fleet.platform.calls) == 1


def is_stopped(pid: int) -> bool:
    """Whether a process has taken its SIGSTOP."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


@on_sqlite
@pytest.mark.parametrize("answered", [True, False], ids=["after the call", "in the call"])
async def test_a_node_is_reloaded_in_the_middle_of_a_wake(fleet: Fleet, *, answered: bool) -> None:
    """SIGHUP with requests held at every worker: who waited at the old ones hears `draining`, and comes again; the new ones know
    of the wake, and nobody hears anything else. The platform is called once."""
    resource = await fleet.sleeping("shop")
    if not answered:
        fleet.platform.silence()
    node, other = fleet.nodes
    heard: Counter[str] = Counter()

    async def visit(session: aiohttp.ClientSession, at: Router) -> tuple[int, str]:
        while True:
            async with session.post(f"http://{at.proxy}/", data=b"abc", headers=headers) as answer:
                code = answer.headers.get("X-Miosa-Error", "")
                heard[code] += 1
                if code != "draining":
                    return answer.status, await answer.text()
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")

    headers = {"Host": f"shop.{PLATFORM_DOMAIN}"}
    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        visits = [asyncio.create_task(visit(session, at)) for at in (node, other) for _ in range(20)]
        await eventually(lambda: held(node) == held(other) == 20, "all wait")
        await eventually(lambda: fleet.platform.calls, "the platform is asked")
        before = set(children(node.process.pid))
        node.process.signal(signal.SIGHUP)
        await eventually(lambda: heard["draining"], "the old workers drain", 40)
        fleet.platform.go_on.set()
        await eventually(lambda: not before & set(children(node.process.pid)), "the old processes have gone", 40)
        await eventually(lambda: held(node) == 20, "all wait at the new ones")
        await fleet.boot(resource)
        assert set(await asyncio.gather(*visits)) == {(200, "3")}
    assert set(heard) == {"", "draining"}
    assert [call.body["resource_id"] for call in fleet.platform.calls] == [resource]


@on_sqlite
async def test_what_is_refused_and_what_may_not_be_woken(fleet: Fleet) -> None:
    """Visitors are told why, in words of ours, and the platform is not asked again for a while; of what may not be woken it is
    never asked."""
    fleet.platform.answers = [402]
    await fleet.sleeping("shop")
    await fleet.sleeping("closed", wake="off")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        for slug, status, code in (("shop", 402, "wake_payment_required"), ("closed", 503, "stopped")):
            for node in (*fleet.nodes, *fleet.nodes):
                headers = {"Host": f"{slug}.{PLATFORM_DOMAIN}"}
                async with session.get(f"http://{node.proxy}/", headers=headers) as answer:
                    assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)
    assert len(fleet.platform.calls) == 1
