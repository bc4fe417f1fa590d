"""Three sample sandboxes: small programs of their own, as a customer might run them.

Each listens on a free port of loopback, writes that port as its first line, and ends on SIGTERM.
"""

import asyncio
import signal
import sys

from aiohttp import web


def serve(app: web.Application) -> None:
    """Run `app` until SIGTERM."""
    asyncio.run(_serve(app))


async def _serve(app: web.Application) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Streams end when their visitor goes; the rest gets a moment at the end.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()
