"""gRPC through the router and through Caddy: `python -m bench.grpc [--quick]`, two minutes.

Both take HTTP/2 without TLS and speak it to the same backend, in the same run, one after the other: ours, and Caddy's own
reverse_proxy. Measured are

- unary calls of 20 bytes each way, 64 at once on one connection: calls per second, and processor time of the proxy per call;
- the same with 100 at once;
- one GiB to the client, and one GiB to the backend, in one stream.

The client and the backend are frames made in advance, so that what they cost does not hide what the proxy does. Goal: at
most twice Caddy's processor time per call, and per GiB. The exit status says whether it is met. The proxy has core 1 to
itself where there are two.
"""

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from hpack import Encoder

from bench.measure import cpu_seconds, family, pin
from tests.support.ports import answers, free_port
from tests.support.processes import BIN, Process
from tests.support.router import PLATFORM_DOMAIN, Router

HOST = f"grpc.{PLATFORM_DOMAIN}"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW = (1 << 31) - 1 - 65_535
_PIECE = 16_384
_FIRST = 65_535  # a window of which nothing was said
_GIB = 1 << 30
_CORES = (0, 1)
_PATIENCE = 120.0
_GOAL = 2.0


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


# Windows as large as they can be: they are not what is measured.
HELLO = frame(4, 0, 0, b"\0\4" + (0x7FFFFFFF).to_bytes(4, "big")) + frame(8, 0, 0, _WINDOW.to_bytes(4, "big"))


def initial_window(settings: bytes) -> int:
    """How much of a stream the other side takes before it says more."""
    for at in range(0, len(settings), 6):
        if settings[at : at + 2] == b"\0\4":
            return int.from_bytes(settings[at + 2 : at + 6], "big")
    return _FIRST


def _frames(held: bytes) -> tuple[list[tuple[int, int, int, int, int]], bytes]:
    """(kind, flags, stream, begin, end) of the whole frames, and what is left."""
    found, at = [], 0
    while len(held) - at >= 9:
        end = at + 9 + int.from_bytes(held[at : at + 3], "big")
        if end > len(held):
            break
        found.append((held[at + 3], held[at + 4], int.from_bytes(held[at + 5 : at + 9], "big"), at + 9, end))
        at = end
    return found, held[at:]


class Backend:
    """Answers each call at once; one that asks for `/big` gets a GiB, and one to `/sink` is read."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve for ever."""
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        encoder = Encoder()
        fields = [(b":status", b"200"), (b"content-type", b"application/grpc")], [(b"grpc-status", b"0")]
        # As they are said the first time, and from then on.
        head, trailers = [encoder.encode(one) for one in fields]
        next_head, next_trailers = [encoder.encode(one) for one in fields]
        message = b"\0\0\0\0\x0f" + b"y" * 15
        held = b""
        greeted = False
        window = Window()
        with suppress(OSError):
            sock.sendall(HELLO)
            while data := sock.recv(1 << 18):
                held += data
                if not greeted:
                    if len(held) < len(PREFACE):
                        continue
                    held = held[len(PREFACE) :]
                    greeted = True
                frames, rest = _frames(held)
                out = []
                for kind, flags, stream, begin, end in frames:
                    if kind == 4 and not flags & 1:
                        window.grow(initial_window(held[begin:end]) - _FIRST)
                        out.append(frame(4, 1, 0))
                    elif kind == 6 and not flags & 1:
                        out.append(frame(6, 1, 0, held[begin:end]))
                    elif kind == 8 and stream:
                        window.grow(int.from_bytes(held[begin:end], "big"))
                    elif kind == 0 and end - begin > 4096:
                        credit = (end - begin).to_bytes(4, "big")
                        out.append(frame(8, 0, 0, credit) + frame(8, 0, stream, credit))
                    if kind == 1 and flags & 1:  # no message: it wants a GiB
                        with window.lock:
                            sock.sendall(frame(1, 4, stream, head))
                        sending = threading.Thread(
                            target=self._send_big, args=(sock, stream, window, trailers), daemon=True
                        )
                        sending.start()
                    elif kind == 0 and flags & 1:
                        out.append(
                            frame(1, 4, stream, head) + frame(0, 0, stream, message) + frame(1, 5, stream, trailers)
                        )
                        head, trailers = next_head, next_trailers
                held = rest
                if out:
                    with window.lock:
                        sock.sendall(b"".join(out))

    @staticmethod
    def _send_big(sock: socket.socket, stream: int, window: "Window", trailers: bytes) -> None:
        """A GiB as the stream's window lets it."""
        piece = frame(0, 0, stream, bytes(_PIECE))
        left = _GIB
        with suppress(OSError):
            while left:
                count = window.take(left)
                with window.lock:
                    sock.sendall(piece * (count // _PIECE))
                left -= count
            with window.lock:
                sock.sendall(frame(1, 5, stream, trailers))


class Window:
    """What a stream may send, and who may write to its socket."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._room = _FIRST
        self._grown = threading.Condition()

    def grow(self, size: int) -> None:
        with self._grown:
            self._room += size
            self._grown.notify()

    def take(self, left: int) -> int:
        """Whole pieces, as soon as there is room for one."""
        with self._grown:
            while self._room < _PIECE:
                if not self._grown.wait(_PATIENCE):
                    raise TimeoutError
            size = min(self._room // _PIECE, left // _PIECE, 16) * _PIECE
            self._room -= size
            return size


@dataclass
class Result:
    seconds: float
    cpu: float
    count: float

    @property
    def cost(self) -> float:
        return self.cpu / self.count


class Client:
    """One connection, in whose bytes all is prepared."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._encoder = Encoder()
        self._next = 1
        self._held = b""
        self._sock.sendall(PREFACE + HELLO)

    def _block(self, path: bytes) -> bytes:
        return self._encoder.encode(
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":authority", HOST.encode()),
                (b":path", path),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", b"grpc-python/1.85.0 grpc-c/53.0.0 (linux; chttp2)"),
                (b"grpc-accept-encoding", b"identity, deflate, gzip"),
                (b"grpc-timeout", b"5S"),
            ]
        )

    def calls(self, count: int, at_once: int) -> None:
        """So many calls, so many at once; each must end with its trailers."""
        block = self._block(b"/pkg.Service/Call")
        message = b"\0\0\0\0\x0f" + b"x" * 15
        sent = done = 0
        while done < count:
            out = []
            while sent < count and sent - done < at_once:
                out.append(frame(1, 4, self._next, block) + frame(0, 1, self._next, message))
                block = self._block(b"/pkg.Service/Call") if sent < 2 else block
                self._next += 2
                sent += 1
            if out:
                self._sock.sendall(b"".join(out))
            done += self._read()[0]

    def _read(self) -> tuple[int, int]:
        """(streams that have ended, bytes of bodies)."""
        data = self._sock.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        frames, rest = _frames(self._held + data)
        held, self._held = self._held + data, rest
        ended = size = 0
        out = []
        for kind, flags, stream, begin, end in frames:
            if kind == 1 and flags & 1:
                ended += 1
            elif kind == 0:
                size += end - begin
                if end - begin > 4096:
                    credit = (end - begin).to_bytes(4, "big")
                    out.append(frame(8, 0, 0, credit) + frame(8, 0, stream, credit))
            elif kind == 3:
                raise ConnectionError(f"stream {stream} reset")
            elif kind == 4 and not flags & 1:
                self._initial = initial_window(held[begin:end])
                self._stream_room += self._initial - _FIRST
                out.append(frame(4, 1, 0))
            elif kind == 6 and not flags & 1:
                out.append(frame(6, 1, 0, held[begin:end]))
            elif kind == 8:
                self._room(stream, int.from_bytes(held[begin:end], "big"))
        if out:
            self._sock.sendall(b"".join(out))
        return ended, size

    def _room(self, stream: int, size: int) -> None:
        if stream:
            self._stream_room += size
        else:
            self._connection_room += size

    _initial = 65_535
    _stream_room = 65_535
    _connection_room = 65_535

    def download(self) -> None:
        """A GiB in one response."""
        stream, self._next = self._next, self._next + 2
        self._sock.sendall(frame(1, 5, stream, self._block(b"/big")))
        got = ended = 0
        while not ended:
            ended, size = self._read()
            got += size
        if got != _GIB:
            raise ConnectionError(f"{got} bytes")

    def upload(self) -> None:
        """A GiB in one request."""
        stream, self._next = self._next, self._next + 2
        self._stream_room = self._initial
        self._sock.sendall(frame(1, 4, stream, self._block(b"/sink")))
        piece = frame(0, 0, stream, bytes(_PIECE))
        left = _GIB
        while left:
            count = min(self._stream_room // _PIECE, self._connection_room // _PIECE, left // _PIECE, 16)
            if count > 0:
                self._sock.sendall(piece * count)
                self._stream_room -= count * _PIECE
                self._connection_room -= count * _PIECE
                left -= count * _PIECE
            else:
                self._read()
        self._sock.sendall(frame(0, 1, stream))
        while not self._read()[0]:
            pass

    def close(self) -> None:
        self._sock.close()


CADDYFILE = """
{{
	admin off
	auto_https off
	servers {{
		protocols h1 h2c
	}}
}}
http://:{port} {{
	reverse_proxy 127.0.0.1:{backend} {{
		transport http {{
			versions h2c
		}}
	}}
}}
"""


def _caddy(folder: Path, backend: int) -> tuple[Process, int]:
    port = free_port()
    file = folder / "Caddyfile"
    file.write_text(CADDYFILE.format(port=port, backend=backend))
    command = [BIN / "caddy", "run", "--config", file, "--adapter", "caddyfile"]
    return Process(command, folder / "caddy.log", {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}), port


def _measure(process: Process, port: int, what: str, count: int) -> Result:
    client = Client(port)
    if what.startswith("calls"):
        client.calls(2000, 64)  # warm
    began, cpu = time.monotonic(), sum(map(cpu_seconds, family(process.pid)))
    if what == "download":
        client.download()
    elif what == "upload":
        client.upload()
    else:
        client.calls(count, int(what.partition("-")[2]))
    seconds = time.monotonic() - began
    used = sum(map(cpu_seconds, family(process.pid))) - cpu
    client.close()
    return Result(seconds, used, count if what.startswith("calls") else 1)


def main() -> int:
    """Run it; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="fewer calls, and no GiB")
    quick = options.parse_args().quick
    served = Backend()
    backend = os.fork()
    if backend == 0:
        served.run()
    whats = {"calls-64": 10_000 if quick else 20_000, "calls-100": 10_000 if quick else 20_000}
    if not quick:
        whats |= {"download": 1, "upload": 1}
    missed = False
    with ExitStack() as stack:
        stack.callback(os.kill, backend, signal.SIGKILL)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "router").mkdir()
        router = Router(folder / "router", access_log=folder / "access.log", limits__exchanges_per_resource=2000)
        router.command("db", "upgrade")
        router.start()
        stack.callback(router.process.stop)
        router.register(router.tenant("Bench"), "grpc", served.port, protocols={"3000": "h2c"})
        peer, peer_port = _caddy(folder, served.port)
        stack.enter_context(peer)
        peer.until(lambda: answers(peer_port))
        for process in (router.process, peer):
            with suppress(OSError):
                pin(process.pid, _CORES[1])
        for what, count in whats.items():
            ours = _measure(router.process, router.proxy_port, what, count)
            theirs = _measure(peer, peer_port, what, count)
            ratio = ours.cost / theirs.cost
            missed = missed or ratio > _GOAL
            if what.startswith("calls"):
                shown = [f"{one.count / one.seconds:8.0f}/s {one.cost * 1e6:6.0f} µs/call" for one in (ours, theirs)]
            else:
                shown = [f"{1 / one.seconds:8.2f} GiB/s {one.cost:5.2f} s/GiB" for one in (ours, theirs)]
            print(f"{what:10} ours {shown[0]}   caddy {shown[1]}   {ratio:.2f} times", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
