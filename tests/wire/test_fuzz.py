"""Random messages, from pieces that have broken proxies before: nobody may read them differently than they were meant.

The oracle is a reader of its own, which takes a client's bytes apart strictly. Whatever the backend sees must be, in
order, what that reader found before the first byte that it would not take. The proxy may refuse more, never read
other. The same for answers on their way back, which are read as `support/said.py` does. Seeds are fixed: a failure can be run again.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import Coroutine, Iterator

import pytest

from tests.support.edge import RunningEdge
from tests.support.said import said
from tests.support.wire import Backend, End, Ended, WireError

pytestmark = pytest.mark.asyncio

Request = tuple[bytes, bytes, bytes]  # method, target, body
MESSAGES = 60  # per seed

_HEAD = re.compile(
    rb"(?:\r\n)?([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/1\.[01]\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
_KNOWN = re.compile(rb"(?i)(shop|blog)\.miosa\.app\.?(:[0-9]{0,5})?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")


def meant(data: bytes) -> Iterator[Request]:
    """The requests in `data` that are for a backend, up to the first that is not complete and beyond doubt."""
    at = 0
    while (head := _HEAD.match(data, at)) is not None:
        at = head.end()
        fields = [line.split(b":", 1) for line in head[3].split(b"\r\n")[:-1]]
        values: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            values.setdefault(name.lower(), []).append(value.strip(b" \t"))
        body = _body(data, at, values)
        if body is None or len(values.get(b"host", [])) != 1:
            return
        content, at = body
        target = re.sub(rb"(?i)^https?://[^/?]*/?", b"/", head[2])
        target = b"".join(b"%%%02X" % byte if byte >= 0x80 else b"%c" % byte for byte in target)
        if _KNOWN.fullmatch(values[b"host"][0]) is not None:  # others are answered by the edge, and do not end it
            yield head[1], target, content
        options = b",".join(values.get(b"connection", [])).lower()
        if b"close" in options or (head[0].find(b" HTTP/1.0\r\n") > 0 and b"keep-alive" not in options):
            return


def _body(data: bytes, at: int, values: dict[bytes, list[bytes]]) -> tuple[bytes, int] | None:
    lengths, codings = values.get(b"content-length", []), values.get(b"transfer-encoding", [])
    if codings:
        return None if lengths or [value.lower() for value in codings] != [b"chunked"] else _chunks(data, at)
    if not lengths:
        return b"", at
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]) or len(data) - at < int(lengths[0]):
        return None
    end = at + int(lengths[0])
    return data[at:end], end


def _chunks(data: bytes, at: int) -> tuple[bytes, int] | None:
    content = b""
    while (size := _CHUNK.match(data, at)) is not None:
        at, length = size.end(), int(size[1], 16)
        if length == 0:
            trailers = _TRAILERS.match(data, at)
            return None if trailers is None else (content, trailers.end())
        content += data[at : at + length]
        at += length
        if data[at : at + 2] != b"\r\n":
            return None
        at += 2
    return None


PIECES = {
    "method": [b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"LIST", b"get"],
    "target": [b"/", b"/a?b=c", b"//x", b"http://shop.miosa.app/abs", b"/%00/../", b"/" + b"a" * 200, b"/\xc3\xbc"],
    "version": [b"HTTP/1.1"] * 9 + [b"HTTP/1.0"],
    "end": [b"\r\n"] * 60 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n "],
    "host": [b"Host: shop.miosa.app"] * 30
    + [b"host:shop.miosa.app", b"Host: shop.miosa.app:80", b"Host : shop.miosa.app"],
    "header": [
        b"X-A: b",
        b"Accept: */*",
        b"Cookie: a=b; c=d",
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"content-length:5",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length : 5",
        b"Content-Length: 0x5",
        b"Content_Length: 9",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer_Encoding: chunked",
        b"Connection: close",
        b"Connection: keep-alive, content-length",
        b"Connection: transfer-encoding, host",
        b"Expect: 100-continue",
        b"Host: blog.miosa.app",
        b"X: \x00",
        b"X: a\x0bb",
        b" X-Folded: a",
        b"\tfolded",
        b": empty",
        b"X-\xff: y",
        b"Upgrade: h2c",
        b"Connection: Upgrade",
        b"Trailer: X-T",
    ],
    "body": [
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0\r\nX-T: y\r\n\r\n",
        b"0\r\n\r\n",
        b"05\r\nhello\r\n00\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\nhello",
    ],
}
# Framings with a body that keeps to them: what goes wrong is then what stands beside them.
COHERENT = [
    ([], [b""]),
    ([b"Content-Length: 5"], [b"hello", b"GET /"]),
    ([b"Content-Length: 0"], [b""]),
    ([b"Content-Length: 27"], [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]),
    (
        [b"Transfer-Encoding: chunked"],
        [b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"1;a\r\nx\r\n004\r\n0\r\n\r\r\n0\r\nX-T: y\r\n\r\n"],
    ),
]
HARMLESS = [
    b"X-A: b",
    b"Accept: */*",
    b"Cookie: a=b; c=d",
    b"Content_Length: 9",
    b"Transfer_Encoding: chunked",
    b"Upgrade: h2c",
]
BAD_BYTES = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b"0",
    b"\x0b",
    b"\x85",
    b"\xa0",
    b"chunked",
    b"\r\n\r\n",
]


def make_request(dice: random.Random, number: int) -> bytes:
    """A request of pieces: mostly one that could be served, sometimes with a byte too many or too few."""
    first = b" ".join(dice.choice(PIECES[piece]) for piece in ("method", "target", "version"))
    if dice.random() < 0.7:
        framing, bodies = dice.choice(COHERENT)
        lines = [first, b"Host: shop.miosa.app", *framing, *dice.choices(HARMLESS, k=dice.randrange(3))]
        raw = b"\r\n".join([*lines, b"", b""]) + dice.choice(bodies)
        return mutate(dice, raw) if dice.random() < 0.15 else raw
    lines = [first, dice.choice(PIECES["host"]), *dice.choices(PIECES["header"], k=dice.randrange(4))]
    lines.append(b"X-Number: %d" % number)
    return b"".join(line + dice.choice(PIECES["end"]) for line in [*lines, b""]) + dice.choice(PIECES["body"])


def mutate(dice: random.Random, raw: bytes) -> bytes:
    at = dice.randrange(len(raw))
    match dice.randrange(4):
        case 0:
            return raw[:at] + raw[at + 1 :]
        case 1:
            return raw[:at] + dice.choice(BAD_BYTES) + raw[at:]
        case 2:
            return raw[:at] + bytes([dice.randrange(256)]) + raw[at + 1 :]
        case _:
            return raw[:at] + raw[at : at + 20] + raw[at:]


class Listener:
    """A backend that answers everything at once, and notes what it was asked."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.seen: list[Request] = []
        self.doubts: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Listener":
        self._start(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(work, name="test: listener"))

    async def _accept(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                self._start(self._serve(await self._backend.accept()))

    async def _serve(self, end: End) -> None:
        while True:
            try:
                request = await end.read_request()
            except TimeoutError:
                continue
            except Ended:
                return
            except WireError as error:
                self.doubts.append(str(error))
                return
            self.seen.append((request.method, request.target, request.body))
            body = b"" if request.method == b"HEAD" else b"ok"
            with contextlib.suppress(Ended):
                await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)


@pytest.mark.parametrize("seed", range(12))
async def test_requests_are_read_as_they_were_meant(seed: int, edge: RunningEdge) -> None:
    """The backend sees what the client said, in order, up to the first doubt, and nothing else."""
    dice = random.Random(seed)
    backend = edge.backend("shop")
    edge.point("blog", backend)
    async with Listener(backend) as listener:
        for _ in range(MESSAGES):
            listener.seen.clear()
            stream = b"".join(make_request(dice, number) for number in range(dice.choice((1, 2, 3, 5))))
            expected = list(meant(stream))
            client = await edge.client()
            cut = dice.randrange(len(stream))
            with contextlib.suppress(Ended):
                await client.send(stream[:cut])
                if dice.random() < 0.5:
                    await edge.turns(3)
                await client.send(stream[cut:])
            client.half_close()
            answers = await client.read_until_gone()
            client.close()
            await edge.settled()
            await edge.turns()
            assert listener.seen == expected[: len(listener.seen)], stream
            if b"X-Miosa-Error" not in answers:
                assert listener.seen == expected, stream
            assert not listener.doubts, stream


ANSWERS = {
    "line": [b"HTTP/1.1 200 OK"] * 12
    + [
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No",
        b"HTTP/1.1 304 No",
        b"HTTP/1.1 100 C",
        b"HTTP/1.1 200",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 101 S",
    ],
    "header": [header for header in PIECES["header"] if b"Host" not in header and b"Expect" not in header],
}


def make_answer(dice: random.Random) -> bytes:
    lines = [dice.choice(ANSWERS["line"])]
    lines += [dice.choice(ANSWERS["header"]) for _ in range(dice.choice((0, 1, 1, 1, 2, 3)))]
    raw = b"".join(line + dice.choice(PIECES["end"]) for line in [*lines, b""]) + dice.choice(PIECES["body"])
    return mutate(dice, raw) if dice.random() < 0.3 else raw


@pytest.mark.parametrize("seed", range(12))
async def test_answers_never_reach_the_wrong_request(seed: int, edge: RunningEdge) -> None:
    """A client gets a well-formed answer, an error of ours or a visible cut; and the next request gets its own."""
    dice = random.Random(seed)
    backend = edge.backend("shop")
    for number in range(MESSAGES):
        client = await edge.client()
        method = dice.choice((b"GET", b"GET", b"GET", b"HEAD", b"POST"))
        await client.send(method + b" / HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n")
        end, _ = await backend.request()
        answer = make_answer(dice)
        cut = dice.randrange(len(answer))
        with contextlib.suppress(Ended):
            await end.send(answer[:cut])
            if dice.random() < 0.5:
                await edge.turns(3)
            await end.send(answer[cut:])
        end.half_close()
        with contextlib.suppress(Ended):
            while (got := await client.read_response(method)).status < 200:
                pass
            if got.get(b"x-miosa-error") is None:
                meaning = said(answer, method)
                assert meaning is not None, answer
                assert (got.status, got.body) == (meaning.status, meaning.body), answer
        client.close()
        await edge.idle()
        # Whatever that was, it is over: the next request has a connection of its own, and its own answer.
        client = await edge.client()
        await client.send(b"GET /%d HTTP/1.1\r\nHost: shop.miosa.app\r\n\r\n" % number)
        end, request = await backend.request()
        assert request.target == b"/%d" % number
        mine = b"answer %d" % number
        await end.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(mine), mine))
        assert (await client.read_response()).body == mine, answer
        client.close()
        await edge.settled()
        assert edge.kept() == 0
