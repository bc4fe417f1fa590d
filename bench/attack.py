"""Hostile traffic for `bench/neighbours.py`, on loopback only: `python -m bench.attack serve PORT`, the backend of it, and
`python -m bench.attack run SHAPE PORT HOST SECONDS`, its clients. Big buffers that are made beforehand, blocking sockets and
a thread for each connection: the kernel does nearly all of the work. It ends by itself, or with its parent.
"""

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)
_LONGEST = 20.0  # seconds that anything here lasts
_BACKLOG = 4096

_ONE = b"1\r\nx\r\n" * 100_000
_HUNDRED = (b"64\r\n" + b"x" * 100 + b"\r\n") * 5_000
_PLAIN = b"x" * 1_000_000
_FRAMES = b"\x82\x01x" * 200_000  # WebSocket frames of one byte, unmasked as servers send them
_MASKED = b"\x82\x81\x00\x00\x00\x00x" * 100_000
_SLOW = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 10_000_000
_EVENT = b"1\r\n\n\r\n"
_MB = 1_000_000


# The backend.


def _heads(number: int) -> bytes:
    lines = b"".join(b"X-%d-%d: %d\r\n" % (number, line, number * line) for line in range(100))
    return b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\n\r\nok"


def _answer(sock: socket.socket, path: bytes, number: int) -> bool:
    """Answer one request; whether another may follow on the connection."""
    if path == b"/heads":
        sock.sendall(_heads(number))
        return True
    if path == b"/slow":
        sock.sendall(_SLOW)
        return True
    if path == b"/sized":
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1000 * _MB))
        for _ in range(1000):
            sock.sendall(_PLAIN)
        return True
    if path == b"/ws":
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        threading.Thread(target=_drain, args=(sock,), daemon=True).start()
    else:
        sock.sendall(_CHUNKED)
    data = {b"/one": _ONE, b"/hundred": _HUNDRED, b"/ws": _FRAMES, b"/events": _EVENT}.get(path)
    if data is None:  # an upload: read and never answered
        _drain(sock)
        return False
    while True:
        sock.sendall(data)


def _drain(sock: socket.socket) -> None:
    buffer = bytearray(1 << 20)
    with suppress(OSError):
        while sock.recv_into(buffer):
            pass


def _serve_one(sock: socket.socket) -> None:
    sock.settimeout(_LONGEST)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    read, number = b"", 0
    with sock, suppress(OSError):
        while True:
            while b"\r\n\r\n" not in read:
                got = sock.recv(65536)
                if not got:
                    return
                read += got
            head, _, read = read.partition(b"\r\n\r\n")
            number += 1
            if not _answer(sock, head.split(b" ")[1], number):
                return


def serve(port: int) -> None:
    """The backend, for as long as the process lives."""
    with socket.create_server(("127.0.0.1", port), backlog=_BACKLOG) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_serve_one, args=(sock,), daemon=True).start()


# The clients.


class Attack:
    """One shape against one proxy, until `end`."""

    def __init__(self, port: int, host: str, seconds: float) -> None:
        self.port, self.host = port, host.encode()
        self.end = time.monotonic() + seconds

    def connect(self, buffer: int | None = None) -> socket.socket:
        sock = socket.socket()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(max(0.1, self.end - time.monotonic()))
        sock.connect(("127.0.0.1", self.port))
        return sock

    def get(self, path: str, more: bytes = b"", host: bytes | None = None) -> bytes:
        return b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (path.encode(), host or self.host, more)

    @property
    def on(self) -> bool:
        return time.monotonic() < self.end

    def each(self, count: int, work: Callable[[], None]) -> None:
        """So many threads that work, again where they were cut off."""

        def again() -> None:
            while self.on:
                with suppress(OSError):
                    work()
                time.sleep(0.01)

        threads = [threading.Thread(target=again, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, self.end - time.monotonic()))

    def download(self, path: str, more: bytes = b"") -> None:
        buffer = bytearray(1 << 20)
        with self.connect() as sock:
            sock.sendall(self.get(path, more))
            while self.on and sock.recv_into(buffer):
                pass

    def upload(self) -> None:
        with self.connect() as sock:
            sock.sendall(b"POST /up HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % self.host)
            while self.on:
                sock.sendall(_ONE)

    def storm(self) -> None:
        key = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        with self.connect() as sock:
            sock.sendall(self.get("/ws", key))
            threading.Thread(target=_drain, args=(sock,), daemon=True).start()
            while self.on:
                sock.sendall(_MASKED)

    def pipelined(self) -> None:
        data = b"".join(self.get("/", host=b"nobody%d.example.org" % number) for number in range(10_000))
        with self.connect() as sock:
            threading.Thread(target=_drain, args=(sock,), daemon=True).start()
            sock.sendall(data)
            while self.on:
                time.sleep(0.05)

    def bad(self) -> None:
        socks = [self.connect() for _ in range(2000)]
        time.sleep(0.3)
        for sock in socks:
            with suppress(OSError):
                sock.send(b"GET / HTTP/1.1\r\nHost: a b\r\nbad header\r\n\r\n")
        while self.on:
            time.sleep(0.05)

    def slow(self, count: int) -> None:
        socks = [self.connect(4096) for _ in range(count)]
        for sock in socks:
            sock.sendall(self.get("/slow"))
            sock.setblocking(False)
        while self.on:
            for sock in socks:
                with suppress(OSError):
                    sock.recv(16_384)
            time.sleep(0.02)

    def heads(self) -> None:
        with self.connect() as sock:
            while self.on:
                sock.sendall(self.get("/heads"))
                got = b""
                while not got.endswith(b"\r\n\r\nok"):
                    more = sock.recv(65536)
                    if not more:
                        return
                    got += more

    def time_out(self) -> None:
        socks = [self.connect() for _ in range(3000)]
        for sock in socks:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        while self.on:
            time.sleep(0.05)

    def resets(self) -> None:
        """Five hundred a second: a request, and a reset before its answer."""
        began, done = time.monotonic(), 0
        while self.on:
            while done < (time.monotonic() - began) * 500:
                done += 1
                with self.connect() as sock:
                    sock.sendall(self.get("/one" if done % 2 else "/"))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            time.sleep(0.002)

    def leave(self) -> None:
        """A thousand event streams that all go at once."""
        socks = [self.connect() for _ in range(1000)]
        for sock in socks:
            sock.sendall(self.get("/events-of-nobody-yet"))
        time.sleep(0.5)
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
        while self.on:
            time.sleep(0.05)

    def run(self, shape: str) -> None:
        works: dict[str, tuple[int, Callable[[], None]]] = {
            "one-8": (8, lambda: self.download("/one")),
            "one-32": (32, lambda: self.download("/one")),
            "hundred-8": (8, lambda: self.download("/hundred")),
            "up-8": (8, self.upload),
            "sized-8": (8, lambda: self.download("/sized")),
            "ws-8": (8, self.storm),
            "unknown": (1, self.pipelined),
            "bad": (1, self.bad),
            "slow-200": (1, lambda: self.slow(200)),
            "slow-2000": (1, lambda: self.slow(2000)),
            "events-32": (32, lambda: self.download("/events")),
            "heads-8": (8, self.heads),
            "time-out": (1, self.time_out),
            "resets": (1, self.resets),
            "leave": (1, self.leave),
        }
        if shape == "nothing":
            time.sleep(max(0.0, self.end - time.monotonic()))
        else:
            self.each(*works[shape])


def main() -> None:
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        _, _, shape, port, host, seconds = sys.argv
        Attack(int(port), host, float(seconds)).run(shape)
    sys.stdout.flush()
    os._exit(0)  # threads that wait in the kernel are of no use any more


if __name__ == "__main__":
    main()
