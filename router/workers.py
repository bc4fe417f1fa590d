"""A node as a process: its loop, its signals, its end. One process with everything in it.

SIGTERM, SIGINT   the first: /readyz says no for `drain_not_ready`, then requests end within `drain_requests`, then
                  tunnels and event streams within `drain_tunnels`. The second: everything ends at once.
SIGHUP            the access log is opened again, after logrotate has moved it away
"""

import asyncio
import gc
import signal

import structlog
import uvloop

from router.app import App
from router.settings import Settings, SettingsError
from router.tasks import Tasks

_log = structlog.get_logger("router.workers")


def serve(settings: Settings) -> None:
    """Serve until a signal ends it. Raises what `App.start` raises, and SettingsError for what this version can't do."""
    _refuse_what_is_not_there(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


def _refuse_what_is_not_there(settings: Settings) -> None:
    problems = []
    if settings.workers > 1:
        problems.append(("workers", "more than one proxy process is not supported yet; set it to 1"))
    if problems:
        raise SettingsError(problems)


async def _serve(settings: Settings) -> None:
    app = App(settings)
    signals = _Signals(app)
    await app.start()
    _calm_the_collector()
    tasks = Tasks("workers")
    try:
        await signals.first.wait()
        drain = tasks.start("drain", app.drain())
        hurry = tasks.start("hurry", signals.second.wait())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.close()
        await app.close()


def _calm_the_collector() -> None:
    """What a node is made of lives as long as it does: look at it no more. Exchanges free themselves by counting; the
    collector is for the odd cycle, so it may come seldom (measured: 2 µs less CPU time per request)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class _Signals:
    """What the process has been told."""

    def __init__(self, app: App) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, app.reopen_logs)

    def _end(self, number: signal.Signals) -> None:
        _log.info("signal", name=signal.Signals(number).name)
        (self.second if self.first.is_set() else self.first).set()
