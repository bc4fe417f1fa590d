"""The console's pages of log drains: made with a secret shown once, tested, paused, changed and deleted, by keyboard alone."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.backends import Backend, Visit
from tests.support.console import Bench, bench_of

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path_factory.mktemp("console"), backend_networks="127.0.0.2/32") as bench:
        yield bench


async def test_a_log_drain_from_its_secret_to_its_end(bench: Bench) -> None:
    """What people do shows on the page, and is so at the API."""
    got: list[tuple[bytes | None, dict[str, str]]] = []
    status = b"200 OK"

    async def collect(visit: Visit) -> None:
        body = b"".join([piece async for piece in visit.body()])
        got.extend((visit.header(b"x-key"), line) for line in json.loads(body))
        await visit.answer(b"", status)

    await bench.log_in()
    await bench.go("/log-drains", "Log drains")
    await bench.check_page("log-drains-empty")
    await bench.activate("Create your first log drain")
    await bench.says("Create a log drain", "dialog h2")
    await bench.type("<b>Logs</b>")
    await bench.fill("URL", "ftp://nowhere")
    await bench.press("Enter")
    await bench.says("URL ", "dialog .field-error")
    await bench.check_page("log-drains-create")
    async with Backend(collect) as collector:
        await bench.tab.evaluate("document.activeElement.select()")
        await bench.type(f"http://127.0.0.1:{collector.port}/in")
        await bench.fill("Headers", "X-Key: hunter2")
        await bench.activate("Create log drain")
        secret = await bench.keep_secret("Log drain created")
        await bench.shows("<b>Logs</b>")
        (drain,) = await asyncio.to_thread(bench.customer.call, "GET", "/log-drains")
        assert drain["headers"] == ["X-Key"]
        shown = await bench.tab.evaluate("document.documentElement.outerHTML")
        assert secret not in shown
        assert "hunter2" not in shown
        await bench.check_page("log-drain")
        await bench.activate("Send a test")
        await bench.says("It took the test", ".toast")
        assert [(key, line["type"]) for key, line in got] == [(b"hunter2", "test")]
        status = b"503 Service Unavailable"
        await bench.activate("Send a test")
        await bench.says("It answered 503.", ".toast")
    await bench.activate("Pause")
    await bench.says("paused", "main dd .badge")
    await bench.activate("Resume")
    await bench.says("active", "main dd .badge")
    await bench.activate("Change")
    await bench.says("Change the log drain", "dialog h2")
    await bench.activate("Only requests that failed or were refused", key=" ")
    await bench.activate("Save")
    await bench.says("requests that failed or were refused", "main dd")
    (drain,) = await asyncio.to_thread(bench.customer.call, "GET", "/log-drains")
    assert (drain["errors_only"], drain["headers"], drain["state"]) == (True, ["X-Key"], "active")
    await bench.confirm("New secret", "Make a new secret?", "Make a new secret")
    assert await bench.keep_secret("New secret") != secret
    await bench.go("/log-drains", "Log drains")
    await bench.check_page("log-drains")
    await bench.activate("<b>Logs</b>")
    await bench.shows("<b>Logs</b>")
    await bench.confirm("Delete", "Delete this log drain?", "Delete log drain")
    await bench.shows("Log drains")
    await bench.says("No log drains", "main h2")
    assert await asyncio.to_thread(bench.customer.call, "GET", "/log-drains") == []
