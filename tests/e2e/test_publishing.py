"""Publishing as visitors see it: requests under way finish where they started, and restarts lose nothing but time."""

import asyncio
import signal
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlsplit

import miosa
import pytest
import pytest_asyncio

from router.tenancy.publishing import INTERRUPTED
from tests.support.backends import Backend, Handler, Visit
from tests.support.http1 import Http1
from tests.support.router import Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with Router(tmp_path, limits__publish_check=20) as started:
        yield started


@pytest.fixture
def tenant(router: Router) -> str:
    return router.tenant("Acme")


@pytest_asyncio.fixture
async def client(router: Router, tenant: str) -> AsyncIterator[miosa.AsyncMiosa]:
    key = router.key(tenant)
    async with miosa.AsyncMiosa(api_key=key, base_url=f"http://127.0.0.1:{router.api_port}/api/v1") as opened:
        yield opened


@asynccontextmanager
async def sandbox(router: Router, tenant: str, handler: Handler) -> AsyncIterator[tuple[str, Backend]]:
    """A running sandbox with that program; its id."""
    async with Backend(handler) as backend:
        yield router.register(tenant, f"sbx{uuid.uuid4().hex[:8]}", backend.port), backend


async def test_requests_under_way_finish_where_they_started(
    router: Router, client: miosa.AsyncMiosa, tenant: str
) -> None:
    """An answer that began on version 1 ends there; whoever asks after publish has answered gets version 2, on the
    same connection too. Rolling back does the same the other way round."""
    more = asyncio.Event()

    async def first(visit: Visit) -> None:
        if visit.target == b"/slow":
            await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\none, ")
            await more.wait()
            await visit.send(b"still")
        else:
            await visit.answer(b"one")

    async def second(visit: Visit) -> None:
        await visit.answer(b"two")

    async with sandbox(router, tenant, first) as (one, _), sandbox(router, tenant, second) as (two, _):
        site = await client.deployments.create(name="Site")
        published = await client.deployments.publish(site.id, source_sandbox_id=one)
        assert published.promoted
        host = urlsplit(str(site.public_url)).netloc
        async with Http1(router.proxy_port, host) as slow, Http1(router.proxy_port, host) as quick:
            begun = await slow.request("GET", "/slow")
            assert await begun.read() == b"one, "
            assert await (await quick.request("GET", "/")).read_all() == b"one"
            published = await client.deployments.publish(site.id, source_sandbox_id=two)
            assert published.promoted
            for _ in range(3):
                assert await (await quick.request("GET", "/")).read_all() == b"two"
            more.set()
            assert await begun.read_all() == b"still"
            assert await (await slow.request("GET", "/")).read_all() == b"two"
            await client.deployments.rollback(site.id)
            assert await (await slow.request("GET", "/")).read_all() == b"one"
            assert await (await quick.request("GET", "/slow")).read_all() == b"one, still"


async def test_a_failed_check_is_nothing_to_visitors(router: Router, client: miosa.AsyncMiosa, tenant: str) -> None:
    """While a bad version is checked, and after it failed, everybody gets the live one."""
    refused = asyncio.Event()

    async def good(visit: Visit) -> None:
        await visit.answer(b"good")

    async def bad(visit: Visit) -> None:
        await visit.answer(b"bad", b"500 Oops")
        refused.set()

    async with sandbox(router, tenant, good) as (one, _), sandbox(router, tenant, bad) as (two, _):
        site = await client.deployments.create(name="Site")
        await client.deployments.publish(site.id, source_sandbox_id=one)
        async with Http1(router.proxy_port, urlsplit(str(site.public_url)).netloc) as visitor:
            publishing = asyncio.ensure_future(
                client.sandboxes._transport.request(
                    "POST",
                    f"/deployments/{site.id}/publish",
                    json_body={"source_sandbox_id": two, "health_check_path": "/healthz"},
                )
            )
            await refused.wait()
            assert await (await visitor.request("GET", "/")).read_all() == b"good"
            router.internal("PATCH", f"/resources/{two}", {"state": "stopped"})
            made = (await publishing)["data"]
            assert (made["promoted"], made["build"]["error_message"]) == (
                False,
                "The sandbox is stopped. Start it, then publish again.",
            )
            assert await (await visitor.request("GET", "/")).read_all() == b"good"


async def start_a_build(router: Router, client: miosa.AsyncMiosa, tenant: str) -> tuple[str, str]:
    """A build of a sandbox that has not started; the ids of the deployment and of the build."""
    site = await client.deployments.create(name="Site")
    box = str(uuid.uuid4())
    router.internal(
        "PUT", f"/resources/{box}", {"kind": "sandbox", "slug": "late", "tenant_id": tenant, "default_port": 3000}
    )
    made = await client.sandboxes._transport.request(
        "POST", f"/deployments/{site.id}/publish", json_body={"source_sandbox_id": box, "wait": False}
    )
    assert made["data"]["build"]["state"] == "running"
    return site.id, made["data"]["build"]["id"]


async def test_a_restart_in_order(router: Router, client: miosa.AsyncMiosa, tenant: str) -> None:
    """A node that is told to end fails what it was building, and says why."""
    site, build = await start_a_build(router, client, tenant)
    router.process.stop()
    router.start()
    found = await client.deployments.get_build(site, build)
    assert (found.state, found.error_message) == ("failed", INTERRUPTED)
    assert (await client.deployments.get(site)).state == "failed"


async def test_a_crash(router: Router, client: miosa.AsyncMiosa, tenant: str) -> None:
    """A build whose process died is running until its deadline, and then failed by the node that runs next."""
    site, build = await start_a_build(router, client, tenant)
    router.process.signal(signal.SIGKILL)
    router.process.wait()
    router.start()
    assert (await client.deployments.get_build(site, build)).state == "running", "another node might have it"
    router.process.stop()
    with closing(sqlite3.connect(router.folder / "router.db")) as database:
        database.execute("UPDATE builds SET deadline_at = '2026-01-01 00:00:00.000000'")  # much time passes
        database.commit()
    router.start()
    async with asyncio.timeout(60):  # the dead process holds the lease of the job for up to 30 s
        while (found := await client.deployments.get_build(site, build)).state == "running":
            await asyncio.sleep(0.05)
    assert (found.state, found.error_message) == ("failed", INTERRUPTED)
