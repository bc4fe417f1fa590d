"""The process that has the sockets and starts the others. It carries no traffic, so there is little that could end it.

Each worker's socket stays open here: connections that arrive between a worker's end and its successor's start wait in
the socket's queue and are not refused. A process that ends is started again (`post.py`), one that hangs is killed first:
each says several times in `process_silence` that its loop goes round. At a reload the control process
and the first worker get successors with the new settings; only when both are ready do they count, and the other workers
follow, one at a time. Who has a successor takes nothing new, and ends when its requests and tunnels have.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvloop

from router.listening import ListenError, listen, listen_together
from router.settings import Settings, SettingsError
from router.tasks import Tasks
from router.workers import systemd
from router.workers.child import FIXED
from router.workers.embedded import stay_alive
from router.workers.post import Post, StartError
from router.workers.process import Process, introduce
from router.workers.systemd import Notifier

Values = Mapping[str, Any]

BEATS = 5  # signs of life in `process_silence`

_log = structlog.get_logger("router.workers")


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
        self._beat = settings.limits.process_silence / BEATS
        self._processes: set[Process] = set()
        self._posts: list[Post] = []
        self._announced = False
        self._status = "starting"
        self._refused: list[tuple[str, str]] = []
        self._tasks = Tasks("supervisor")
        self._stop: asyncio.Event
        self._hurry: asyncio.Event
        self._reload: asyncio.Event

    def run(self) -> None:
        """Until a signal ends it. Raises SettingsError where the first processes can't start with the settings."""
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        finally:
            for sockets in self._sockets.values():
                for opened in sockets:
                    opened.close()
        if self._refused:
            raise SettingsError(self._refused)

    async def _run(self) -> None:
        self._stop, self._hurry, self._reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        control = bool(self._settings.roles - {"proxy"})
        workers = self._settings.workers
        at_once = asyncio.Semaphore(max(1, workers // 2))
        self._posts = [Post(number, self._start, at_once) for number in range(1, workers + 1)]
        if control:  # a worker that starts waits for it, so it must not wait for workers that start
            self._posts.insert(0, Post(0, self._start, asyncio.Semaphore(1)))
        for post in self._posts:
            self._tasks.start(f"keep {post.number}", post.keep())
        self._tasks.start("reload", self._reload_when_told())
        self._tasks.start("count beats", self._count_beats())
        watchdog = Tasks("watchdog")
        if self._notifier.watchdog is not None:
            watchdog.start("signs of life", stay_alive(self._notifier, self._notifier.watchdog))
        try:
            await self._stop.wait()
        finally:
            await self._end()
            await watchdog.close()

    def _told_to_end(self, number: signal.Signals) -> None:
        _log.info("signal", name=signal.Signals(number).name)
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _count_beats(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            for process in tuple(self._processes):
                process.missed_beat(BEATS)

    # Starting.

    async def _start(self, number: int, values: Values | None = None) -> Process:
        """A process that is ready. Raises StartError."""
        sockets = {name: opened[0] for name, opened in self._sockets.items() if name != "proxy"}
        if number:
            proxy = self._sockets["proxy"]
            sockets = {"proxy": proxy[(number - 1) % len(proxy)]}
        try:
            process = Process(number, sockets, self._left)
        except OSError as error:
            _log.error("a process can't be made", number=number, error=str(error))
            raise StartError(str(error)) from error
        how = {
            "do": "start",
            "number": number,
            "values": self._values if values is None else values,
            "fixed": self._fixed,
            "addresses": self._addresses,
            "beat": self._beat,
        }
        process.send(how)
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
            _log.info("a process is ready", number=number, pid=process.pid)
            asyncio.get_running_loop().call_soon(self._tell)
            return process
        _log.error("a process can't start", number=number, pid=process.pid, reason=process.failure)
        if process.problems and not self._announced:
            self._refused = process.problems  # the very first: nobody relies on us yet
            self._stop.set()
        raise StartError(process.failure, process.problems)

    def _left(self, process: Process) -> None:
        self._processes.discard(process)
        for post in self._posts:
            post.left(process)
        self._tell()

    def _tell(self) -> None:
        """Tell the service manager how it stands."""
        serving = [post.number for post in self._posts if post.current is not None and post.current.serves]
        workers = sum(number > 0 for number in serving)
        self._status = f"{workers} of {self._settings.workers} workers serve"
        if self._stop.is_set():
            return
        if not self._announced and workers and (0 in serving or self._posts[0].number):
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
                process.send({"do": "reopen"})
            try:
                await self._replace_all(self._read())
            except (SettingsError, StartError) as error:
                _log.error("reload refused: all stays as it was", reason=str(error), problems=error.problems)
            self._notifier.ready(self._status)

    async def _replace_all(self, values: Values) -> None:
        """Replace every process, one at a time. Raises StartError where the first ones don't start."""
        _log.info("reloading")
        trial, others = self._posts[:2], self._posts[2:]
        async with AsyncExitStack() as held:
            successors: list[Process] = []
            for post in trial:
                await held.enter_async_context(post.changing)
                try:
                    successors.append(await self._start(post.number, values))
                except StartError:
                    for started in successors:
                        started.drain(replaced=True)
                    raise
            self._values = values
            for post, process in zip(trial, successors, strict=True):
                _relieve(post, process)
        for post in others:
            async with post.changing:
                try:
                    process = await self._start(post.number, values)
                except StartError as error:
                    _log.error("reload incomplete: an old process stays", number=post.number, reason=str(error))
                else:
                    _relieve(post, process)
        _log.info("reloaded")

    # The end.

    async def _end(self) -> None:
        """Let everybody drain; the control process goes last, since it is asked how things stand."""
        self._notifier.stopping()
        await self._tasks.close()
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


def _relieve(post: Post, process: Process) -> None:
    """The process takes over; who was there before goes."""
    before = post.take(process)
    if before is not None:
        before.drain(replaced=True)


async def _all_ended(processes: Sequence[Process]) -> None:
    for process in processes:
        await process.ended.wait()


def _open(settings: Settings, passed: Mapping[str, Sequence[socket.socket]]) -> dict[str, list[socket.socket]]:
    """The node's sockets: one per worker, or those that systemd has. Raises ListenError."""
    sockets: dict[str, list[socket.socket]] = {}
    try:
        for name, bind in (("proxy", settings.proxy_bind), ("api", settings.api_bind), ("admin", settings.admin_bind)):
            most = settings.workers if name == "proxy" else 1
            if name not in settings.roles:
                continue
            if name in passed:
                sockets[name] = systemd.at_most(most, name, passed[name])
            else:
                sockets[name] = listen_together(name, bind, most) if most > 1 else [listen(name, bind)]
    except ListenError:
        for opened in (one for several in sockets.values() for one in several):
            opened.close()
        raise
    return sockets
