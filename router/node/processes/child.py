"""A process that the supervisor started, worker or control process: `python -m router.node.processes SOCKET NAME=FD …`

Over its control socket (descriptor SOCKET) the supervisor tells it how to start, connects it to the others and tells it
when to end. It reports when it is ready, or why it failed, and then sends heartbeats. When the control socket closes the
supervisor has died: it ends as if it had been replaced, so that no process is left behind. It ignores a terminal's
signals, which come to the whole group; the supervisor passes them on.
"""

import asyncio
import signal
import socket
from collections.abc import Sequence
from functools import partial

import structlog
import uvloop

from router.base.tasks import Tasks
from router.base.ticks import tick
from router.errors import RouterError, StoreUnavailableError
from router.node.app import App
from router.node.ipc.process_messages import (
    TO_CHILD,
    Connect,
    Drain,
    End,
    Failed,
    Heartbeat,
    HeartbeatRequest,
    Ready,
    ReopenLogs,
    SetLogLevels,
    StandBack,
    StandIn,
    Start,
)
from router.node.ipc.wire import Message
from router.node.process_role import FIXED, ProcessRole
from router.node.processes.control_socket import ControlSocket
from router.node.processes.garbage_collection import SQL, TRAFFIC, tune_gc
from router.node.processes.settings_reader import SettingsReader
from router.node.processes.threads import yield_to_the_loop
from router.node.sockets import ListenError
from router.observe import logs
from router.observe.log_levels import as_json
from router.settings import Settings, SettingsError, parse

_START_TIMEOUT = 10.0  # seconds for the supervisor to say how to start

_log = structlog.get_logger("router.node.processes")


def main(words: Sequence[str], reader: SettingsReader | None) -> None:
    """Do what the supervisor says until it says to end. A worker has a `reader` of its settings."""
    end = socket.socket(fileno=int(words[0]))
    end.set_inheritable(False)
    sockets = {}
    for word in words[1:]:
        name, _, descriptor = word.partition("=")
        sockets[name] = socket.socket(fileno=int(descriptor))
        sockets[name].set_inheritable(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Child(sockets, reader).run(end))


class _Child:
    def __init__(self, sockets: dict[str, socket.socket], reader: SettingsReader | None) -> None:
        self._sockets = sockets
        self._reader = reader
        self._tasks = Tasks("child")
        self._messages: asyncio.Queue[tuple[Message, socket.socket | None]] = asyncio.Queue()
        self._drain = asyncio.Event()
        self._end = asyncio.Event()
        self._replaced = False
        self._stay = False
        self._control_socket: ControlSocket

    async def run(self, end: socket.socket) -> None:
        yield_to_the_loop()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self._drain.set)
        self._control_socket = ControlSocket(end, TO_CHILD, self._hear)
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                start, _ = await self._messages.get()
            if not isinstance(start, Start):
                raise TypeError(f"{start.do!r} before the start")
            await self._serve(start)
        finally:
            await self._tasks.close()
            self._control_socket.close()
            if self._reader is not None:
                self._reader.close()

    async def _serve(self, start: Start) -> None:
        try:
            version = None
            if self._reader is None:
                read = parse(start.values)
            else:
                read, version = await self._reader.parse(start.values)
            settings = _own(read, start)
            logs.configure(settings, start.number)
            addresses = {name: (host, port) for name, (host, port) in start.addresses.items()}
            control = bool(set(start.fixed["roles"]) - {"proxy"})
            process = ProcessRole(
                number=start.number, addresses=addresses, control=control, start=start.start, version=version
            )
            app = App(settings, sockets=self._sockets, process=process)
            if not start.number:
                app.log_levels.on_change = lambda levels: self._control_socket.send(SetLogLevels(as_json(levels)))
        except SettingsError as error:
            self._control_socket.send(Failed(str(error), error.problems))
            return
        others = self._tasks.start("obey", self._obey(app))
        starting = self._tasks.start("start", app.start(settle=partial(tune_gc, TRAFFIC if start.number else SQL)))
        ending = self._tasks.start("end", self._end.wait())
        try:
            await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return
            try:
                starting.result()
            except SettingsError as error:
                self._control_socket.send(Failed(str(error), error.problems))
                return
            except (StoreUnavailableError, ListenError, RouterError, OSError) as error:
                self._control_socket.send(Failed(str(error)))
                return
            limits = settings.limits
            drain = limits.drain_not_ready + limits.drain_requests + limits.drain_tunnels
            self._control_socket.send(Ready(drain, stands_in=True, answers=True))
            if start.heartbeat:
                self._tasks.start("heartbeats", self._send_heartbeats(start.heartbeat))
            await self._until_the_end(app)
        finally:
            others.cancel()
            await app.close()

    async def _until_the_end(self, app: App) -> None:
        over = self._tasks.start("end", self._end.wait())
        told = self._tasks.start("be told", self._drain.wait())
        await asyncio.wait((over, told), return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            return
        drained = self._tasks.start("drain", app.drain(replaced=self._replaced))
        await asyncio.wait((over, drained), return_when=asyncio.FIRST_COMPLETED)
        if self._stay:
            await over

    async def _send_heartbeats(self, pause: float) -> None:
        while True:
            self._control_socket.send(Heartbeat())
            await tick(pause)  # with all other processes of this machine: the supervisor is woken once for them

    async def _obey(self, app: App) -> None:
        """Do what has to be done in order."""
        while True:
            message, passed = await self._messages.get()
            match message:
                case ReopenLogs():
                    app.reopen_logs()
                case StandIn() if passed is not None:
                    await app.stand_in(passed, message.socket)
                case StandBack():
                    app.stand_back(message.socket)
                case Connect() if passed is not None:
                    await app.connect(passed, message.number)

    def _hear(self, message: Message | None, passed: socket.socket | None) -> None:
        if message is None:
            # Another supervisor may open the sockets in a moment: leave them at once.
            _log.error("supervisor lost: draining")
            self._replaced, self._stay = True, False
            self._drain.set()
            return
        match message:
            case Drain():
                self._replaced, self._stay = message.replaced, message.stay
                self._drain.set()
            case End():
                self._end.set()
            case HeartbeatRequest():
                self._control_socket.send(Heartbeat())
            case _:
                self._messages.put_nowait((message, passed))


def _own(settings: Settings, start: Start) -> Settings:
    """This process's part of the settings. Raises SettingsError where a reload may not change them so."""
    found = {key: getattr(settings, key) for key in FIXED} | {"roles": sorted(settings.roles)}
    changed = [(key, "can only be changed by a restart") for key in FIXED if found[key] != start.fixed[key]]
    if changed:
        raise SettingsError(changed)
    roles = {"proxy"} if start.number else settings.roles - {"proxy"}
    return settings.model_copy(update={"roles": frozenset(roles)})
