"""Every page of ours in a real browser: its policy lets it show itself, and it asks for nothing else."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from router.errors import EDGE_PROBLEMS
from router.pages import Form, Pages
from router.routes.records import ListeningSocket
from tests.support.browser import find_browser, show

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

HOST = "5173-shop.sandbox.miosa.app"
COUNT = len(EDGE_PROBLEMS) + 1  # and what asks before a link is used up
BRANDING = {"name": "Acme", "logo": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC", "accent_color": "#e11d48"}


async def test_no_page_breaks_its_own_policy(tmp_path: Path) -> None:
    """All of them in frames of one page: Chromium complains of nothing, and loads nothing but them."""
    browser = find_browser()
    pages = Pages("https://docs.miosa.ai/errors")
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        number = request.match_info["number"]
        if not number.isdecimal():
            frames = "".join(f'<iframe src="/{number}"></iframe>' for number in range(COUNT))
            icon = '<link rel="icon" href="data:,">'
            return web.Response(text=f"<html><head>{icon}</head>{frames}</html>", content_type="text/html")
        branding = BRANDING if int(number) % 2 else None
        if int(number) < len(EDGE_PROBLEMS):
            page = pages.render(
                EDGE_PROBLEMS[int(number)],
                form=Form.HTML,
                request_id="r",
                host=HOST,
                port=5173,
                branding=branding,
                reload=False,
                listening=(ListeningSocket(3000, "::1"),),
            )
        else:
            page = pages.confirmation(host=HOST, branding=branding, request_id="r")
        headers = {"Content-Type": page.content_type.decode()}
        headers |= {name.decode(): value.decode() for name, value in page.extra}
        return web.Response(body=page.body, headers=headers)

    app = web.Application()
    app.router.add_get("/{number}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/all"
        shown = await asyncio.to_thread(show, browser, tmp_path, url)
    finally:
        await runner.cleanup()
    assert shown.console == []
    assert sorted(asked) == sorted(["/all", *(f"/{number}" for number in range(COUNT))])
