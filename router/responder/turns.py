"""Reads a socket in turns: some work, then a rest. A flood gets a fixed share of the event loop, and the kernel drops what
does not fit into the socket's buffer meanwhile, which costs this process nothing.

A packet that comes when nothing came before it does not wait: the rest follows the work.
"""

import asyncio
import socket
from collections.abc import Callable

from router.base.clock import Clock

WORK = 0.0005  # seconds of one turn, and one step more
REST = 0.002  # seconds between two turns: a fifth of a core is the most that a socket gets


class Turns:
    """`step` does one piece of work, and returns False when there is none."""

    def __init__(self, source: socket.socket, step: Callable[[], bool], clock: Clock) -> None:
        self._socket = source
        self._step = step
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        self._paused = self._closed = False
        self._loop.add_reader(source, self._turn)

    def pause(self) -> None:
        """Take no step until `resume`."""
        self._paused = True
        self._stop()

    def resume(self) -> None:
        """Go on, unless it is closed."""
        if self._closed:
            return
        self._paused = False
        self._stop()
        self._listen()

    def close(self) -> None:
        """Take no step any more. The socket stays open."""
        self._closed = True
        self.pause()

    def _stop(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._loop.remove_reader(self._socket)

    def _listen(self) -> None:
        self._resting = None
        self._loop.add_reader(self._socket, self._turn)

    def _turn(self) -> None:
        until = self._clock.monotonic() + WORK
        while self._step() and not self._paused and self._clock.monotonic() < until:
            pass
        if not self._paused:
            self._loop.remove_reader(self._socket)
            self._resting = self._loop.call_later(REST, self._listen)
