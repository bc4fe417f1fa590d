"""Two nodes on one database: what one is told the other serves, and each job is done by one of them."""

import asyncio
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import pytest

from router.base.ids import new_id
from router.jobs.domain_checks import SLICES
from tests.support.backends import Backend, Visit
from tests.support.postgres import Postgres
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

SHARED = "check_domains"
CHANGES = 200
MOVED_WITHIN = 30.0  # seconds
VISIBLE_WITHIN = 5.0  # seconds: generous, the figure is printed


@dataclass
class Nodes:
    """Both nodes, and a tenant to register things for."""

    first: Router
    second: Router
    tenant_id: str


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """One pair for all tests; the last one ends them."""
    folder = tmp_path_factory.mktemp("nodes")
    url = f"sqlite:///{folder / 'router.db'}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = asyncio.run(server.create(migrated=False))
    folders = [folder / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first = Router(folders[0], database_url=url)
    second = Router(folders[1], database_url=url, internal_token=first.token)
    second.token = first.token
    # Both at once, as when a fleet is rolled out.
    upgrades = [
        subprocess.Popen([MIOSA_ROUTER, "db", "upgrade", "--json"], env=node.environment, stdout=subprocess.PIPE)
        for node in (first, second)
    ]
    assert [upgrade.communicate(timeout=60) and upgrade.returncode for upgrade in upgrades] == [0, 0]
    with first, second:
        yield Nodes(first, second, first.tenant("Acme"))
    if request.param == "postgresql":
        asyncio.run(server.drop(url))


def held(node: Router) -> Mapping[str, float]:
    """How many leases of each job this node has."""
    _, _, body = node.get_admin("/metrics")
    return {
        line.split('"')[1]: float(line.rpartition(" ")[2])
        for line in body.decode().splitlines()
        if line.startswith("miosa_router_job_held{")
    }


def is_all(leases: Mapping[str, float]) -> bool:
    """Whether each job is held once, and each slice of the one that nodes share."""
    return len(leases) > 1 and dict(leases) == {**dict.fromkeys(leases, 1.0), SHARED: SLICES}


async def test_a_change_is_visible_through_the_other(nodes: Nodes) -> None:
    """What one node's API has stored, the other's proxy serves; how soon is printed."""

    async def old(visit: Visit) -> None:
        await visit.answer(b"0")

    async def new(visit: Visit) -> None:
        await visit.answer(b"1")

    host = f"shop.{PLATFORM_DOMAIN}"
    waits = []
    async with Backend(old) as one, Backend(new) as two, aiohttp.ClientSession() as session:
        resource = nodes.first.register(nodes.tenant_id, "shop", one.port)

        async def visit() -> bytes:
            async with session.get(f"http://{nodes.second.proxy}/", headers={"Host": host}) as answer:
                return await answer.read()

        assert await visit() == b"0"
        for number in range(1, CHANGES + 1):
            wanted = number % 2
            endpoint = {
                "address": "127.0.0.1",
                "generation": str(number),
                "ports": {"3000": (one.port, two.port)[wanted]},
            }
            async with session.put(
                f"http://127.0.0.1:{nodes.first.api_port}/internal/v1/endpoints/{resource}",
                json=endpoint,
                headers={"Authorization": f"Bearer {nodes.first.token}"},
            ) as answer:
                assert answer.status == 200
            stored = time.perf_counter()
            while await visit() != b"%d" % wanted:
                assert time.perf_counter() - stored < VISIBLE_WITHIN
            waits.append((time.perf_counter() - stored) * 1000)
    waits.sort()
    p50, p99 = statistics.median(waits), waits[len(waits) * 99 // 100]
    print(f"change to visible through the other node: p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {len(waits)} changes")


async def test_either_api_knows_what_the_other_stored(nodes: Nodes) -> None:
    """Made through one, read through the other, changed there, read here: never anything older."""
    both = [nodes.first, nodes.second]
    for number in range(10):
        writer, reader = both[number % 2], both[1 - number % 2]
        path = f"/resources/{new_id()}"
        body = {"kind": "sandbox", "slug": f"box{number}", "tenant_id": nodes.tenant_id, "default_port": 3000}
        writer.internal("PUT", path, body)
        assert reader.internal("GET", path)["data"]["slug"] == f"box{number}"
        reader.internal("PATCH", path, {"suspended": True})
        assert writer.internal("GET", path)["data"]["suspended"] is True


async def test_a_block_is_in_force_everywhere(nodes: Nodes) -> None:
    """Blocked by a command on one node: within two seconds a stream through the other is cut, both answer 451 and refuse
    a certificate; lifted through the other's API, both serve again."""
    host = f"phish.{PLATFORM_DOMAIN}"

    async def stream(visit: Visit) -> None:
        if visit.target == b"/":
            await visit.answer(b"hello")
            return
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            await visit.send(b"data: tick\n\n")
            await asyncio.sleep(0.05)

    async with Backend(stream) as backend, aiohttp.ClientSession() as session:
        resource = nodes.first.register(nodes.tenant_id, "phish", backend.port)
        both = (nodes.first, nodes.second)

        async def seen() -> list[tuple[int, str]]:
            found = []
            for node in both:
                async with session.get(f"http://{node.proxy}/", headers={"Host": host}) as answer:
                    status = answer.status
                _, headers, _ = await asyncio.to_thread(node.get_admin, f"/ask?domain={host}")
                found.append((status, headers["x-ask-reason"]))
            return found

        assert [status for status, _ in await seen()] == [200, 200]
        async with session.get(f"http://{nodes.second.proxy}/events", headers={"Host": host}) as events:
            assert await events.content.readline() == b"data: tick\n"
            words = ("block", "resource", "phish", "--reason", "kit", "--public-reason", "Phishing.", "--by", "ada")
            block = await asyncio.to_thread(nodes.first.command, *words)
            stored = time.perf_counter()
            async with asyncio.timeout(VISIBLE_WITHIN):
                with suppress(aiohttp.ClientPayloadError):
                    await events.content.read()
                while await seen() != [(451, "suspended")] * 2:
                    await asyncio.sleep(0.02)
        print(f"block to cut and refused through both nodes: {(time.perf_counter() - stored) * 1000:.0f} ms")
        assert (block["subject"], block["actor"]) == (resource, "ada")
        assert nodes.second.internal("GET", f"/blocks?subject={resource}")["data"][0]["reason"] == "kit"
        listed = await asyncio.to_thread(nodes.second.command, "blocks", "list", "--limit", "100")
        assert [one["id"] for one in listed["data"] if one["subject"] == resource] == [block["id"]]
        nodes.second.internal("DELETE", f"/blocks/{block['id']}?actor=ada")
        async with asyncio.timeout(VISIBLE_WITHIN):
            while [status for status, _ in await seen()] != [200, 200]:
                await asyncio.sleep(0.02)


async def test_jobs_are_done_once_and_move(nodes: Nodes) -> None:
    """Each job has one node, and each slice of the checks; when that one is killed the other has it soon, at a clean end
    at once."""

    def each_once() -> bool:
        first, second = held(nodes.first), held(nodes.second)
        return is_all({job: first[job] + second.get(job, 0.0) for job in first})

    await eventually(each_once, "each job is done by one node")
    holder, other = nodes.first, nodes.second
    if sum(held(holder).values()) < sum(held(other).values()):
        holder, other = other, holder
    began = time.monotonic()
    holder.process.signal(signal.SIGKILL)
    holder.process.wait()
    await eventually(lambda: is_all(held(other)), "the other does all jobs", within=MOVED_WITHIN)
    print(f"jobs of a node that was killed moved within {time.monotonic() - began:.1f} s")
    holder.start()
    assert not any(count for job, count in held(holder).items() if job != SHARED)
    began = time.monotonic()
    other.process.signal(signal.SIGTERM)
    await eventually(lambda: is_all(held(holder)), "the first does all jobs again", within=MOVED_WITHIN)
    print(f"jobs of a node that ended moved within {time.monotonic() - began:.1f} s")
    other.process.wait()
