"""A process that the supervisor has started, as the supervisor sees it."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

import structlog

from router.workers import systemd
from router.workers.line import Line, Message, pair

_MARGIN = 10.0  # seconds by which a process may be late with its own end

_log = structlog.get_logger("router.workers")


class Process:
    """One process, from its start on. `number` is its place: 0 the control process, from 1 the workers.

    A fresh interpreter: it inherits no thread, no loop and no memory, and has the code of now.
    """

    def __init__(
        self, number: int, sockets: Mapping[str, socket.socket], on_end: Callable[["Process"], object]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.settled = asyncio.Event()
        """It is ready, has failed or has ended."""
        self.ended = asyncio.Event()
        self.is_ready = False
        self.failure: str | None = None
        self.problems: list[tuple[str, str]] = []
        self.ready_at = 0.0
        self._missed: int | None = None  # beats since its last word; None before it has begun to give signs of life
        self._on_end = on_end
        self._drain_limit = 0.0
        self._killing: asyncio.TimerHandle | None = None
        ours, theirs = pair()
        names = [f"{name}={opened.fileno()}" for name, opened in sockets.items()]
        try:
            # -P: what is called `router` in the working directory is not ours.
            self._popen = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", "router.workers", str(theirs.fileno()), *names],
                pass_fds=[theirs.fileno(), *(opened.fileno() for opened in sockets.values())],
                env=systemd.for_children(systemd.environment()),
                stdin=subprocess.DEVNULL,
                # A terminal's Ctrl-C is for the supervisor, which passes it on in order.
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._line = Line(ours, self._hear)
        self._handle = os.pidfd_open(self._popen.pid)
        loop.add_reader(self._handle, self._over)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def serves(self) -> bool:
        """Whether it is ready and has not been told to go."""
        return self.is_ready and self._killing is None and not self.ended.is_set()

    def send(self, message: Message, passed: socket.socket | None = None) -> None:
        """Tell it something."""
        if not self._line.send(message, passed) and not self.ended.is_set():
            _log.warning("a process can't be told", number=self.number, pid=self.pid, what=message.get("do"))

    def drain(self, *, replaced: bool, stay: bool = False) -> None:
        """Let it end what is under way, and then itself, unless it is to stay. It is killed where it does not."""
        if self._killing is None and not self.ended.is_set():
            self.send({"do": "drain", "replaced": replaced, "stay": stay})
            if not stay:
                self._kill_after(self._drain_limit + _MARGIN)

    def end(self) -> None:
        """End it now, whatever is under way."""
        if not self.ended.is_set():
            self.send({"do": "end"})
            self._kill_after(_MARGIN)

    def missed_beat(self, most: int) -> None:
        """Another beat has gone by; it is killed where it was silent for more than `most` of them.

        Beats of the supervisor, not seconds: one that was itself stopped for an hour has missed one beat of everybody's.
        """
        if self._missed is not None and not self.ended.is_set():
            self._missed += 1
            if self._missed == most + 1:
                _log.error("a process gives no sign of life: killed", number=self.number, pid=self.pid)
                self.kill()

    def kill(self) -> None:
        """Kill it."""
        if not self.ended.is_set():
            self._popen.kill()

    def _kill_after(self, seconds: float) -> None:
        if self._killing is not None:
            self._killing.cancel()
        self._killing = asyncio.get_running_loop().call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        _log.error("a process does not end: killed", number=self.number, pid=self.pid)
        self.kill()

    def _hear(self, message: Message | None, _passed: socket.socket | None) -> None:
        if message is None:
            return  # it has closed its line, and is about to end
        if "alive" in message:
            self._missed = 0
        elif "ready" in message:
            self.is_ready, self._drain_limit = True, message["ready"]
            self.ready_at = asyncio.get_running_loop().time()
            self.settled.set()
        elif "failed" in message:
            self.failure = message["failed"]
            self.problems = [(key, what) for key, what in message.get("settings", ())]

    def _over(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._handle)
        os.close(self._handle)
        status = self._popen.wait()
        if self._killing is not None:
            self._killing.cancel()
        self._line.close()
        if self.failure is None and not self.is_ready:
            self.failure = _ended(status)
        self.ended.set()
        self.settled.set()
        log = _log.info if status == 0 else _log.error
        log("a process has ended", number=self.number, pid=self.pid, how=_ended(status))
        self._on_end(self)


def _ended(status: int) -> str:
    return f"it was killed by signal {-status}" if status < 0 else f"it ended with status {status}"


def introduce(one: Process, other: Process) -> None:
    """Give both a socket to talk to each other."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one.send({"do": "join", "number": other.number}, ours)
        other.send({"do": "join", "number": one.number}, theirs)
