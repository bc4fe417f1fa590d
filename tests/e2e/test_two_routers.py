"""Two routers behind one Caddy, with deploy/Caddyfile: when one of them hangs or stops, visitors are the other's."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.backends import Backend, Visit
from tests.support.caddy import CADDYFILE, Caddy
from tests.support.http1 import Http1
from tests.support.pair import Pair
from tests.support.ports import free_port
from tests.support.router import PLATFORM_DOMAIN
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

ASK = CADDYFILE.parent / "ask.caddy"
NOTICED = 9.0  # seconds: two checks of two seconds each, one second apart, and room for a busy machine


async def hello(visit: Visit) -> None:
    async for _ in visit.body():
        pass
    await visit.answer(b"hello")


async def test_visitors_of_a_lost_router_go_to_the_other(tmp_path: Path) -> None:
    """One that is frozen gets no traffic after some seconds, until it answers again, and ask is the other's at once; one
    that is stopped in order fails no request, whatever its method."""
    async with Pair(tmp_path, limits__drain_not_ready=4, limits__drain_requests=5) as pair, Backend(hello) as backend:
        await asyncio.to_thread(pair.first.register, await asyncio.to_thread(pair.first.tenant, "A"), "x", backend.port)
        host = f"x.{PLATFORM_DOMAIN}"
        proxies = f"{pair.first.proxy} {pair.second.proxy}"
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "ask.caddy").write_text(ASK.read_text())
        ask_port = free_port()
        environment = {"MIOSA_CADDY_HEALTH": "readyz", "MIOSA_CADDY_ASK_PORT": str(ask_port)}
        environment["MIOSA_CADDY_ASK_NODES"] = f"{pair.first.admin} {pair.second.admin}"
        caddy = Caddy(tmp_path, proxy=proxies, ask=f"127.0.0.1:{ask_port}", environment=environment)
        with await asyncio.to_thread(caddy.__enter__):

            async def visit(method: str = "GET") -> int:
                async with Http1(caddy.port, host, caddy.trust("http/1.1")) as client:
                    answer = await client.request(method, "/", "Content-Length: 0")
                    await answer.read_all()
                    return answer.status

            def visits_of_second() -> int:
                return (pair.second.folder / "router.log").read_text().count(f'"host":"{host}"')

            while visits_of_second() == 0:
                assert await visit() == 200

            pair.second.process.signal(signal.SIGSTOP)
            try:
                deadline = time.monotonic() + NOTICED
                in_a_row = 0
                while in_a_row < 20:
                    assert time.monotonic() < deadline, caddy.process.output
                    try:
                        async with asyncio.timeout(1):
                            assert await visit() == 200
                    except TimeoutError:
                        in_a_row = 0
                    else:
                        in_a_row += 1
            finally:
                pair.second.process.signal(signal.SIGCONT)
            pair.first.process.signal(signal.SIGSTOP)  # which is asked
            try:
                certificate = await asyncio.to_thread(caddy.certificate, f"3000-x.sandbox.{PLATFORM_DOMAIN}")
                assert certificate["subjectAltName"] == (("DNS", f"3000-x.sandbox.{PLATFORM_DOMAIN}"),)
            finally:
                pair.first.process.signal(signal.SIGCONT)
            before = visits_of_second()
            seen: Counter[int] = Counter()

            async def come(method: str) -> None:
                while pair.second.process.status is None:
                    seen[await visit(method)] += 1

            async with asyncio.timeout(10):
                while visits_of_second() < before + 5:
                    assert await visit() == 200
            visitors = [asyncio.create_task(come(method)) for method in ("GET", "POST", "GET", "POST")]
            pair.second.process.signal(signal.SIGTERM)
            await eventually(lambda: pair.second.process.status is not None, "it has ended", 15)
            await asyncio.gather(*visitors)
            assert set(seen) == {200}
            assert seen[200] > 100
