"""What programs behind the proxy send that is odd, late or long, and mean: it reaches the client, and nobody else."""

import asyncio
import html

import pytest
from structlog.testing import capture_logs

from tests.support.edge import FRONT, OUTSIDE, RunningEdge, until
from tests.support.ntlm import NtlmLogins, message
from tests.support.wire import Backend, End
from tests.wire.conftest import BuildEdge

pytestmark = pytest.mark.asyncio

HOST = b"Host: shop.miosa.app\r\n\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def visit(edge: RunningEdge, request: bytes = GET) -> tuple[Backend, End, End]:
    """A request on its way: the backend, the client's end, and the backend's, which has read it."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(request)
    end = await backend.accept()
    await end.read_head()
    return backend, client, end


# What is left of another response.

LEFTOVERS = [
    (GET, b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", b"0\r\n\r\n"),
    (GET, b"HTTP/1.1 204 No Content\r\n\r\n", b"{}"),
    (b"HEAD / HTTP/1.1\r\n" + HOST, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nhi\r\n0\r\n\r\n"),
    (b"HEAD / HTTP/1.1\r\n" + HOST, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"Hi\r\n"),
    (GET, OK, b"\r\n"),
]


@pytest.mark.parametrize(("request_", "said", "left"), LEFTOVERS)
@pytest.mark.parametrize("way", ["alone", "with a response", "dribbled"])
async def test_what_is_left_of_a_response_is_nobodys(
    edge: RunningEdge, request_: bytes, said: bytes, left: bytes, way: str
) -> None:
    """It comes when the next request is already on its way over that connection: that one is sent again, over another."""
    backend, client, end = await visit(edge, request_)
    await end.send(said)
    assert (await client.read_response(request_.split(b" ")[0])).status < 400
    assert edge.kept() == 1
    await client.send(GET)
    await end.read_head()
    if way == "dribbled":
        await end.dribble(left)
    else:
        await end.send(left + (OK if way == "with a response" else b""))
    await backend.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
    assert (await client.read_response()).body == b"right"
    assert edge.endings == ["--", "--"]


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n"])
async def test_a_304_that_announces_chunks_is_its_connections_last(edge: RunningEdge, framing: bytes) -> None:
    """The last chunk comes later than the head, as some servers send it."""
    backend, client, end = await visit(edge)
    await end.send(b"HTTP/1.1 304 Not Modified\r\n" + framing + b"\r\n")
    assert (await client.read_response()).status == 304
    assert edge.kept() == 0
    await client.send(GET)
    await backend.answer(OK)
    assert (await client.read_response()).body == b"ok"


async def test_what_may_have_been_acted_on_is_not_sent_again(edge: RunningEdge) -> None:
    """Leftovers in front of the response to a POST: the client is told, and decides."""
    backend, client, end = await visit(edge)
    await end.send(OK)
    await client.read_response()
    await client.send(b"POST / HTTP/1.1\r\n" + HOST)
    await end.read_head()
    await end.send(b"0\r\n\r\n" + OK)
    answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"bad_backend_response")
    assert not backend.has_visitor()


async def test_a_new_connection_that_brings_rubbish_is_not_dialled_again(edge: RunningEdge) -> None:
    """Nothing can be left on it: that is what this program says."""
    backend, client, end = await visit(edge)
    await end.send(b"0\r\n\r\n")
    assert (await client.read_response()).status == 502
    assert not backend.has_visitor()


# 1xx.


async def test_any_number_of_1xx(edge: RunningEdge) -> None:
    """One now and then for hours, each a sign of life: the response is waited for."""
    _, client, end = await visit(edge)
    for _ in range(100):
        edge.advance(10)
        await end.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert (await client.read_head()).status == 102
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"
    assert edge.kept() == 1


async def test_1xx_do_not_hide_a_backend_that_has_stopped(edge: RunningEdge) -> None:
    """Behind the last one the response has its time, and no more."""
    _, client, end = await visit(edge)
    edge.advance(edge.limits.first_byte * 0.7)
    await end.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert (await client.read_head()).status == 102
    edge.advance(edge.limits.first_byte * 0.7)
    await edge.turns()
    assert not edge.finished
    edge.advance(edge.limits.first_byte)
    assert (await client.read_response()).status == 504


async def test_progress_of_an_upload(edge: RunningEdge) -> None:
    """A 104 with each part, while the client still sends (draft-ietf-httpbis-resumable-upload)."""
    _, client, end = await visit(edge, b"POST / HTTP/1.1\r\nContent-Length: 60\r\n" + HOST)
    for number in range(60):
        await client.send(b"x")
        assert await end.read_exactly(1) == b"x"
        edge.advance(0.1)
        await end.send(b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: %d\r\n\r\n" % number)
        assert (await client.read_head()).get(b"upload-offset") == b"%d" % number
    await end.send(OK)
    assert (await client.read_response()).body == b"ok"


@pytest.mark.parametrize(("lines", "most"), [(b"", 16), (b"Link: <" + b"a" * 8200 + b">\r\n", 8)])
async def test_a_flood_of_1xx_is_502(edge: RunningEdge, lines: bytes, most: int) -> None:
    """As many as a second may bring, by number and by size; then the reason is in the log."""
    _, client, end = await visit(edge)
    await end.send(b"HTTP/1.1 103 Early Hints\r\n" + lines + b"\r\n")
    assert (await client.read_head()).status == 103
    await end.send((b"HTTP/1.1 103 Early Hints\r\n" + lines + b"\r\n") * (most + 200))
    seen = 1
    while (head := await client.read_head()).status == 103:
        seen += 1
    assert head.status == 502
    assert seen >= most
    assert seen < most + 200


async def test_1xx_that_the_client_does_not_take_are_dropped(build_edge: BuildEdge) -> None:
    """They wait for nobody: the response comes, and little is held meanwhile."""
    edge = await build_edge(interim_responses=1_000_000)
    backend = edge.backend("shop")
    client = await edge.client(receive_buffer=4096)
    await client.send(GET)
    end = await backend.accept()
    await end.read_head()
    early = b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"a" * 4000 + b">\r\n\r\n"
    for _ in range(4000):
        await end.send(early)
    await end.send(OK)
    await until(lambda: not edge.finished)
    assert edge.held() <= edge.limits.buffer + 512 * 1024
    while (answer := await client.read_response()).status == 103:
        pass
    assert answer.body == b"ok"


# Connections that authenticate.


class Program:
    """A server that knows a connection's user once they have logged in, as IIS does."""

    def __init__(self, backend: Backend, scheme: bytes = b"NTLM") -> None:
        self._backend = backend
        self._logins = NtlmLogins(scheme)
        self.served: list[int] = []  # the connection of each request, by its number

    async def serve(self) -> None:
        """The next request, on whichever connection it comes."""
        async with asyncio.timeout(10):
            while True:
                self._backend.has_visitor()
                for number, end in enumerate(self._backend.ends):
                    if b"\r\n\r\n" in (seen := end.arrived()):
                        self.served.append(number)
                        line = next((one for one in seen.split(b"\r\n") if one.startswith(b"Authorization: ")), b"")
                        await end.send(self._logins.respond(number, line.partition(b" ")[2]))
                        return
                await asyncio.sleep(0)


async def ask(program: Program, client: End, *lines: bytes) -> bytes:
    """What a request gets: a user, or what it is asked for."""
    await client.send(b"\r\n".join([b"GET / HTTP/1.1", *lines, HOST]))
    await program.serve()
    answer = await client.read_response()
    return answer.body or answer.get(b"www-authenticate") or b""


def login(scheme: bytes, number: int) -> bytes:
    """The header line with one of the messages of a login as Alice."""
    return b"Authorization: " + scheme + b" " + message(number, b"alice")


CHALLENGE = b"NTLM " + message(2)
BEGIN, LOG_IN = login(b"NTLM", 1), login(b"NTLM", 3)


@pytest.mark.parametrize("scheme", [b"NTLM", b"Negotiate"])
async def test_a_connection_that_authenticates_is_one_logins(edge: RunningEdge, scheme: bytes) -> None:
    """What begins as a login goes on as that on one connection, which is nobody else's, and ends with it."""
    program = Program(edge.backend("shop"), scheme)
    alice, other = await edge.client(), await edge.client()
    assert await ask(program, alice) == scheme
    for number in (1, 3):
        assert await ask(program, alice, login(scheme, 1)) == scheme + b" " + message(2)
        assert await ask(program, other) == scheme
        assert await ask(program, alice, login(scheme, 3)) == b"alice"
        assert program.served[-3:] == [number, number + 1, number]
    assert await ask(program, alice) == scheme
    assert edge.kept() == 0


async def test_a_login_that_has_begun_ends_with_its_client(edge: RunningEdge) -> None:
    """Its connection to the backend is closed with the client's."""
    program = Program(edge.backend("shop"))
    alice = await edge.client()
    assert await ask(program, alice, BEGIN) == CHALLENGE
    assert len(edge.proxy._worker.backends) == 1
    alice.close()
    await until(lambda: not edge.proxy._worker.backends)


async def test_a_login_goes_on_for_its_own_address_only(edge: RunningEdge) -> None:
    """A front carries several visitors on one connection."""
    program = Program(edge.backend("shop"))
    front = await edge.client(FRONT)
    alice, bob = b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 192.0.2.2"
    assert await ask(program, front, alice, BEGIN) == CHALLENGE
    assert await ask(program, front, alice, LOG_IN) == b"alice"
    assert await ask(program, front, alice, BEGIN) == CHALLENGE
    assert await ask(program, front, bob, LOG_IN) == b"NTLM"
    assert program.served == [0, 0, 1, 2]


# What somebody else may say on the connection where Alice has just logged in. (The program knows her by her
# connection, whatever its requests say.)
OTHERS = [
    (),
    (BEGIN,),
    (LOG_IN,),
    (b"Authorization: NTLM AAAA",),
    (b"Authorization: Negotiate " + message(1),),
    (b"Authorization: Negotiate AAAA",),
    (b"Authorization: Basic eDp5",),
]


@pytest.mark.parametrize("lines", OTHERS)
@pytest.mark.parametrize("ended", [(LOG_IN,), (BEGIN, LOG_IN), (LOG_IN, BEGIN)], ids=["3", "1 and 3", "3 and 1"])
@pytest.mark.parametrize("source", [FRONT, OUTSIDE], ids=["a front", "anybody"])
async def test_a_login_is_nobody_elses(
    edge: RunningEdge, source: str, ended: tuple[bytes, ...], lines: tuple[bytes, ...]
) -> None:
    """Not even of one who comes over the same connection from the same address, whatever they say, and however the login was
    written; also where nobody has told us that a front is one."""
    program = Program(edge.backend("shop"))
    front = await edge.client(source)
    address = b"X-Forwarded-For: 192.0.2.1"
    assert await ask(program, front, address, BEGIN) == CHALLENGE
    await ask(program, front, address, *ended)
    assert await ask(program, front, address, *lines) in (b"NTLM", CHALLENGE)
    assert program.served[-1] == 1


async def test_what_authenticates_each_request_is_shared_as_ever(edge: RunningEdge) -> None:
    """Basic and Bearer say in every request who it is."""
    _, client, end = await visit(edge, b"GET / HTTP/1.1\r\nAuthorization: Basic TlRMTQ==\r\n" + HOST)
    await end.send(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=NTLM\r\nContent-Length: 0\r\n\r\n")
    assert (await client.read_response()).status == 401
    assert edge.kept() == 1


# Event streams.

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
FRAMINGS = [b"\r\n: hi\n\n", b"Transfer-Encoding: chunked\r\n\r\n6\r\n: hi\n\n\r\n"]


@pytest.mark.parametrize("begin", FRAMINGS, ids=["until close", "chunked"])
async def test_an_event_stream_may_rest_as_long_as_a_tunnel(edge: RunningEdge, begin: bytes) -> None:
    """Longer than any other body; then it is cut, so that EventSource comes back."""
    _, client, end = await visit(edge)
    await end.send(STREAM + begin)
    await client.read_until(b": hi\n\n")
    for _ in range(2):
        edge.advance(edge.limits.tunnel_idle * 0.7)
        await edge.turns()
        assert not edge.finished
        event = b"data: late\n\n"
        await end.send(event if begin.startswith(b"\r\n") else b"c\r\n" + event + b"\r\n")
        await client.read_until(event)
    edge.advance(edge.limits.tunnel_idle + 1)
    await client.read_until_gone()
    await edge.settled()
    assert edge.endings == ["bB"]


async def test_a_visitor_of_an_event_stream_who_takes_nothing_is_given_up(edge: RunningEdge) -> None:
    """The stream may rest; who does not read it may not, for longer than any body's."""
    backend = edge.backend("shop")
    client = await edge.client(receive_buffer=4096)
    await client.send(GET)
    end = await backend.accept()
    await end.read_head()
    await end.send(STREAM + b"\r\n")
    await client.read_head()
    await until(lambda: not end.send_some(b"x" * 65536) and edge.held() > 0)
    edge.advance(edge.limits.body_idle + 1)
    await until(lambda: bool(edge.finished))
    assert edge.endings == ["cB"]


async def test_other_streams_may_rest_no_longer_than_before(edge: RunningEdge) -> None:
    """Of a body in its middle nobody knows whether it will go on."""
    _, client, end = await visit(edge)
    await end.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhi")
    await client.read_until(b"hi")
    edge.advance(edge.limits.body_idle + 1)
    await client.read_until_gone()
    await edge.settled()
    assert edge.endings == ["bB"]


# What is refused.

WHYS = [
    (b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n", "a header has a CR in it that ends no line"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "it has two Content-Lengths that differ"),
    (b"hello\r\n", "it does not begin with an HTTP/1 status line"),
    (
        b"HTTP/1.1 200 OK\r\nX-Secret: " + b"s" * 70_000 + b"\r\n\r\n",
        "its headers are longer than 65536 bytes; the longest of them, X-Secret, has ",
    ),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it switches protocols (101) and does not say to which"),
    (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n",
        "it switches protocols (101), and was not asked to",
    ),
]


@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"application/problem+json", b"text/markdown"])
@pytest.mark.parametrize(("raw", "why"), WHYS)
async def test_what_is_refused_says_why(edge: RunningEdge, raw: bytes, why: str, accept: bytes) -> None:
    """On the page, in JSON and in the log: what was wrong and where, without values, which may be secret."""
    with capture_logs() as lines:
        _, client, end = await visit(edge, b"GET / HTTP/1.1\r\nAccept: " + accept + b"\r\n" + HOST)
        await end.send(raw)
        answer = await client.read_response()
    assert (answer.status, answer.get(b"x-miosa-error")) == (502, b"bad_backend_response")
    assert why in html.unescape(answer.body.decode())
    assert b"sss" not in answer.body
    (refusal,) = [line for line in lines if line["event"] == "backend's response refused"]
    assert refusal["why"].startswith(why)


@pytest.mark.parametrize(
    "lines", [[b"Link: " + b"a" * 60_000], [b"X-A: b"] * 200, [b"Set-Cookie: a=" + b"b" * 5000] * 12]
)
async def test_long_headers_pass(edge: RunningEdge, lines: list[bytes]) -> None:
    """One or many: the limit is on their sum."""
    _, client, end = await visit(edge)
    await end.send(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Content-Length: 2", b"", b"ok"]))
    answer = await client.read_response()
    assert answer.raw_head.startswith(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"Content-Length: 2", b""]))
    assert (answer.body, edge.kept()) == (b"ok", 1)


# A response that is one in spite of its form.


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 2\n\nhi"])
async def test_line_feeds_while_the_connection_stays_open(edge: RunningEdge, raw: bytes) -> None:
    """It is complete, and not waited for; nor is the connection used again."""
    _, client, end = await visit(edge)
    await end.send(raw)
    answer = await client.read_response()
    assert answer.raw_head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n")
    assert answer.besides_id() == [(b"Content-Type", b"text/plain"), (b"Content-Length", b"2")]
    assert answer.body == b"hi"
    await end.read_until_gone()
    assert edge.kept() == 0
