"""What the owner of a port reads about responses and requests that were refused."""

from collections.abc import Sequence

import pytest

from router.routes.error_notes import ErrorNote
from tests.support.edge import FRONT, RunningEdge
from tests.support.wire import Backend, End

pytestmark = pytest.mark.asyncio

HOST = b"shop.miosa.app"
GET = b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = b"GET / HTTP/1.1\r\nHost: %b\r\nCookie: secret=" + b"s" * 70_000 + b"\r\n\r\n"
COOKIE = "The request's header Cookie has 70,015 bytes, and may have 65,536. Clear this site's cookies and try again."


async def visit(edge: RunningEdge, backend: Backend, said: bytes) -> End:
    client = await edge.client()
    await client.send(GET)
    end = await backend.accept()
    await end.read_head()
    await end.send(said)
    return client


def only(notes: Sequence[ErrorNote]) -> ErrorNote:
    (note,) = notes
    return note


RESPONSES = [
    (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", None, ": it has two Content-Lengths that differ."),
    (HEAD + b"X-Secret: " + b"s" * 70_000 + b"\r\n\r\n", None, "65536 bytes; the longest of them, X-Secret, has "),
    (b"SSH-2.0-OpenSSH_9.9\r\n", "speaks_ssh", "SSH"),
    (CHUNKED + b"5\r\nhello\r\nx\r\n", None, ": a chunk's size is not "),
]


@pytest.mark.parametrize(("said", "reason", "why"), RESPONSES)
async def test_a_response_that_is_refused(edge: RunningEdge, said: bytes, reason: str | None, why: str) -> None:
    """Why, also where the client had its beginning already; without values."""
    backend = edge.backend("shop")
    await visit(edge, backend, said)
    note = only(await edge.noted(backend.port))
    assert (note.code, note.reason, note.count) == ("bad_backend_response", reason, 1)
    assert why in note.message
    assert "sss" not in note.message


async def test_how_often_and_when(edge: RunningEdge) -> None:
    """The same again is one note; between the first and the last time."""
    backend = edge.backend("shop")
    before = edge.clock.now().timestamp()
    for said in (HEAD + b"X\r\n\r\n", HEAD + b": y\r\n\r\n"):
        client = await visit(edge, backend, said)
        assert (await client.read_response()).status == 502
    note = only(await edge.noted(backend.port, 2))
    assert note.count == 2
    assert note.message.endswith("a header's name is empty or has bytes that no name may have.")
    assert before <= note.first_at <= note.last_at <= edge.clock.now().timestamp()


@pytest.mark.parametrize("known", [True, False])
async def test_a_request_whose_headers_are_too_large(edge: RunningEdge, known: bool) -> None:
    """It is the host's, whether that was looked up before or not: which header, how large, the limit."""
    backend = edge.backend("shop")
    if known:
        client = await visit(edge, backend, HEAD + b"Content-Length: 0\r\n\r\n")
        assert (await client.read_response()).status == 200
    client = await edge.client()
    await client.send(LARGE % HOST)
    assert (await client.read_response()).status == 431
    note = only(await edge.noted(backend.port))
    assert (note.code, note.message) == ("headers_too_large", COOKIE)


async def test_a_url_that_is_too_long(edge: RunningEdge) -> None:
    """Its size and the limit, not the URL."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(b"GET /" + b"s" * 17_000 + b" HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n")
    assert (await client.read_response()).status == 414
    note = only(await edge.noted(backend.port))
    assert note.code == "uri_too_long"
    assert note.message.startswith("The request line has 17,014 bytes, and may have 16,384.")


@pytest.mark.parametrize(
    "request_",
    [
        LARGE % b"nobody.example",
        LARGE % b"a b",
        LARGE % (HOST + b"\r\nHost: " + HOST),
        (LARGE % HOST).replace(b"Host", b"X-Host"),
        GET.replace(b"GET / ", b"GET  / "),
    ],
)
async def test_what_is_nobodys(edge: RunningEdge, request_: bytes) -> None:
    """A refused request whose host is not known, not one, or is nobody's; and errors of other kinds."""
    backend = edge.backend("shop")
    client = await edge.client()
    await client.send(request_)
    assert (await client.read_response()).status >= 400
    other = await edge.client(FRONT)
    await other.send(LARGE % HOST)
    await other.read_response()
    assert only(await edge.noted(backend.port)).count == 1
    assert len(edge.error_notes._resources) == 1
