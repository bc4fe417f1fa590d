"""The console's pages of webhooks: made with a secret shown once, tested, delivered, delivered again, changed and deleted."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.console import Bench, bench_of

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path_factory.mktemp("console"), backend_networks="127.0.0.2/32") as bench:
        yield bench


async def test_a_webhook_from_its_secret_to_its_end(bench: Bench) -> None:
    """What people do shows on the page; the receiver gets what is signed with the secret that was shown, and its answer makes no HTML."""
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def receive(request: web.BaseRequest) -> web.Response:
        await heard.put((request.headers["Miosa-Signature"], await request.read()))
        return web.Response(status=500 if heard.qsize() > 1 else 200, text="<script>document.title='owned'</script>")

    runner = web.ServerRunner(web.Server(receive))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        await _story(bench, site.name.replace("0.0.0.0", "127.0.0.1"), heard)
    finally:
        await runner.cleanup()


async def _story(bench: Bench, url: str, heard: "asyncio.Queue[tuple[str, bytes]]") -> None:
    await bench.log_in()
    await bench.go("/webhooks", "Webhooks")
    await bench.check_page("webhooks-empty")
    await bench.activate("Create your first webhook")
    await bench.says("Create a webhook", "dialog h2")
    await bench.type("ftp://nowhere")
    await bench.press("Enter")
    await bench.says("URL ", "dialog .field-error")
    await bench.check_page("webhooks-create")
    await bench.tab.evaluate("document.activeElement.select()")
    await bench.type(f"{url}/hooks")
    await bench.press("Enter")
    secret = await bench.keep_secret("Webhook created")
    await bench.shows(f"{url}/hooks")
    assert secret not in await bench.tab.evaluate("document.documentElement.outerHTML")
    await bench.says("Nothing sent yet", "main h2")
    await bench.check_page("webhook-new")
    await bench.activate("Send a test")
    async with asyncio.timeout(20):
        signature, body = await heard.get()
    when, given = (part.partition("=")[2] for part in signature.split(",")[:2])
    assert hmac.new(secret.encode(), f"{when}.".encode() + body, hashlib.sha256).hexdigest() == given
    await bench.tab.evaluate("document.activeElement.blur()")
    await bench.says("delivered", "main .badge.good")
    await bench.activate("Deliver again: webhook.test")
    async with asyncio.timeout(20):
        await heard.get()
    assert await bench.tab.evaluate("document.title !== 'owned'")
    await bench.check_page("webhook")
    await bench.activate("Change")
    await bench.says("Change the webhook", "dialog h2")
    await bench.fill("What it is for", "<b>Sales</b>")
    await bench.activate("Send events", key=" ")
    await bench.activate("Save")
    await bench.says("<b>Sales</b>", "main dd")
    await bench.says("off", "main dd .badge")
    await bench.confirm("New secret", "Make a new secret?", "Make a new secret")
    assert await bench.keep_secret("New secret") != secret
    await bench.go("/webhooks", "Webhooks")
    await bench.check_page("webhooks")
    await bench.activate(f"{url}/hooks")
    await bench.shows(f"{url}/hooks")
    await bench.confirm("Delete", "Delete this webhook?", "Delete webhook")
    await bench.shows("Webhooks")
    await bench.says("No webhooks", "main h2")
