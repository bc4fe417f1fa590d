"""An echo: a WebSocket that sends back what it gets, and a page that talks to it."""

from pathlib import Path

from aiohttp import WSMsgType, web

from router.demo.sandboxes import serve

SITE = Path(__file__).with_name("site")


async def home(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(SITE / "echo.html")


async def socket(request: web.Request) -> web.WebSocketResponse:
    """`?say=hello` says that first and hangs up: for clients, such as curl, that only listen."""
    connection = web.WebSocketResponse(heartbeat=30, timeout=1)
    await connection.prepare(request)
    if (words := request.query.get("say")) is not None:
        await connection.send_str(words)
        await connection.close()
        return connection
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            await connection.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await connection.send_bytes(message.data)
    return connection


def app() -> web.Application:
    site = web.Application()
    site.router.add_get("/", home)
    site.router.add_get("/socket", socket)
    site.router.add_static("/assets", SITE)
    return site


if __name__ == "__main__":
    serve(app())
