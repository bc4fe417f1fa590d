"""HTTP/2 with heads that differ: `python -m bench.h2_load PORT NAME FILE START SECONDS [--connections 8] [--streams 4]`

h2load sends the same header fields with each request, so this sends those of a file: frames that were made beforehand
(`write`), whose blocks don't depend on one another: fields are literals and no table is built up. The server is told to do
the same, so that the first bytes of a response's block are its status. What it counts is printed as JSON.
"""

import argparse
import json
import selectors
import socket
import ssl
import time
from collections.abc import Iterable
from pathlib import Path

from bench.grpc import PREFACE, frame
from bench.visitors import Visit

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _AWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WINDOW = (1 << 31) - 1 - 65_535
_NO_TABLE, _NO_PUSH, _INITIAL_WINDOW = 1, 2, 4  # settings
_GOOD = (0x88, 0x8B)  # :status 200 and 304, by their places in HPACK's table
_PATIENCE = 10.0  # seconds for what is open at the end
# Places in HPACK's table (RFC 7541, appendix A) of the names that visitors send.
_NAMES = {
    ":authority": 1, "accept": 19, "accept-encoding": 16, "accept-language": 17, "cookie": 32, "if-modified-since": 40,
    "if-none-match": 41, "referer": 51, "user-agent": 58,
}  # fmt: skip


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


_HELLO = (
    PREFACE
    + frame(_SETTINGS, 0, 0, _setting(_NO_TABLE, 0) + _setting(_NO_PUSH, 0) + _setting(_INITIAL_WINDOW, 0x7FFFFFFF))
    + frame(8, 0, 0, _WINDOW.to_bytes(4, "big"))
)


def _integer(value: int, bits: int, first: int = 0) -> bytes:
    """A number as HPACK writes it, after the `first` bits of its byte (RFC 7541, 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(words: str) -> bytes:
    return _integer(len(words), 7) + words.encode("ascii")


def _literal(name: str, value: str) -> bytes:
    place = _NAMES.get(name)
    return (_integer(place, 4) if place else b"\0" + _text(name)) + _text(value)


def block(visit: Visit) -> bytes:
    """The header block of a GET by https."""
    fields = [_literal(name.lower(), value) for name, value in visit.fields]
    path = _integer(4, 4) + _text(visit.target)  # :method GET and :scheme https have places of their own
    return b"".join([b"\x82\x87", _literal(":authority", visit.name), path, *fields])


def write(visits: Iterable[Visit], file: Path) -> None:
    """Their frames, for this program."""
    file.write_bytes(b"".join(frame(_HEADERS, _END_STREAM | _END_HEADERS, 0, block(visit)) for visit in visits))


def _read(file: Path) -> list[tuple[bytes, bytes]]:
    """What comes before the number of the stream in each frame, and what comes after it."""
    text, at, found = file.read_bytes(), 0, []
    while at < len(text):
        end = at + 9 + int.from_bytes(text[at : at + 3], "big")
        found.append((text[at : at + 5], text[at + 9 : end]))
        at = end
    return found


class _Load:
    """What all connections share: the requests in their order, and what is counted."""

    def __init__(self, file: Path, start: int, end: float) -> None:
        self._requests = _read(file)
        self._at = start
        self.end = end
        self.done = self.failed = 0

    def next(self, stream: int) -> bytes:
        before, after = self._requests[self._at % len(self._requests)]
        self._at += 1
        return before + stream.to_bytes(4, "big") + after


class _Connection:
    """One connection, with so many requests open at each moment."""

    def __init__(self, load: _Load, port: int, name: str, streams: int, context: ssl.SSLContext) -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(raw, server_hostname=name)
        if self.sock.selected_alpn_protocol() != "h2":
            raise ConnectionError("the server has not chosen HTTP/2")
        self._load = load
        self._stream = 1
        self.open = streams
        self._held = b""
        self.sock.sendall(_HELLO + b"".join(self._next() for _ in range(streams)))

    def _next(self) -> bytes:
        asked = self._load.next(self._stream)
        self._stream += 2
        return asked

    def read(self) -> None:
        """Take what has come, and ask anew for each response that is over."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the server has closed a connection")
        held = self._held + data if self._held else data
        at, length, out, received = 0, len(held), [], 0
        over = 0
        while length - at >= 9:
            size = int.from_bytes(held[at : at + 3], "big")
            end = at + 9 + size
            if end > length:
                break
            kind, flags = held[at + 3], held[at + 4]
            if kind == _DATA:
                received += size
                over += flags & _END_STREAM
            elif kind == _HEADERS:
                self._load.failed += not is_good(held[at + 9 : at + 13])
                over += flags & _END_STREAM
            elif kind == _RESET:
                self._load.failed += 1
                over += 1
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                out.append(frame(kind, _ACK, 0, held[at + 9 : end] if kind == _PING else b""))
            elif kind == _AWAY:
                raise ConnectionError("the server has had enough")
            at = end
        self._held = held[at:]
        self._load.done += over
        if received:
            out.append(frame(8, 0, 0, received.to_bytes(4, "big")))
        if time.monotonic() < self._load.end:
            out += [self._next() for _ in range(over)]
        else:
            self.open -= over
        if out:
            self.sock.sendall(b"".join(out))


def is_good(block: bytes) -> bool:
    """Whether a response's block begins with a status of 200 or 304, maybe after the size of the table."""
    status = block[1:2] if block[:1] == b"\x20" else block[:1]
    return status != b"" and status[0] in _GOOD


def run(
    port: int, name: str, file: Path, start: int, seconds: float, connections: int, streams: int
) -> dict[str, float]:
    """How many responses came, how many a second, and how many of them were no good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    load = _Load(file, start, 0.0)
    began = time.monotonic()
    load.end = began + seconds
    opened = [_Connection(load, port, name, streams, context) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for one in opened:
            selector.register(one.sock, selectors.EVENT_READ, one)
        while any(one.open for one in opened):
            if time.monotonic() > load.end + _PATIENCE:
                break
            for key, _ in selector.select(0.5):
                key.data.read()
                while key.data.sock.pending():
                    key.data.read()
    took = time.monotonic() - began
    for one in opened:
        one.sock.close()
    return {"done": load.done, "rate": load.done / took, "failed": load.failed + sum(one.open for one in opened)}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("port", type=int)
    words.add_argument("name")
    words.add_argument("file", type=Path)
    words.add_argument("start", type=int)
    words.add_argument("seconds", type=float)
    words.add_argument("--connections", type=int, default=8)
    words.add_argument("--streams", type=int, default=4)
    chosen = words.parse_args()
    found = run(chosen.port, chosen.name, chosen.file, chosen.start, chosen.seconds, chosen.connections, chosen.streams)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
