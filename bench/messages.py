"""What one message on a long connection costs: `python -m bench.messages events|echo`

    events   one request, and a response of which each read brings an event in a chunk, as in `bench.instructions`
    echo     a message of 64 bytes through a tunnel, and back: with the event loop and two sockets, since how these are read is
             most of what we can change. The figure has the kernel's part and the bench's own in it.

The least CPU time of many rounds.
"""

import argparse
import asyncio
import math
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.instructions import _HOST, _PAGE, Rig, _heads
from router.http1.bodies import chunk
from router.proxy.backend import BackendConnection
from router.proxy.client import ClientConnection

_MESSAGES = 1000  # of a round
_ROUNDS = 30
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'data: {"number": %d, "text": "something has happened"}\n\n'
_UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: " + _HOST + b"\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
_FRAME = b"\x82\xc0" + bytes(4) + b"x" * 64


def events(rig: Rig) -> float:
    """Microseconds for an event."""
    asyncio.run(rig.warm_up())
    rig.run(_heads(_PAGE, 1), _STREAM)
    reply = rig._backends[0].data_received  # noqa: SLF001 - one bench in two files
    reads = [chunk(_EVENT % number) for number in range(_MESSAGES)]
    least = math.inf
    for _ in range(_ROUNDS):
        begun = time.process_time()
        for read in reads:
            reply(read)
        least = min(least, time.process_time() - begun)
    return least / _MESSAGES * 1e6


async def echo(rig: Rig) -> float:
    """Microseconds for a message there and back."""
    worker = rig._worker  # noqa: SLF001 - as above
    pool = worker.prepare(await rig._resolver.resolve(_HOST)).pool  # noqa: SLF001
    outgoing = BackendConnection(worker, pool)
    client, backend = await _connect(ClientConnection(worker)), await _connect(outgoing)
    pool.sent(outgoing)
    pool.answered(outgoing, worker.now)
    pool.give(outgoing, worker.now)
    least = math.inf
    with client, backend:
        await _pass(client, backend, _UPGRADE)
        await _pass(backend, client, _SWITCH)
        for _ in range(_ROUNDS):
            begun = time.process_time()
            for _ in range(_MESSAGES):
                await _pass(client, backend, _FRAME)
                await _pass(backend, client, _FRAME)
            least = min(least, time.process_time() - begun)
    await rig._resolver.close()  # noqa: SLF001
    return least / _MESSAGES * 1e6


async def _connect(protocol: Any) -> socket.socket:
    """The other end of a connection of our own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: cast(asyncio.Protocol, protocol), accepted)
    return other


async def _pass(sender: socket.socket, receiver: socket.socket, data: bytes) -> None:
    sender.send(data)
    while True:
        await asyncio.sleep(0)  # a turn of the loop, in which it goes through
        try:
            receiver.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            continue
        return


def main() -> int:
    options = argparse.ArgumentParser(description="CPU time of one message on a long connection.")
    options.add_argument("what", choices=("events", "echo"))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="miosa-bench-") as folder:
        rig = Rig(Path(folder) / "access.log", private=False)
        least = events(rig) if chosen.what == "events" else uvloop.run(echo(rig))
    print(f"{least:.2f} µs for a message")
    return 0


if __name__ == "__main__":
    sys.exit(main())
