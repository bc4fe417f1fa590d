"""Single-process mode: one process with everything in it."""

import asyncio
import gc
import signal
import socket
from collections.abc import Mapping, Sequence

import structlog
import uvloop

from router.base.tasks import Tasks
from router.node.app import App
from router.node.processes.systemd import Notifier, at_most
from router.settings import Settings

_log = structlog.get_logger("router.node.processes")

# Collections of generation 1 between two full ones; a control process has some 40 of them in a minute.
TRAFFIC, EVERYTHING, SQL = 20_000, 1_000, 100


def serve(settings: Settings, passed: Mapping[str, Sequence[socket.socket]], notifier: Notifier) -> None:
    """Serve until a signal ends it, on the sockets that were passed. Raises what `App.start` raises."""
    sockets = {name: one for name, several in passed.items() for one in at_most(1, name, several)}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, sockets, notifier))


async def _serve(settings: Settings, sockets: Mapping[str, socket.socket], notifier: Notifier) -> None:
    app = App(settings, sockets=sockets)
    signals = _Signals(app)
    await app.start()
    tune_gc(EVERYTHING)
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
    """Tell systemd's watchdog that the event loop runs."""
    while True:
        notifier.alive()
        await asyncio.sleep(pause)


def tune_gc(full_after: int) -> None:
    """Freeze start-up objects out of the garbage collector, and keep its pauses short.

    Requests are freed by reference counting, so the collector only handles rare cycles. Generation 0 stays small: going
    through fifty thousand new objects took 10 ms. A full collection takes 80 ms with a full cache of routes, so it comes
    after `full_after` collections of generation 1 only (`proxy/pacer.py` starts those as well): `TRAFFIC`, `SQL` or
    `EVERYTHING`, by what the process does. SQL statements leave cycles, which get old before they are garbage: a control
    process that has nothing but its jobs to do leaves 250 objects a second, 2 MiB a minute, and had 100 MiB of them in 40.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000, 3, full_after)


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
