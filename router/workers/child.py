"""A process that the supervisor started: a worker, or the control process. `python -m router.workers LINE NAME=FD …`

It hears over its line (descriptor LINE) first how it is to start, then who else is there and when to end; and it says
when it is ready, or why it can't be, and then again and again that it is alive. When the line is cut the supervisor has
died: it ends as if it had been replaced, so that nothing is left behind. Signals are the supervisor's to pass on: those
of a terminal come to all of the group.
"""

import asyncio
import signal
import socket
from collections.abc import Sequence

import structlog
import uvloop

from router.app import App, Part
from router.errors import RouterError, StoreUnavailableError
from router.listening import ListenError
from router.observe import logs
from router.settings import Settings, SettingsError, parse
from router.tasks import Tasks
from router.workers.embedded import calm_the_collector
from router.workers.line import Line, Message

# What only the supervisor can change, since it is about what the supervisor has open.
FIXED = ("workers", "roles", "proxy_bind", "api_bind", "admin_bind")

_TOLD = 10.0  # seconds for the supervisor to say how to start

_log = structlog.get_logger("router.workers")


def main(words: Sequence[str]) -> None:
    """Do what the line says until it says to end."""
    line = socket.socket(fileno=int(words[0]))
    line.set_inheritable(False)
    sockets = {}
    for word in words[1:]:
        name, _, descriptor = word.partition("=")
        sockets[name] = socket.socket(fileno=int(descriptor))
        sockets[name].set_inheritable(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Child(sockets).run(line))


class _Child:
    def __init__(self, sockets: dict[str, socket.socket]) -> None:
        self._sockets = sockets
        self._tasks = Tasks("child")
        self._told: asyncio.Queue[tuple[Message, socket.socket | None]] = asyncio.Queue()
        self._drain = asyncio.Event()
        self._end = asyncio.Event()
        self._replaced = False
        self._stay = False
        self._line: Line

    async def run(self, end: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self._drain.set)
        self._line = Line(end, self._hear)
        try:
            async with asyncio.timeout(_TOLD):
                how, _ = await self._told.get()
            await self._serve(how)
        finally:
            await self._tasks.close()
            self._line.close()

    async def _serve(self, how: Message) -> None:
        try:
            settings = _settings(how)
            logs.configure(settings, how["number"])
            addresses = {name: (host, port) for name, (host, port) in how["addresses"].items()}
            control = bool(set(how["fixed"]["roles"]) - {"proxy"})
            part = Part(number=how["number"], addresses=addresses, control=control)
            app = App(settings, sockets=self._sockets, part=part)
        except SettingsError as error:
            self._line.send({"failed": str(error), "settings": error.problems})
            return
        others = self._tasks.start("meet the others", self._meet(app))
        starting = self._tasks.start("start", app.start())
        ending = self._tasks.start("end", self._end.wait())
        try:
            await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return
            try:
                starting.result()
            except SettingsError as error:
                self._line.send({"failed": str(error), "settings": error.problems})
                return
            except (StoreUnavailableError, ListenError, RouterError, OSError) as error:
                self._line.send({"failed": str(error)})
                return
            calm_the_collector()
            limits = settings.limits
            self._line.send({"ready": limits.drain_not_ready + limits.drain_requests + limits.drain_tunnels})
            if "beat" in how:  # a supervisor of an older version expects none
                self._tasks.start("signs of life", self._stay_alive(how["beat"]))
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

    async def _stay_alive(self, pause: float) -> None:
        """Signs of life while this loop goes round."""
        while True:
            self._line.send({"alive": True})
            await asyncio.sleep(pause)

    async def _meet(self, app: App) -> None:
        """Do what has to be done in order, as it is told."""
        while True:
            message, passed = await self._told.get()
            if message["do"] == "reopen":
                app.reopen_logs()
            elif passed is not None:
                await app.join(passed, message["number"])

    def _hear(self, message: Message | None, passed: socket.socket | None) -> None:
        if message is None:
            # The sockets may be somebody else's in a moment: make room at once.
            _log.error("the supervisor has gone")
            self._replaced, self._stay = True, False
            self._drain.set()
            return
        match message["do"]:
            case "drain":
                self._replaced, self._stay = message["replaced"], message["stay"]
                self._drain.set()
            case "end":
                self._end.set()
            case _:
                self._told.put_nowait((message, passed))


def _settings(how: Message) -> Settings:
    """This process's settings. Raises SettingsError."""
    settings = parse(how["values"])
    found = settings.model_dump(mode="json", include=set(FIXED))
    found["roles"] = sorted(settings.roles)
    changed = [(key, "can only be changed by a restart") for key in FIXED if found[key] != how["fixed"][key]]
    if changed:
        raise SettingsError(changed)
    roles = {"proxy"} if how["number"] else settings.roles - {"proxy"}
    return settings.model_copy(update={"roles": frozenset(roles)})
