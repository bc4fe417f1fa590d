"""The supervisor: opens the sockets and starts the other processes. It carries no traffic, so little can bring it down.

It keeps each worker's socket open, so that no queued connection is lost. A process that ends is restarted (`slot.py`);
one that hangs is killed first: each process sends heartbeats while its event loop runs, and is killed when none came for
`heartbeat_timeout`. Much sooner, as soon as a worker has died or misses heartbeats, another worker also accepts from its
socket (`_stand_in`), until the worker or its successor does so again.

Each process sends a heartbeat once a second. When a client connects to a worker's socket, the supervisor, which polls that
socket too, asks the worker for a heartbeat at once (`_look_at`), at most four times a second. If the worker's event loop hangs,
another worker accepts the connection 0.5 to 0.75 s later. A worker that hangs while no client connects is noticed after up to
2 s. The rate is that low because heartbeats were most of what woke the supervisor of a node at rest (bench/README.md).

A reload starts successors of the control process and of the first worker with the new settings. Only when both are
ready do they replace the old ones; then the other workers follow, one at a time. A process with a successor accepts
nothing new, and ends when its requests and tunnels have ended.

At the end the supervisor closes the sockets at once. The workers go on serving theirs while /readyz answers 503, and
then close them: from then on connections are refused, not queued. (Sockets opened by systemd stay open there.)
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvloop

from router.base.clock import SystemClock
from router.base.tasks import Tasks
from router.base.ticks import tick
from router.node.ipc.process_messages import ReopenLogs, StandBack, StandIn, Start
from router.node.process_role import FIXED
from router.node.processes import systemd
from router.node.processes.process import Process, introduce
from router.node.processes.slot import Slot, StartError
from router.node.processes.systemd import Notifier, stay_alive
from router.node.sockets import DNS_TCP, DNS_UDP, ListenError, binds, dns_sockets, listen, listen_together
from router.observe.log_levels import LogLevels
from router.settings import Settings, SettingsError

Values = Mapping[str, Any]

_HEARTBEAT = 1.0  # seconds between two heartbeats of a process, at most
_MIN_HEARTBEATS = 5  # in `heartbeat_timeout`
_STEP = 0.25  # seconds between two looks at a process that is late, or was asked for a heartbeat

_log = structlog.get_logger("router.node.processes")


class Supervisor:
    """One node of several processes. `read` gives the settings' values of now; `passed` are systemd's sockets."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Values],
        passed: Mapping[str, Sequence[socket.socket]],
        notifier: Notifier,
    ) -> None:
        self._settings = settings
        self._read = read
        self._values = read()
        self._fixed = settings.model_dump(mode="json", include=set(FIXED)) | {"roles": sorted(settings.roles)}
        self._notifier = notifier
        self._sockets = _open(settings, passed)
        self._addresses = {name: opened[0].getsockname()[:2] for name, opened in self._sockets.items()}
        silence = settings.limits.heartbeat_timeout
        self._heartbeat = min(_HEARTBEAT, silence / _MIN_HEARTBEATS)
        self._standing_in: dict[int, Process] = {}  # by the number of the socket
        self._processes: set[Process] = set()
        self._slots: list[Slot] = []
        self._announced = False
        self._status = "starting"
        self._refused: list[tuple[str, str]] = []
        self._tasks = Tasks("supervisor")
        self._log_levels = LogLevels(SystemClock().monotonic)
        self._stop: asyncio.Event
        self._hurry: asyncio.Event
        self._reload: asyncio.Event

    def run(self) -> None:
        """Until a signal ends it. Raises SettingsError where the first processes can't start with the settings."""
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        finally:
            self._close_sockets()
        if self._refused:
            raise SettingsError(self._refused)

    async def _run(self) -> None:
        self._stop, self._hurry, self._reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        control = bool(self._settings.roles - {"proxy"})
        workers = self._settings.workers
        concurrency = asyncio.Semaphore(max(1, workers // 2))
        self._slots = [Slot(number, self._start, concurrency) for number in range(1, workers + 1)]
        if control:  # a worker that starts waits for it, so it must not wait for workers that start
            self._slots.insert(0, Slot(0, self._start, asyncio.Semaphore(1)))
        for slot in self._slots:
            self._tasks.start(f"keep {slot.number}", slot.keep())
        self._tasks.start("reload", self._reload_when_told())
        if workers > 1:
            for place, listener in enumerate(self._sockets["proxy"]):
                self._tasks.start(f"look at socket {place + 1}", self._look_at(place, listener))
        watch = Tasks("watch")  # until the very end: a process may hang while it drains
        watch.start("count heartbeats", self._count_heartbeats())
        if self._notifier.watchdog is not None:
            watch.start("watchdog", stay_alive(self._notifier, self._notifier.watchdog))
        try:
            await self._stop.wait()
        finally:
            await self._end()
            await watch.close()

    def _close_sockets(self) -> None:
        for sockets in self._sockets.values():
            for opened in sockets:
                opened.close()

    def _on_signal(self, number: signal.Signals) -> None:
        _log.info("signal", name=signal.Signals(number).name)
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _count_heartbeats(self) -> None:
        while True:
            late = any(process.is_late for process in self._processes)
            await tick(min(_STEP, self._heartbeat) if late else self._heartbeat)
            for process in tuple(self._processes):
                process.count_silence(self._settings.limits.heartbeat_timeout)
            self._stand_in()

    async def _look_at(self, number: int, listener: socket.socket) -> None:
        """Whenever a client connects to this socket, ask the workers that accept from it for a heartbeat."""
        loop = asyncio.get_running_loop()
        while True:
            connected = asyncio.Event()
            loop.add_reader(listener, connected.set)
            try:
                await connected.wait()
            finally:
                loop.remove_reader(listener)
            current = [slot.current for slot in self._slots if slot.number and self._socket_of(slot.number) == number]
            asked = [process for process in current if process is not None]
            for process in asked:
                process.ask()
            await asyncio.sleep(_STEP)
            while asked := [process for process in asked if not (process.has_answered() or process.is_late)]:  # noqa: ASYNC110 - looks are counted
                await asyncio.sleep(_STEP)
            self._stand_in()

    def _stand_in(self) -> None:
        """Make sure that a process accepts from each worker's socket.

        Two processes may do so at a time, and each connection goes to one of them: so nothing is lost if the worker
        that seemed to hang was only busy.
        """
        if self._stop.is_set():
            return
        sockets = self._sockets["proxy"]
        current = [slot.current for slot in self._slots if slot.number and slot.current is not None]
        accepting = {self._socket_of(process.number) for process in current if process.accepts}
        for number, listener in enumerate(sockets):
            standing_in = self._standing_in.get(number)
            if number in accepting:
                if standing_in is not None:
                    del self._standing_in[number]
                    standing_in.send(StandBack(number))
                    _log.info("worker accepts connections again", socket=number + 1)
            elif standing_in is None or not standing_in.accepts:
                self._standing_in.pop(number, None)
                others = [process for process in current if process.can_stand_in]
                if others:
                    busy = list(self._standing_in.values())
                    chosen = min(others, key=busy.count)
                    if chosen.send(StandIn(number), listener):
                        self._standing_in[number] = chosen
                        _log.info("worker accepts for another", socket=number + 1, by=chosen.number)

    def _socket_of(self, worker: int) -> int:
        """Which of the proxy's sockets a worker has: each its own, or those that systemd passed in turn."""
        return (worker - 1) % len(self._sockets["proxy"])

    # Starting.

    async def _start(self, number: int, values: Values | None = None) -> Process:
        """A process that is ready. Raises StartError."""
        sockets = {name: opened[0] for name, opened in self._sockets.items() if name != "proxy"}
        if number:
            sockets = {"proxy": self._sockets["proxy"][self._socket_of(number)]}
        try:
            process = Process(number, sockets, self._left, self._log_levels, self._heartbeat)
        except OSError as error:
            _log.error("process could not be created", number=number, error=str(error))
            raise StartError(str(error)) from error
        start = Start(
            number=number,
            values=self._values if values is None else values,
            fixed=self._fixed,
            addresses=self._addresses,
            heartbeat=self._heartbeat,
            start="replacing" if values is not None else "again" if self._announced else "first",
        )
        process.send(start)
        for other in self._processes:
            if (other.number == 0) != (number == 0):
                introduce(process, other)
        self._processes.add(process)
        limit = self._settings.limits.process_start
        try:
            async with asyncio.timeout(limit):
                await process.settled.wait()
        except TimeoutError:
            process.failure = f"it was not ready within {limit:g} s"
            process.kill()
        if process.failure is None:
            _log.info("process ready", number=number, pid=process.pid)
            asyncio.get_running_loop().call_soon(self._tell)
            return process
        _log.error("process could not start", number=number, pid=process.pid, reason=process.failure)
        if process.problems and not self._announced:
            self._refused = process.problems  # the very first: no process serves yet, so a bad setting ends the start
            self._stop.set()
        raise StartError(process.failure, process.problems)

    def _left(self, process: Process) -> None:
        self._processes.discard(process)
        for slot in self._slots:
            slot.left(process)
        self._stand_in()
        self._tell()

    def _tell(self) -> None:
        """Report the status to the service manager."""
        serving = [slot.number for slot in self._slots if slot.current is not None and slot.current.serves]
        workers = sum(number > 0 for number in serving)
        self._status = f"{workers} of {self._settings.workers} workers serve"
        if self._stop.is_set():
            return
        if not self._announced and workers and (0 in serving or self._slots[0].number):
            self._announced = True
            self._notifier.ready(self._status)
        else:
            self._notifier.status(self._status)

    # Reloading.

    async def _reload_when_told(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._notifier.reloading()
            for process in self._processes:
                process.send(ReopenLogs())
            try:
                await self._replace_all(self._read())
            except (SettingsError, StartError) as error:
                _log.error("reload refused: nothing changed", reason=str(error), problems=error.problems)
            self._notifier.ready(self._status)

    async def _replace_all(self, values: Values) -> None:
        """Replace every process, one at a time. Raises StartError where the first ones don't start."""
        _log.info("reloading")
        trial, others = self._slots[:2], self._slots[2:]
        async with AsyncExitStack() as held:
            successors: list[Process] = []
            for slot in trial:
                await held.enter_async_context(slot.changing)
                try:
                    successors.append(await self._start(slot.number, values))
                except StartError:
                    for started in successors:
                        started.drain(replaced=True)
                    raise
            self._values = values
            for slot, process in zip(trial, successors, strict=True):
                _replace(slot, process)
        for slot in others:
            async with slot.changing:
                try:
                    process = await self._start(slot.number, values)
                except StartError as error:
                    _log.error("reload incomplete: old process kept", number=slot.number, reason=str(error))
                else:
                    _replace(slot, process)
        _log.info("reloaded")

    # The end.

    async def _end(self) -> None:
        """Drain all processes; the control process ends last, since it answers /readyz and /metrics."""
        self._notifier.stopping()
        await self._tasks.close()
        self._close_sockets()  # what the workers have closed must not go on queueing connections here
        for process in self._processes:
            if process.is_ready and not self._refused:
                process.drain(replaced=False, stay=process.number == 0)
            else:
                process.kill()
        tasks = Tasks("the end")
        hurry = tasks.start("hurry", self._hurry.wait())
        for last in (False, True):
            waiting = [process for process in self._processes if last or process.number]
            if last:
                for process in waiting:
                    process.end()
            gone = tasks.start("wait for the end", _all_ended(waiting))
            await asyncio.wait((gone, hurry), return_when=asyncio.FIRST_COMPLETED)
            if not gone.done():
                for process in tuple(self._processes):
                    process.end()
                await gone
        await tasks.close()


def _replace(slot: Slot, process: Process) -> None:
    """The process takes over; who was there before goes."""
    before = slot.take(process)
    if before is not None:
        before.drain(replaced=True)


async def _all_ended(processes: Sequence[Process]) -> None:
    for process in processes:
        await process.ended.wait()


def _open(settings: Settings, passed: Mapping[str, Sequence[socket.socket]]) -> dict[str, list[socket.socket]]:
    """The node's sockets: one per worker, or those that systemd has. Raises ListenError."""
    sockets: dict[str, list[socket.socket]] = {}
    try:
        for name, bind in binds(settings).items():
            most = settings.workers if name == "proxy" else 1
            if name in passed:
                sockets[name] = systemd.at_most(most, name, passed[name])
            else:
                sockets[name] = listen_together(name, bind, most) if most > 1 else [listen(name, bind)]
        for name in (DNS_UDP, DNS_TCP):
            if name in passed:
                systemd.at_most(1, name, passed[name])
        given = {name: several[0] for name, several in passed.items()}
        sockets |= {name: [opened] for name, opened in dns_sockets(settings, given).items()}
    except ListenError:
        for opened in (one for several in sockets.values() for one in several):
            opened.close()
        raise
    return sockets
