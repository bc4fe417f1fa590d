"""Single-process mode: one process with everything in it."""

import asyncio
import signal
import socket
from collections.abc import Mapping, Sequence
from functools import partial

import structlog
import uvloop

from router.base.tasks import Tasks
from router.node.app import App
from router.node.processes.garbage_collection import EVERYTHING, tune_gc
from router.node.processes.systemd import Notifier, at_most, stay_alive
from router.node.processes.threads import yield_to_the_loop
from router.settings import Settings

_log = structlog.get_logger("router.node.processes")


def serve(settings: Settings, passed: Mapping[str, Sequence[socket.socket]], notifier: Notifier) -> None:
    """Serve until a signal ends it, on the sockets that were passed. Raises what `App.start` raises."""
    sockets = {name: one for name, several in passed.items() for one in at_most(1, name, several)}
    yield_to_the_loop()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, sockets, notifier))


async def _serve(settings: Settings, sockets: Mapping[str, socket.socket], notifier: Notifier) -> None:
    app = App(settings, sockets=sockets)
    signals = _Signals(app)
    await app.start(settle=partial(tune_gc, EVERYTHING))
    tasks = Tasks("workers")
    notifier.ready("serving")
    if notifier.watchdog is not None:
        tasks.start("watchdog", stay_alive(notifier, notifier.watchdog))
    try:
        await signals.first.wait()
        notifier.stopping()
        drain = tasks.start("drain", app.drain())
        hurry = tasks.start("hurry", signals.second.wait())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.close()
        await app.close()


class _Signals:
    """The first and the second signal to end."""

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
