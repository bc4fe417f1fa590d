"""Frames, in whatever pieces they come; whole conversations are in tests/wire/test_http2*.py."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from router.http2.session import PREFACE, WINDOW, ConnectionFault, Session, Stream


class Told:
    """A stream that notes what it hears."""

    def __init__(self, notes: list[object]) -> None:
        self.notes = notes
        self.number = self.send_window = self.receive_window = self.owed = 0
        self.sending = self.receiving = self.begun = False

    def on_head(self, fields: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        self.notes.append((self.number, fields, ended))

    def on_data(self, data: bytes, *, ended: bool) -> None:
        self.notes.append((self.number, data, ended))

    def on_trailers(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.notes.append((self.number, fields))

    def on_reset(self, code: int) -> None:
        self.notes.append(("reset", code))

    def on_window(self) -> None:
        self.notes.append("window")


class Side:
    """One end of a connection in memory."""

    def __init__(self, *, client: bool) -> None:
        self.notes: list[object] = []
        self.session = Session(self, client=client, max_headers=65536)

    def on_new_stream(self) -> Stream | None:
        return Told(self.notes)

    def on_settings(self) -> None:
        self.notes.append("settings")

    def on_window(self) -> None:
        pass

    def on_goaway(self, last: int) -> None:
        self.notes.append(("goaway", last))

    def said(self) -> bytes:
        """What it has to say."""
        data = b"".join(self.session.out)
        self.session.out.clear()
        return data

    def hear(self, data: bytes) -> None:
        self.session.receive(data)
        while self.session.step(3):
            pass


def pair() -> tuple[Side, Side]:
    """A client and a server that know each other's settings."""
    client, server = Side(client=True), Side(client=False)
    for _ in range(2):
        server.hear(client.said())
        client.hear(server.said())
    client.notes.clear()
    server.notes.clear()
    return client, server


HEAD = [(b":method", b"POST"), (b"x-long", b"y" * 40_000)]
TRAILERS = [(b"grpc-status", b"0")]


@settings(max_examples=50, deadline=None)
@given(cuts=some.lists(some.integers(1, 70_000), max_size=12))
def test_frames_in_any_pieces(cuts: list[int]) -> None:
    """However the bytes are cut, the same is heard: a head in several frames, bodies, trailers."""
    client, server = pair()
    stream = Told(client.notes)
    client.session.open(stream)
    client.session.send_head(stream, HEAD, end=False)
    for piece in (b"a", b"b" * 16_384, b""):
        client.session.send_data(stream, piece, end=False)
    client.session.send_head(stream, TRAILERS, end=True)
    data = client.said()
    at = 0
    for cut in sorted(cuts):
        server.hear(data[at:cut])
        at = max(at, cut)
    server.hear(data[at:])
    assert server.notes == [(1, HEAD, False), (1, b"a", False), (1, b"b" * 16_384, False), (1, TRAILERS)]


@settings(max_examples=200, deadline=None)
@given(data=some.binary(max_size=300))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    """There is no other end than a fault of the connection."""
    server = Side(client=False)
    with contextlib.suppress(ConnectionFault):
        server.hear(PREFACE + b"\0\0\0\4\0\0\0\0\0" + data)


@settings(max_examples=200, deadline=None)
@given(
    frames=some.lists(
        some.tuples(some.integers(0, 10), some.integers(0, 255), some.integers(0, 5), some.binary(max_size=20)),
        max_size=12,
    )
)
def test_any_frames_are_taken_or_refused(frames: list[tuple[int, int, int, bytes]]) -> None:
    """As above, of bytes that are frames."""
    server = Side(client=False)
    sent = [
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload
        for kind, flags, number, payload in frames
    ]
    with contextlib.suppress(ConnectionFault):
        server.hear(PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"".join(sent))
    assert len(server.session.streams) <= len(frames)


def test_windows() -> None:
    """A stream may send a window full, and as much more as has been taken."""
    client, server = pair()
    stream = Told(client.notes)
    client.session.open(stream)
    client.session.send_head(stream, HEAD[:1], end=False)
    sent = 0
    while client.session.may_send(stream):
        size = client.session.may_send(stream)
        client.session.send_data(stream, b"x" * size, end=False)
        sent += size
    # The connection's window has come with its settings, so the stream's is what ends first.
    assert sent == WINDOW
    server.hear(client.said())
    (there,) = server.session.streams.values()
    server.session.taken(there, WINDOW // 2)
    client.hear(server.said())
    assert client.notes == ["window"]
    assert client.session.may_send(stream) > 0


def test_streams_of_a_connection_that_leaves_go_on() -> None:
    """After GOAWAY a new stream is refused, and may be tried elsewhere; those that are open end as they would have."""
    client, server = pair()
    stream = Told(client.notes)
    client.session.open(stream)
    client.session.send_head(stream, HEAD[:1], end=True)
    server.hear(client.said())
    server.session.leave()
    server.session.leave()
    client.hear(server.said())
    assert client.notes == [("goaway", 1)]
    late = Told(client.notes)
    client.session.open(late)
    client.session.send_head(late, HEAD[:1], end=True)
    server.hear(client.said())
    (there,) = server.session.streams.values()
    server.session.send_head(there, [(b":status", b"200")], end=True)
    client.hear(server.said())
    assert client.notes[1:] == [("reset", 7), (0, [(b":status", b"200")], True)]
    assert not client.session.streams
    assert not server.session.streams


def test_debts_are_forgiven_with_time() -> None:
    """Pings every now and then are no flood."""
    server = pair()[1]
    ping = b"\0\0\x08\6\0\0\0\0\0" + bytes(8)
    for _ in range(20):
        server.hear(ping * 1000)
        server.session.forgive(1000)
        server.said()
    with pytest.raises(ConnectionFault, match="about nothing"):
        server.hear(ping * 5000)


class Counted(Told):
    """A stream that counts how often its window is set."""

    changes = 0

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "send_window":
            self.changes += 1


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + b"\0\0\0\0" + payload


def test_settings_that_say_a_window_again_and_again_change_windows_once() -> None:
    """What one frame costs does not grow with how often it says the same."""
    client, _ = pair()
    stream = Counted(client.notes)
    client.session.open(stream)
    before, stream.changes = stream.send_window, 0
    windows = [before + 1, before - 7] * 31 + [before + 5]
    client.hear(frame(4, b"".join(b"\0\4" + window.to_bytes(4, "big") for window in windows)))
    assert (stream.send_window, stream.changes) == (before + 5, 1)


def test_a_step_ends_early_where_frames_are_much_work() -> None:
    """Between two looks at the time stand as many small frames as a step may take, but few large ones, and few settings where
    they concern many streams."""
    client, _ = pair()
    for _ in range(256):
        client.session.open(Told(client.notes))
    for payload, kind, most in ((b"12345678", 6, 16), (b"x" * 60_000, 0x77, 2), (b"\0\4\0\0\1\0", 4, 2)):
        one = frame(kind, payload)
        client.session.receive(one * 20)
        held = client.session.held
        assert client.session.step(16)
        assert held - client.session.held <= most * len(one)
        while client.session.step(16):
            pass
