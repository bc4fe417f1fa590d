"""Read what a backend had sent before a write to it failed.

A server that refuses an upload sends its response and closes while the rest of the upload is unread: its kernel resets
the connection. Our next write fails, and uvloop closes a transport on a write error without reading what has arrived. The
response is still there: Linux keeps the receive queue of a connection that was reset, and returns it before the error. So
we read it to its end, as RFC 9112 §9.5 asks, on a duplicate of the socket, which outlives the transport.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from router.proxy.socket_state import file_of

_PIECE: Final = 64 * 1024  # bytes read in one turn of the loop


class Unread:
    """Made in `connection_lost`, where the socket is still open. Raises OSError where no descriptor is free.

    `on_data(data)` gets what had arrived, a piece in each turn of the loop; `on_end()` follows once, unless it was closed.
    """

    __slots__ = ("_file", "_loop", "_on_data", "_on_end", "_paused", "_scheduled")

    def __init__(
        self,
        transport: asyncio.BaseTransport,
        on_data: Callable[[bytes], None],
        on_end: Callable[[], None],
        *,
        paused: bool,
    ) -> None:
        self._file: int = os.dup(file_of(transport))
        self._loop = asyncio.get_running_loop()
        self._on_data = on_data
        self._on_end = on_end
        self._paused = paused
        self._scheduled = False
        self._schedule()

    def _schedule(self) -> None:
        # Nothing more arrives on a broken connection, so each read returns at once: we need not wait for readiness.
        if not self._scheduled and not self._paused and self._file >= 0:
            self._scheduled = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._scheduled = False
        if self._paused or self._file < 0:
            return
        try:
            data = os.read(self._file, _PIECE)
        except OSError:  # the reset, which comes after all that had arrived
            data = b""
        if data:
            self._on_data(data)
            self._schedule()
        else:
            self.close()
            self._on_end()

    def pause(self) -> None:
        """Read no more until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        self._schedule()

    def close(self) -> None:
        """Close the socket; what is not read yet is dropped."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
