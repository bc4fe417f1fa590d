"""A node with far fewer descriptors than connections: what has to go on goes on."""

import asyncio
from pathlib import Path

import pytest

from tests.support.backends import Backend, Visit
from tests.support.processes import Process
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router
from tests.support.workers import Connection

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

DESCRIPTORS = 200


class SmallRouter(Router):
    """One process with so few descriptors."""

    def start(self) -> None:
        command = f"ulimit -n {DESCRIPTORS} && exec {MIOSA_ROUTER} serve"
        self._process = Process(["/bin/sh", "-c", command], self.folder / "router.log", self.environment, self.folder)
        self._process.until(self.ready)


async def test_ask_and_health_have_descriptors_left(tmp_path: Path) -> None:
    """Twice as many clients as there are descriptors, idle or each with a slow answer: ask, health and the API answer;
    visitors are served in the place of idle ones, or told that we are overloaded, never that their program is down."""
    over = asyncio.Event()

    async def slow(visit: Visit) -> None:
        if visit.target != b"/quick":
            await over.wait()
        await visit.answer(b"hello")

    with SmallRouter(tmp_path) as router:
        async with Backend(slow) as backend:
            tenant = await asyncio.to_thread(router.tenant, "Acme")
            await asyncio.to_thread(router.register, tenant, "shop", backend.port)
            host = f"shop.{PLATFORM_DOMAIN}"
            assert "fewer connections than limits.connections" in router.output

            async def admin_answers() -> None:
                for path in ("/livez", "/readyz", f"/ask?domain={host}"):
                    assert (await asyncio.to_thread(router.get_admin, path))[0] == 200, path
                await asyncio.to_thread(router.internal, "GET", "/activity")

            async def visit(path: str) -> tuple[int, bytes]:
                reader, writer = await asyncio.open_connection("127.0.0.1", router.proxy_port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                    answer = await reader.read()
                finally:
                    writer.close()
                return int(answer.split(b" ", 2)[1]) if answer else 0, answer

            idle = []
            for _ in range(2 * DESCRIPTORS):
                idle.append(await Connection.open(router.proxy_port))
                assert (await idle[-1].get("nothing.example"))[0] == 404
            await admin_answers()
            assert (await visit("/quick"))[0] == 200
            for connection in idle:
                connection.close()

            api = [await Connection.open(router.api_port) for _ in range(DESCRIPTORS // 2)]
            assert (await asyncio.to_thread(router.get_admin, f"/ask?domain={host}"))[0] == 200
            assert (await visit("/quick"))[0] == 200
            for connection in api:
                connection.close()

            waiting = [asyncio.create_task(visit("/slow")) for _ in range(2 * DESCRIPTORS)]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=10)
            assert done
            await admin_answers()
            over.set()
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            seen = {answer[0] for answer in answers if isinstance(answer, tuple)}
            assert seen <= {0, 200, 429, 503}
            assert {200, 503} <= seen
            assert not any(b"port_closed" in answer[1] for answer in answers if isinstance(answer, tuple))
            assert all(isinstance(answer, tuple | OSError) for answer in answers)
            assert (await visit("/quick"))[0] == 200
            await admin_answers()
            assert "connection limit reached" in router.output
