"""A node of several processes, from outside: who has which connection, and traffic that notices every failure."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.processes import children


def workers(supervisor: int) -> list[int]:
    """The worker processes that run, starting and leaving ones included, in no order."""
    return [pid for pid in children(supervisor) if "proxy=" in _command(pid)]


def control(supervisor: int) -> list[int]:
    """The control processes that run."""
    return [pid for pid in children(supervisor) if "admin=" in _command(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def owner(port: int, client_port: int, processes: list[int]) -> int | None:
    """Which of the processes has accepted the connection from `client_port`; None where none has."""
    local, remote = f"0100007F:{port:04X}", f"0100007F:{client_port:04X}"
    inodes = {
        words[9]
        for words in map(str.split, Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
        if words[1:3] == [local, remote]
    }
    for pid in processes:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            if target.removeprefix("socket:[").removesuffix("]") in inodes:
                return pid
    return None


class Connection:
    """One kept-alive HTTP/1.1 connection. Raises ConnectionError or IncompleteReadError where it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.port = int(writer.get_extra_info("sockname")[1])
        self.last = False
        self.head = b""

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, host: str, *lines: str) -> tuple[int, bytes]:
        """(status, body) of a GET with these header lines. `last` says whether this answer was to be the connection's last, `head` is its head in
        lower case."""
        head_lines = "".join(f"{line}\r\n" for line in lines)
        self._writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n{head_lines}\r\n".encode())
        self.head = head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        self.last = b"connection: close" in head
        return int(head.split(b" ")[1]), body

    def close(self) -> None:
        self._writer.close()


class Traffic:
    """Requests on so many kept-alive connections at once, until it is left. `failures` has what went wrong, and where."""

    def __init__(self, port: int, host: str, connections: int, pause: float = 0.005) -> None:
        self._port = port
        self._host = host
        self._count = connections
        self._pause = pause
        self.open: set[Connection] = set()
        self.answers: Counter[int] = Counter()
        self.failures: list[tuple[int, str]] = []
        """(the connection's port, what happened)"""
        self._ending = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._count)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)

    async def _ask(self) -> None:
        while not self._ending:
            try:
                async with asyncio.timeout(10):
                    connection = await Connection.open(self._port)
            except (OSError, TimeoutError) as error:
                self.failures.append((0, repr(error)))
                continue
            self.open.add(connection)
            try:
                while not self._ending and not connection.last:
                    async with asyncio.timeout(10):
                        status, _ = await connection.get(self._host)
                    self.answers[status] += 1
                    if status != 200:
                        self.failures.append((connection.port, str(status)))
                    await asyncio.sleep(self._pause)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failures.append((connection.port, repr(error)))
            finally:
                self.open.discard(connection)
                connection.close()


def kill(pid: int) -> None:
    """As an operator's mistake or the kernel's memory killer would."""
    os.kill(pid, signal.SIGKILL)
