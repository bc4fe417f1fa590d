"""Long connections: `python -m bench.sockets MODE PORT COUNT`, hosts on standard input, one a line, then `.`

    echo      WebSockets that send 64 bytes and, when these have come back, again
    events    event streams, whose events are counted
    tunnels   WebSockets on which nothing happens
    clients   clients that have had a response, and do nothing more

When all are open it prints a line of JSON, and another one for each further line of its input: what has passed so far.
"""

import asyncio
import json
import os
import sys
import time
from itertools import cycle, islice
from typing import cast

import uvloop

_SIZE = 64
# A masked frame (RFC 6455 §5.3). With a mask of zeros what stands in it is what is meant, and the backend's echo is cheap.
_FRAME = b"\x82" + bytes((0x80 | _SIZE,)) + bytes(4) + os.urandom(_SIZE)
_ANSWER = 2 + _SIZE
_AT_ONCE = 100  # connections that are opened together


class _Counts:
    passed = 0
    failed = 0


class _Connection(asyncio.Protocol):
    def __init__(self, mode: str, head: bytes, counts: _Counts) -> None:
        self._echoes, self._event = mode == "echo", mode == "events"
        self._head = head
        self._counts = counts
        self._buffer = b""
        self._left = _ANSWER
        self._speaks = False
        self.opened = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        if not self._speaks:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            data = self._buffer[end + 4 :]
            self._speaks = True
            if self._buffer[9:12] not in (b"101", b"200"):
                self._counts.failed += 1
            self.opened.set_result(None)
            if not data:
                return
        if self._event:
            self._counts.passed += data.count(b"data: ")
        elif self._echoes:
            self._left -= len(data)
            if self._left <= 0:
                self._left += _ANSWER
                self._counts.passed += 1
                self.transport.write(_FRAME)

    def begin(self) -> None:
        if self._echoes:
            self.transport.write(_FRAME)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._counts.failed += 1
        if not self.opened.done():
            self.opened.set_result(None)


def _head(mode: str, host: str) -> bytes:
    lines = [f"GET /{mode} HTTP/1.1", f"Host: {host}", "User-Agent: bench"]
    if mode == "events":
        lines.append("Accept: text/event-stream")
    elif mode != "clients":
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines.append("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _run(mode: str, port: int, count: int, hosts: list[str]) -> None:
    loop = asyncio.get_running_loop()
    counts = _Counts()
    heads = [_head(mode, host) for host in islice(cycle(hosts), count)]
    opened: list[_Connection] = []
    for at in range(0, count, _AT_ONCE):
        some = [
            loop.create_connection(lambda head=head: _Connection(mode, head, counts), "127.0.0.1", port)
            for head in heads[at : at + _AT_ONCE]
        ]
        opened += [protocol for _, protocol in await asyncio.gather(*some)]
        await asyncio.gather(*(one.opened for one in opened[at:]))
    for one in opened:
        one.begin()

    def say() -> None:
        print(json.dumps({"passed": counts.passed, "failed": counts.failed, "at": time.monotonic()}), flush=True)

    say()
    ended = asyncio.Event()

    def asked() -> None:
        said = os.read(0, 4096)
        for _ in range(said.count(b"\n")):
            say()
        if not said:
            ended.set()

    loop.add_reader(0, asked)
    await ended.wait()


def main() -> None:
    mode, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hosts = list(iter(_line, "."))
    uvloop.run(_run(mode, port, count, hosts))


def _line() -> str:
    """One line, and not a byte more than that: what follows is read from the descriptor."""
    read = bytearray()
    while (byte := os.read(0, 1)) not in (b"\n", b""):
        read += byte
    return read.decode("ascii")


if __name__ == "__main__":
    main()
