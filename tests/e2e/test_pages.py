"""Every page of ours in a real browser: its policy lets it show itself, and it asks for nothing else."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from router.errors import EDGE_PROBLEMS
from router.pages import WAKE_PATH, Form, Pages, Progress, Stage
from router.pages.waiting import first_event
from router.routes.records import ListeningSocket
from tests.support.browser import find_browser, show

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

HOST = "5173-shop.sandbox.miosa.app"
COUNT = len(EDGE_PROBLEMS) + 3  # and what asks before a link is used up, and what waits, for a visit and after a form
BRANDING = {"name": "Acme", "logo": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC", "accent_color": "#e11d48"}


async def test_no_page_breaks_its_own_policy(tmp_path: Path) -> None:
    """All of them in frames of one page: Chromium complains of nothing, and loads nothing but them and the streams of those
    that wait."""
    browser = find_browser()
    pages = Pages("https://docs.miosa.ai/errors")
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == WAKE_PATH:
            return web.Response(body=first_event(Progress(Stage.STARTING)), content_type="text/event-stream")
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
        elif int(number) == len(EDGE_PROBLEMS):
            page = pages.confirmation(host=HOST, branding=branding, request_id="r")
        else:
            form = int(number) == COUNT - 1
            progress = Progress(Stage.QUEUED, 2)
            page = pages.waiting(progress, host=HOST, branding=branding, form=form, request_id="r")
        headers = {"Content-Type": page.content_type.decode()}
        headers |= {name.decode(): value.decode() for name, value in page.extra}
        return web.Response(body=page.body, headers=headers)

    app = web.Application()
    app.router.add_get("/{number}", answer)
    app.router.add_get(WAKE_PATH, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/all"
        shown = await asyncio.to_thread(show, browser, tmp_path, url)
    finally:
        await runner.cleanup()
    assert shown.console == []
    assert sorted({*asked}) == sorted(["/all", WAKE_PATH, *(f"/{number}" for number in range(COUNT))])
    assert asked.count(WAKE_PATH) >= 2
    assert len(asked) - asked.count(WAKE_PATH) == COUNT + 1
