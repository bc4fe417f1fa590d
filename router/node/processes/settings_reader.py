"""A process that reads the settings for a worker, and ends: what reads them is a quarter of what a worker would hold. It says which
version this is, too.

It is forked before anything else is imported, so it has the worker's own version of the code, whichever version the supervisor
has; and on a second processor it gets ready while the worker imports what it works with.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from router.settings import Settings

_TIMEOUT = 30.0  # seconds to read them; a tenth of a second of processor time
_CHUNK = 64 * 1024


class SettingsReader:
    """The process, as the worker sees it."""

    def __init__(self, end: socket.socket, pid: int) -> None:
        self._end = end
        self._pid = pid

    @classmethod
    def fork(cls) -> Self:
        """Start it. From now on this process can't import pydantic. To be called while no thread but this one runs."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            ours.close()
            # The kernel ends the reader after that time, also if the worker was killed and can no longer do so.
            signal.alarm(int(_TIMEOUT))
            _read(theirs)
        theirs.close()
        ours.setblocking(False)
        sys.modules["pydantic"] = None  # type: ignore[assignment] # see router/settings/model.py
        return cls(ours, pid)

    async def parse(self, values: Mapping[str, Any]) -> tuple["Settings", str]:
        """What `router.settings.parse` says to these values, and the program's version. Raises SettingsError."""
        from router.settings import SettingsError  # noqa: PLC0415 - it is of the classes that are chosen by `fork`
        from router.settings.model import unpacked  # noqa: PLC0415 - likewise

        loop = asyncio.get_running_loop()
        said = bytearray()
        try:
            async with asyncio.timeout(_TIMEOUT):
                await loop.sock_sendall(self._end, json.dumps(values).encode())
                self._end.shutdown(socket.SHUT_WR)
                while data := await loop.sock_recv(self._end, _CHUNK):
                    said += data
        except ConnectionError:  # it ended before it had read the question
            said.clear()
        finally:
            self.close()
        if not said:
            raise RuntimeError("the process that reads the settings ended without an answer")
        if said[:1] == b"!":
            raise SettingsError([(key, what) for key, what in json.loads(said[1:])])
        settings, version = unpacked(bytes(said))
        return settings, version

    def close(self) -> None:
        """End it, whatever it does."""
        if self._pid:
            self._end.close()
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _read(end: socket.socket) -> None:
    """Answer the one question, and end."""
    status = 1
    try:
        from router.base.version import installed_version  # noqa: PLC0415 - only here, and not in the worker
        from router.settings import SettingsError, parse  # noqa: PLC0415 - likewise
        from router.settings.model import packed  # noqa: PLC0415 - likewise

        asked = bytearray()
        while data := end.recv(_CHUNK):
            asked += data
        if asked:
            try:
                said = packed((parse(json.loads(asked)), installed_version()))
            except SettingsError as error:
                said = b"!" + json.dumps(error.problems).encode()
            end.sendall(said)
        status = 0
    except BaseException:  # noqa: BLE001 - it must not go on as a worker
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)
