"""Our own answers as bytes."""

import pytest

from router.errors import BAD_REQUEST, EDGE_PROBLEMS, METHOD_NOT_ALLOWED, STARTING, Problem
from router.http1.local_heads import LocalResponse, problem_headers, render
from tests.unit.http1.messages import answer

TYPE = ((b"Content-Type", b"text/plain"),)

REPLIES = [
    (1, True, b""),
    (1, False, b"Connection: close\r\n"),
    (0, True, b"Connection: keep-alive\r\n"),
    (0, False, b"Connection: close\r\n"),
]


@pytest.mark.parametrize(("version", "keep_alive", "hop"), REPLIES)
def test_render(version: int, keep_alive: bool, hop: bytes) -> None:
    """A whole answer in one piece, with a length, and persistence as the client's version says it."""
    found = LocalResponse(404, TYPE, b"hello")
    out = render(found, version=version, keep_alive=keep_alive)
    head = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" + hop + b"\r\n"
    assert out == head + b"hello"
    assert render(found, version=version, keep_alive=keep_alive, without_body=True) == head


def test_unknown_status() -> None:
    """A status without a name has an empty reason, with the blank before it (RFC 9112 §4)."""
    assert (
        render(LocalResponse(599, (), b""), version=1, keep_alive=True) == b"HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize("problem", EDGE_PROBLEMS, ids=lambda problem: problem.code)
def test_every_problem(problem: Problem) -> None:
    """Each answer of ours is never stored or indexed, says its code, whose answer it is, and when to come again."""
    headers = problem_headers(problem, b"text/html; charset=utf-8")
    out = render(LocalResponse(problem.status, headers, b"page"), version=1, keep_alive=False)
    head, body = out.split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert body == b"page"
    status = f"miosa-router; error={problem.proxy_error}" + (f'; details="{problem.reason}"' if problem.reason else "")
    assert lines[1:7] == [
        b"Content-Type: text/html; charset=utf-8",
        b"Cache-Control: no-store",
        b"X-Miosa-Error: " + problem.code.encode(),
        b"X-Robots-Tag: noindex",
        b"Proxy-Status: " + status.encode(),
        b"Vary: Accept, Origin, Sec-Fetch-Mode",
    ]
    assert (b"Retry-After: %d" % (problem.retry_after or 0) in lines) is (problem.retry_after is not None)
    assert any(line.startswith(b"Allow: ") for line in lines) is (problem.status == 405)
    read = answer(*lines[1:], first=lines[0])
    assert (read.status, read.framing, read.keep_alive) == (problem.status, 4, False)


def test_headers_of_single_problems() -> None:
    """Retry-After in seconds; Allow with what is served; neither where it means nothing."""
    assert problem_headers(STARTING, b"")[-1] == (b"Retry-After", b"3")
    assert problem_headers(METHOD_NOT_ALLOWED, b"")[-1][0] == b"Allow"
    assert problem_headers(BAD_REQUEST, b"")[-1][0] == b"Vary"


def test_what_has_no_content_has_no_length() -> None:
    """RFC 9110 §8.6: a server must not send Content-Length with 204."""
    assert render(LocalResponse(204, (), b""), version=1, keep_alive=True) == b"HTTP/1.1 204 No Content\r\n\r\n"
