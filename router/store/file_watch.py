"""Whether a file was written to, without looking again and again: Linux's inotify."""

import asyncio
import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_NONBLOCK_AND_CLOSE = 0o2004000  # of <sys/inotify.h>, as the next
_MODIFIED_OR_GONE = 0x2 | 0x400 | 0x800  # IN_MODIFY, IN_DELETE_SELF, IN_MOVE_SELF
_EVENTS = 65536  # bytes of them that are read at once


class FileWatch:
    """Watches files, as they are when this is made."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raises OSError where that can't be had: another system, a file that isn't there, too many watches."""
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            raise OSError("no inotify here")
        self._file = _checked(libc.inotify_init1(_NONBLOCK_AND_CLOSE))
        try:
            for path in paths:
                _checked(libc.inotify_add_watch(self._file, os.fsencode(path), _MODIFIED_OR_GONE))
        except OSError:
            self.close()
            raise

    def take(self) -> bool:
        """Whether something was written since this was last called."""
        found = False
        with suppress(BlockingIOError):
            while os.read(self._file, _EVENTS):
                found = True
        return found

    async def written(self, within: float) -> None:
        """Wait until `take` would be true, at most so many seconds."""
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        loop.add_reader(self._file, there.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await there.wait()
        finally:
            loop.remove_reader(self._file)

    def close(self) -> None:
        os.close(self._file)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
