"""A process that the supervisor has started, as the supervisor sees it."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

import structlog

from router.node.ipc.process_messages import (
    TO_SUPERVISOR,
    Connect,
    Drain,
    End,
    Failed,
    Heartbeat,
    HeartbeatRequest,
    Ready,
    SetLogLevels,
)
from router.node.ipc.wire import Message
from router.node.processes import systemd
from router.node.processes.control_socket import ControlSocket, pair
from router.observe.log_levels import LogLevels, from_json

_MARGIN = 10.0  # seconds by which a process may be late with its own end
_LATE = 1.5  # heartbeats' times of silence after which another worker accepts for this one
_UNANSWERED = 2  # looks at one that was asked for a heartbeat, after which the same

_log = structlog.get_logger("router.node.processes")


class Process:
    """One process, from its start on. `number` is its slot: 0 the control process, from 1 the workers. It sends a heartbeat
    every `heartbeat` seconds.

    `log_levels` are the supervisor's own, which the control process sets. A fresh interpreter: it inherits no thread, no loop and no memory, and has the code of now.
    """

    def __init__(
        self,
        number: int,
        sockets: Mapping[str, socket.socket],
        on_end: Callable[["Process"], object],
        log_levels: LogLevels,
        heartbeat: float,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self.number = number
        self.settled = asyncio.Event()
        """It is ready, has failed or has ended."""
        self.ended = asyncio.Event()
        self.is_ready = False
        self.failure: str | None = None
        self.problems: list[tuple[str, str]] = []
        self.ready_at = 0.0
        self._heartbeat = heartbeat
        self._silent: float | None = None  # seconds since its last heartbeat in which we ran; None before its first
        self._counted = 0.0  # until when
        self._unanswered: int | None = None  # looks at it since it was asked for a heartbeat; None: it has answered
        self._stands_in = self._answers = False
        self._on_end = on_end
        self._log_levels = log_levels
        self._drain_limit = 0.0
        self._killing: asyncio.TimerHandle | None = None
        ours, theirs = pair()
        names = [f"{name}={opened.fileno()}" for name, opened in sockets.items()]
        try:
            # -P: a `router` in the working directory is not ours.
            self._popen = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", "router.node.processes", str(theirs.fileno()), *names],
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
        self._control_socket = ControlSocket(ours, TO_SUPERVISOR, self._hear)
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

    @property
    def accepts(self) -> bool:
        """Whether it serves, and its loop went round a moment ago."""
        return self.serves and not self.is_late

    @property
    def is_late(self) -> bool:
        """Whether a heartbeat should have come by now."""
        if self._silent is not None and self._silent >= self._heartbeat * _LATE:
            return True
        return (self._unanswered or 0) >= _UNANSWERED

    @property
    def can_stand_in(self) -> bool:
        """Whether it accepts, and can do so on another worker's socket too (a version from before that can't)."""
        return self.accepts and self._stands_in

    def send(self, message: Message, passed: socket.socket | None = None) -> bool:
        """Send it a message; whether it went off."""
        sent = self._control_socket.send(message, passed)
        if not sent and not self.ended.is_set():
            _log.warning("process not reachable", number=self.number, pid=self.pid, message=message.do)
        return sent

    def drain(self, *, replaced: bool, stay: bool = False) -> None:
        """Let it end what is under way, and then itself, unless it is to stay. It is killed where it does not."""
        if self._killing is None and not self.ended.is_set():
            self.send(Drain(replaced=replaced, stay=stay))
            if not stay:
                self._kill_after(self._drain_limit + _MARGIN)

    def end(self) -> None:
        """End it now, whatever is under way."""
        if not self.ended.is_set():
            self.send(End())
            self._kill_after(_MARGIN)

    def ask(self) -> None:
        """Have it send a heartbeat now: its loop goes round if it does."""
        if self._answers and self._unanswered is None and not self.ended.is_set() and self.send(HeartbeatRequest()):
            self._unanswered = 0

    def has_answered(self) -> bool:
        """Whether it has sent one since. Looks are counted, not seconds: a supervisor that was itself stopped has not looked."""
        if self._unanswered is None:
            return True
        self._unanswered += 1
        return False

    def count_silence(self, limit: float) -> None:
        """To be called at least every heartbeat. It is killed once it has been silent for longer than `limit` seconds.

        Of the time since the last call one heartbeat counts at most: a supervisor that was itself stopped for an hour has
        missed one of everybody's.
        """
        if self._silent is None or self.ended.is_set():
            return
        now, before = self._loop.time(), self._silent
        self._silent += min(self._heartbeat, now - self._counted)
        self._counted = now
        if before <= limit < self._silent:
            _log.error("process not responding: killed", number=self.number, pid=self.pid)
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
        _log.error("process did not end: killed", number=self.number, pid=self.pid)
        self.kill()

    def _hear(self, message: Message | None, _passed: socket.socket | None) -> None:
        match message:
            case Heartbeat():
                self._silent, self._counted, self._unanswered = 0.0, self._loop.time(), None
            case Ready():
                if not self.number:
                    self._log_levels.close()  # it knows of none
                self.is_ready, self._drain_limit = True, message.drain
                self._stands_in, self._answers = message.stands_in, message.answers
                self.ready_at = asyncio.get_running_loop().time()
                self.settled.set()
            case Failed():
                self.failure = message.reason
                self.problems = [(key, what) for key, what in message.settings]
            case SetLogLevels():
                self._log_levels.replace(from_json(message.levels))
            case _:
                pass  # it has closed its end, and is about to exit

    def _over(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._handle)
        os.close(self._handle)
        status = self._popen.wait()
        if self._killing is not None:
            self._killing.cancel()
        self._control_socket.finish()  # why it could not start, where that and its end are seen in one turn of the loop
        if self.failure is None and not self.is_ready:
            self.failure = _ended(status)
        self.ended.set()
        self.settled.set()
        log = _log.info if status == 0 else _log.error
        log("process ended", number=self.number, pid=self.pid, how=_ended(status))
        self._on_end(self)


def _ended(status: int) -> str:
    return f"it was killed by signal {-status}" if status < 0 else f"it ended with status {status}"


def introduce(one: Process, other: Process) -> None:
    """Connect the two with a socket pair."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one.send(Connect(other.number), ours)
        other.send(Connect(one.number), theirs)
