"""The program behind the proxies: 100 bytes for every request, as cheaply as Python can. `backend.py PORT`"""

import asyncio
import sys

import uvloop

_BODY = b"x" * 100
_ANSWER = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + _BODY


class _Backend(asyncio.Protocol):
    """Answers when a head is complete; the load sends no bodies."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        heads = self._buffer.count(b"\r\n\r\n")
        if heads:
            self._buffer = self._buffer.rpartition(b"\r\n\r\n")[2]
            self._transport.write(_ANSWER * heads)  # type: ignore[attr-defined]


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Backend, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
