"""Return memory to the system when many connections have closed.

The C library keeps freed memory in the middle of its heap if a long-lived object lies above it. `malloc_trim` returns
those pages; that takes some milliseconds for a hundred megabytes, so we call it only when most of a crowd has left.
"""

import ctypes
from typing import Final

_MIN_CROWD: Final = 512  # connections; fewer are not worth the time


class Heap:
    """`check(connections)` is called by the sweep at each pass."""

    def __init__(self) -> None:
        self._most = 0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it; musl returns memory by itself

    def check(self, connections: int) -> bool:
        """Return memory if most of a crowd has left since the last time; whether it was done."""
        self._most = max(self._most, connections)
        if self._most < _MIN_CROWD or connections > self._most // 4:
            return False
        self._most = connections
        if self._trim is not None:
            self._trim(0)
        return True
