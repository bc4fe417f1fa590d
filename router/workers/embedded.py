"""One process with everything in it."""

import asyncio
import gc
import signal
import socket
from collections.abc import Mapping, Sequence

import structlog
import uvloop

from router.app import App
from router.settings import Settings
from router.tasks import Tasks
from router.workers.systemd import Notifier, at_most

_log = structlog.get_logger("router.workers")


def serve(settings: Settings, passed: Mapping[str, Sequence[socket.socket]], notifier: Notifier) -> None:
    """Serve until a signal ends it, on the sockets that were passed. Raises what `App.start` raises."""
    sockets = {name: one for name, several in passed.items() for one in at_most(1, name, several)}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, sockets, notifier))


async def _serve(settings: Settings, sockets: Mapping[str, socket.socket], notifier: Notifier) -> None:
    app = App(settings, sockets=sockets)
    signals = _Signals(app)
    await app.start()
    calm_the_collector()
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


async def stay_alive(notifier: Notifier, pause: float) -> None:
    """Signs of life while this loop goes round."""
    while True:
        notifier.alive()
        await asyncio.sleep(pause)


def calm_the_collector() -> None:
    """What a node is made of lives as long as it does: look at it no more. Exchanges free themselves by counting, so
    known hosts give the collector nothing to do, and new ones stay: it is for the odd cycle. Each time it comes it looks
    at few objects, since everybody waits meanwhile (fifty thousand took 10 ms), and at all of them hardly ever (80 ms):
    after 640,000 look-ups and dials, with which it comes as well (`proxy/turns.py`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000, 3, 20_000)


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
