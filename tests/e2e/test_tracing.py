"""A node of several processes tells an OpenTelemetry collector of its requests; without one it loads nothing for it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.backends import Backend, Visit
from tests.support.http1 import Http1
from tests.support.otlp import Collector, texts
from tests.support.router import PLATFORM_DOMAIN, Router

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def roots(collector: Collector) -> dict[str, Any]:
    """The spans of requests, by path."""
    found = [one for one in collector.spans if one.kind == Span.SPAN_KIND_SERVER]
    return {texts(one.attributes)["url.path"]: one for one in found}


async def test_a_node_with_workers_is_traced(tmp_path: Path) -> None:
    """What a trusted proxy samples is a trace with its span as the parent; the program gets the header as it came, and none where
    none came; each request is a log record; each access line of the trace has its id."""
    seen: dict[bytes, list[bytes]] = {}

    async def program(visit: Visit) -> None:
        seen[visit.target] = visit.headers.get(b"traceparent", [])
        await visit.answer(b"hello")

    async with Backend(program) as backend, Collector.running() as collector:
        settings = {"telemetry__endpoint": collector.url, "telemetry__sample": 0, "telemetry__logs": True}
        with Router(tmp_path, workers=2, trusted_proxies="127.0.0.0/8", access_log="-", **settings) as router:
            tenant = await asyncio.to_thread(router.tenant, "Acme")
            await asyncio.to_thread(router.register, tenant, "shop", backend.port)
            lines = {
                "/traced": [f"traceparent: 00-{TRACE}-{PARENT}-01"],
                "/not-sampled": [f"traceparent: 00-{TRACE}-{PARENT}-00"],
                "/plain": [],
            }
            for path, headers in lines.items():
                async with Http1(router.proxy_port, f"shop.{PLATFORM_DOMAIN}") as http:
                    await (await http.request("GET", path, *headers)).read_all()
            await collector.becomes(lambda: len(collector.logs) == 3 and bool(roots(collector)), "all of it")
            output = router.output
    assert list(roots(collector)) == ["/traced"]
    root = roots(collector)["/traced"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    names = [one.name for one in collector.spans]
    assert {"resolve", "first byte", "body"} <= set(names)
    assert seen == {
        b"/traced": [f"00-{TRACE}-{PARENT}-01".encode()],
        b"/not-sampled": [f"00-{TRACE}-{PARENT}-00".encode()],
        b"/plain": [],
    }
    assert output.count(f'"trace_id":"{TRACE}"') == 2


async def test_off_costs_no_import() -> None:
    """A node's modules are loaded without the package that only a collector needs."""
    source = "import sys, router.node.app, router.node.record_keeping, router.node.processes.single, router.proxy; "
    source += (
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google', 'router.telemetry'))])"
    )
    running = await asyncio.create_subprocess_exec(sys.executable, "-c", source, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        out, _ = await running.communicate()
    assert out == b"[]\n"
