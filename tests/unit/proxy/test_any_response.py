"""Whatever a backend sends: a second reader takes exactly one response from what we pass on, or sees that it was cut off;
and only a connection that said nothing odd, and nothing more, is used again."""

import itertools
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.records import resource
from tests.support.said import Said, said
from tests.support.still_loop import turns
from tests.support.transcript import FakeTransport, Stage, run

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"

_FIRST: Final = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 12
    + [b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 No", b"HTTP/1.1 103 Early", b"HTTP/1.1 100 C"]
    + [b"HTTP/1.2 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 101 S", b"HTTP/1.1  200 OK", b"HTTP/1.1 500 " + b"x" * 600]
)
_HEADER: Final = st.sampled_from(
    b"X-A: b|Content-Length: 5|Content-Length: 5|Content-Length: 05|Content-Length: 5, 5|Content-Length: 5, 6|Content-Length: 0"
    b"|Content-Length : 5|content-length:+5|Transfer-Encoding: chunked|transfer-encoding:Chunked|Transfer-Encoding : chunked"
    b"|Transfer-Encoding: identity|Transfer-Encoding: chunked, chunked|Transfer-Encoding: gzip|Connection: close|X-A : b"
    b"|Connection: keep-alive|Connection: transfer-encoding, content-length|X: \0|X: a\x0bb| folded|\tfolded| |: a|X-\xff: y"
    b"|no colon|Alt-Svc: h3|X-Miosa-Error: a|Set-Cookie: a=b; Domain=miosa.app|Trailer: X-T|Upgrade: h2c".split(b"|")
)
_BODY: Final = st.sampled_from(
    b"|hello|hello!|5\r\nhello\r\n0\r\n\r\n|5 ;a=b\r\nhello\r\n0\r\n\r\n|5\r\nhello\r\n0\r\n|5\r\nhello\r\n0\r\nX-T: y\r\n\r\n"
    b"|5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n|5\nhello\n0\n\n|5 \r\nhello\r\n0\r\n\r\n|5\nhello\n0\nX-T: y\n\n|5;a\nhello\n0\n\n|5\nhello\r\n0\r\n\r\n|5\r\nhello\r\n0 \n\n|0\r\n\r\n|5\r\nhell|\r\n|\n"
    b"|helloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil|0x5\r\nhello\r\n0\r\n\r\n|5\r\nhello\r\n0\r\n\r\nmore".split(
        b"|"
    )
)
_END: Final = st.sampled_from([b"\r\n"] * 5 + [b"\n"])
_ODD: Final = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b";", b"0", b"\x85", b"\r\n\r\n", b"\n\n"]
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Responses that might be, and now and then a byte too many or too few."""
    raw = b""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        end = draw(_END)
        raw += b"".join(line + end for line in [draw(_FIRST), *draw(st.lists(_HEADER, max_size=3)), b""])
    raw += draw(_BODY)
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(_ODD | st.just(b"")) + raw[at + draw(st.integers(0, 2)) :]
    return raw


class Attack(Stage):
    """One exchange, whose backend sends these pieces and then closes."""

    kept = False  # whether the connection was to be used again before it closed
    dialled_again = False
    heard = b""  # by the client

    async def act(self, method: bytes, pieces: list[bytes], *, reused: bool) -> None:
        connection = self.connect_client()
        if reused:
            self.client.receive(b"GET /before HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
            await turns()
            self.backend.receive(OK)
            await turns()
            self.client.sent = b""
        self.client.receive(method + b" / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
        await turns()
        backend: FakeTransport = self.backend
        for piece in pieces:
            backend.receive(piece)
            await turns(3)
        await turns()
        self.kept = self.worker.pools.idle > 0
        if self.backend is backend:
            backend.end()
            await turns()
        self.dialled_again = self.backend is not backend
        if self.dialled_again:
            assert backend.closed
            self.backend.receive(OK)
            await turns()
        self.heard = self.client.sent
        assert connection.exchange is None
        await self.worker.tasks.close()
        await self.worker.resolver.close()


def attack(method: bytes, pieces: list[bytes], *, reused: bool) -> Attack:
    stage = Attack(resource("shop"))
    with capture_logs():
        run(stage, stage.act(method, pieces, reused=reused))
    return stage


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[start:stop] for start, stop in itertools.pairwise(edges)]


@settings(max_examples=150, deadline=None)
@given(responses() | st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=4), st.data())
@example(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", [], None)
@example(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", [43], None)
@example(b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [47], None)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\nX-T: y\n\nmore", [60], None)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\n", [60], None)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\r", [], None)
@example(b"HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [], None)
def test_one_response_and_a_clean_connection(raw: bytes, places: list[int], data: st.DataObject | None) -> None:
    """See the module."""
    method = b"GET" if data is None else data.draw(st.sampled_from([b"GET", b"GET", b"HEAD", b"POST"]))
    reused = False if data is None else data.draw(st.booleans())
    stage = attack(method, cut(raw, places), reused=reused)
    ending = stage.recorder.finished[-1].ending
    heard, meaning = said(stage.heard, method), said(raw, method)
    if stage.dialled_again:
        assert reused
        assert not raw.startswith(b"HTTP/")
        assert heard is not None
        assert (heard.status, heard.body) == (200, b"" if method == b"HEAD" else b"right")
        return
    if ending == "BB":  # it had begun, and the client sees that it is not whole
        assert heard is None
        assert stage.client.ended
    else:
        assert heard is not None, stage.heard
        assert heard.strict
        assert heard.rest == b""
        if b"\r\nX-Miosa-Error: " not in stage.heard:
            assert ending == "--"
            assert meaning is not None
            assert (heard.status, heard.body) == (meaning.status, meaning.body)
    if stage.kept:
        assert is_clean(meaning)


def is_clean(meaning: Said | None) -> bool:
    """Whether a connection that has said this may serve again."""
    return meaning is not None and meaning.strict and meaning.keep_alive and meaning.rest == b""


def test_a_clean_connection_is_kept() -> None:
    """Else the property above would hold of a proxy that keeps none."""
    for reused in (False, True):
        assert attack(b"GET", [OK], reused=reused).kept
        assert attack(b"GET", [OK[:5], OK[5:]], reused=reused).kept
        assert not attack(b"GET", [OK.replace(b":", b" :")], reused=reused).kept
        assert not attack(b"GET", [OK + b"x"], reused=reused).kept
        assert attack(b"GET", [b"0\r\n\r\n"], reused=reused).dialled_again is reused
