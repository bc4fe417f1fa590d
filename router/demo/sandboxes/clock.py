"""A clock: one server-sent event each second, and a page that shows them."""

import asyncio
from pathlib import Path

from aiohttp import web

from router.base.clock import SystemClock, iso
from router.demo.sandboxes import serve

SITE = Path(__file__).with_name("site")


async def home(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(SITE / "clock.html")


async def events(request: web.Request) -> web.StreamResponse:
    """`?count=3` ends after that many events; without it they go on."""
    count = request.query.get("count", "")
    left = int(count) if count.isdecimal() else None
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await stream.prepare(request)
    clock = SystemClock()
    while left is None or left > 0:
        await stream.write(f"event: tick\ndata: {iso(clock.now())}\n\n".encode())
        if left is not None:
            left -= 1
        if left != 0:
            await asyncio.sleep(1)
    await stream.write_eof()
    return stream


def app() -> web.Application:
    site = web.Application()
    site.router.add_get("/", home)
    site.router.add_get("/events", events)
    site.router.add_static("/assets", SITE)
    return site


if __name__ == "__main__":
    serve(app())
