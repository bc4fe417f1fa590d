"""A tenant's requests reach a collector, through a node that dies and starts again meanwhile."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from miosa import verify_signature

from tests.e2e.test_webhooks import SETTINGS, customer_of
from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.router import PLATFORM_DOMAIN, Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


async def test_requests_reach_a_collector(tmp_path: Path) -> None:
    """Each once where all goes well, signed; what the collector refused comes when it takes it, also from the node's next process."""
    got: list[dict[str, Any]] = []
    secret, broken = "", False

    async def collect(visit: Visit) -> None:
        body = b"".join([piece async for piece in visit.body()])
        assert verify_signature(body, (visit.header(b"x-miosa-signature") or b"").decode(), secret)
        assert visit.header(b"x-key") == b"hunter2"
        if broken:
            await visit.answer(b"", b"503 Service Unavailable")
            return
        got.extend(json.loads(body))
        await visit.answer(b"", b"204 No Content")

    def requests() -> list[str]:
        return [one["path"] for one in got if one["type"] == "request"]

    async def visit(*paths: str) -> None:
        async with Http1(router.proxy_port, f"desk.{PLATFORM_DOMAIN}") as http:
            for path in paths:
                await (await http.request("GET", path)).read_all()

    router = Router(tmp_path, workers=2, secrets_key="ab12" * 16, **SETTINGS)
    async with Backend(collect) as collector, aiohttp.ClientSession() as session:
        await asyncio.to_thread(router.__enter__)
        try:
            customer = await customer_of(router, session)
            url = f"http://127.0.0.1:{collector.port}/in"
            new = {"name": "logs", "url": url, "headers": {"X-Key": "hunter2"}}
            drain = await customer.ask("POST", "/log-drains", new)
            secret = drain["secret"]
            assert (await customer.ask("POST", f"/log-drains/{drain['id']}/test"))["delivered"]
            await visit("/a?token=secret", "/b")
            await eventually(lambda: requests() == ["/a", "/b"], "both came", 20.0)
            assert (got[-1]["host"], got[-1]["fault"]) == (f"desk.{PLATFORM_DOMAIN}", "edge")

            broken = True
            await visit("/c")
            await eventually(lambda: "log drain failed" in router.output, "a batch was refused", 20.0)
            router.process.signal(signal.SIGKILL)
            await asyncio.to_thread(router.process.stop)
            broken = False
            await asyncio.to_thread(router.start)
            await visit("/d")
            await eventually(lambda: requests()[-2:] == ["/c", "/d"], "what was refused came", 60.0)
            shown = await customer.ask("GET", f"/log-drains/{drain['id']}")
            assert (shown["state"], shown["lost"], shown["headers"]) == ("active", 0, ["X-Key"])
            assert not {"hunter2", drain["secret"]} & set(router.output.split('"'))
        finally:
            await asyncio.to_thread(router.__exit__, None, None, None)
