"""The programs behind the proxies: nginx for what is static, and this one for the rest, `python -m bench.backend PORT`

    /chunked   16 chunks of 1 KiB
    /events    an event stream, one event each tenth of a second
    an upgrade is a WebSocket whose binary frames come back
    /1m /100m  so many bytes, where there is no nginx; anything else gets 100

Bodies of requests are read and thrown away. The hosts of visitors (`bench/visitors.py`) get responses from nginx that differ
each time: 1 to 20 KiB, an ETag, a cookie, or a 304.
"""

import asyncio
import base64
import hashlib
import shutil
import sys
from pathlib import Path
from typing import cast

import uvloop

from bench.peers import STATIC
from bench.visitors import BODIES, FRESH
from tests.support.processes import Process
from tests.support.router import PLATFORM_DOMAIN

# Hosts have addresses of their own in life. Where 10,000 of them have one, the kernel looks long for a port from which to dial.
ADDRESSES = tuple(f"127.0.0.{number}" for number in range(1, 9))
_OK = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n"
_SIZES = {b"/1m": 1 << 20, b"/100m": 100 << 20}
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 16 + b"0\r\n\r\n"
_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVERY = 0.1
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_NGINX = """
worker_processes {workers};
worker_rlimit_nofile 60000;
daemon off;
pid {folder}/backend-nginx.pid;
error_log {folder}/backend-error.log;
events {{ worker_connections 50000; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  client_max_body_size 0;
  keepalive_requests 100000000;
  keepalive_timeout 3600s 3600s;
  sendfile on;
  default_type text/plain;
  map $http_if_none_match $unchanged {{ default 0; '~^"[{fresh}]' 1; }}
  split_clients $request_id $size {{ {sizes} }}
  map $size $content {{ {contents} }}
  server {{
    {listen}
    server_name *.{domain};
    set $kib "{kib}";
    location = / {{ return 200 "{body}"; }}
    location / {{
      default_type "text/html; charset=utf-8";
      add_header ETag '"$request_id"';
      add_header Cache-Control "private, no-cache";
      add_header Set-Cookie "session=$request_id; Path=/; HttpOnly; SameSite=Lax";
      add_header Vary "Accept-Encoding, Cookie";
      if ($unchanged) {{ return 304; }}
      return 200 $content;
    }}
  }}
  server {{
    listen 127.0.0.1:{port} default_server backlog=4096 reuseport;
    server_name {static};
    location / {{ return 200 "{body}"; }}
    location /assets/ {{ add_header ETag '"$request_id"'; return 200 "{body}"; }}
    location = /1m {{ root {folder}/files; }}
    location = /100m {{ root {folder}/files; }}
  }}
}}
"""


def start(folder: Path, port: int, *, workers: int = 1) -> Process:
    """The cheap backend: nginx where there is one, this program elsewhere."""
    if shutil.which("nginx") is None:
        return start_live(folder, port)
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for name, size in _SIZES.items():
        (files / name.decode()[1:]).write_bytes(b"x" * size)
    config = folder / "backend.conf"
    config.write_text(
        _NGINX.format(folder=folder, port=port, workers=workers, body="x" * 100, listen=_listen(port), **_differing())
    )
    return Process(["nginx", "-c", config, "-p", folder], folder / "backend.log")


def address_of(host: int) -> str:
    """Where the program of a host listens."""
    return ADDRESSES[host % len(ADDRESSES)]


def _listen(port: int) -> str:
    return "\n    ".join(f"listen {address}:{port};" for address in ADDRESSES)


def _differing() -> dict[str, str]:
    """What the configuration says of visitors' responses. A body is a number of the same KiB: a text may have 4 KiB at most."""
    sizes = range(BODIES[0], BODIES[1] + 1)
    shares = [f"{100 / len(sizes):.2f}% {size};" for size in sizes[:-1]]
    return {
        "domain": PLATFORM_DOMAIN,
        "static": STATIC,
        "fresh": FRESH,
        "kib": "".join(f"{line:063}\n" for line in range(16)),
        "sizes": " ".join([*shares, f"* {sizes[-1]};"]),
        "contents": " ".join(f"{size} '{'$kib' * size}';" for size in sizes),
    }


def start_live(folder: Path, port: int) -> Process:
    """The backend for chunked answers, event streams and WebSockets."""
    return Process([sys.executable, "-m", "bench.backend", str(port)], folder / f"backend-{port}.log")


class _Backend(asyncio.Protocol):
    """One connection. The proxies send no second request before the first is answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self._left = 0  # of a request's body
        self._answer = b""
        self._echoes = False

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
            if self._left <= 0:
                self._left = 0
                self.transport.write(self._answer)
        elif self._echoes:
            self._echo(data)
        else:
            self._buffer += data
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if end:
                self._buffer = b""
                self._take(head, rest)

    def _take(self, head: bytes, rest: bytes) -> None:
        path = head.split(b" ", 2)[1]
        lower = head.lower()
        if b"\r\nupgrade: websocket" in lower:
            key = head[lower.index(b"\r\nsec-websocket-key:") + 20 :].partition(b"\r\n")[0].strip()
            accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
            )
            self._echoes = True
        elif path == b"/events":
            self.transport.write(_EVENTS)
            _listening.add(self)
        else:
            self._answer = _CHUNKED if path == b"/chunked" else _sized(_SIZES.get(path, 100))
            length = lower.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
            self._left = int(length or b"0") - len(rest)
            if self._left <= 0:
                self._left = 0
                self.transport.write(self._answer)

    def _echo(self, data: bytes) -> None:
        """Frames come back unmasked. Only short ones, and only with a mask of zeros: `bench/sockets.py` sends no others."""
        data = self._buffer + data
        out = []
        at = 0
        while len(data) - at >= 6 and len(data) - at >= (size := data[at + 1] & 0x7F) + 6:
            out.append(bytes((data[at], size)) + data[at + 6 : at + 6 + size])
            at += 6 + size
        self._buffer = data[at:]
        self.transport.write(b"".join(out))

    def connection_lost(self, _exc: Exception | None) -> None:
        _listening.discard(self)


def _sized(length: int) -> bytes:
    return _OK + b"Content-Length: %d\r\n\r\n" % length + b"x" * length


_listening: set[_Backend] = set()  # to the events


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Backend, ADDRESSES, port, backlog=4096)
    async with server:
        number = 0
        while True:
            await asyncio.sleep(_EVERY)
            number += 1
            event = b'data: {"number": %d, "text": "something has happened"}\n\n' % number
            piece = b"%x\r\n%b\r\n" % (len(event), event)
            for connection in tuple(_listening):
                connection.transport.write(piece)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
