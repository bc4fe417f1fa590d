"""Heads for tests, and what comes of them."""

from router.errors import BAD_BACKEND_RESPONSE
from router.http1.heads import RefusedError
from router.http1.requests import RequestHead, read_request_head
from router.http1.responses import ResponseHead, read_response_head
from router.settings import Limits

LIMITS = Limits()


def request(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = b"shop.miosa.app") -> bytes:
    """A request's head with a Host line first, unless `host` is None."""
    return b"\r\n".join([first, *([] if host is None else [b"Host: " + host]), *lines, b"", b""])


def response(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """An answer's head."""
    return b"\r\n".join([first, *lines, b"", b""])


def read(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes | None = b"shop.miosa.app") -> RequestHead:
    """`request`, read."""
    return read_request_head(request(*lines, first=first, host=host), LIMITS)


def answer(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseHead:
    """`response`, read as the answer to a request of that method."""
    return read_response_head(response(*lines, first=first), method, LIMITS)


def refusal(raw: bytes, limits: Limits = LIMITS) -> tuple[int, str]:
    """(status, code) with which a request's head is refused; (0, "") where it is taken."""
    try:
        read_request_head(raw, limits)
    except RefusedError as error:
        return error.problem.status, error.problem.code
    return 0, ""


def refused(raw: bytes, method: bytes = b"GET", limits: Limits = LIMITS) -> bool:
    """Whether an answer's head is refused, as every bad answer is: with a 502."""
    try:
        read_response_head(raw, method, limits)
    except RefusedError as error:
        return error.problem is BAD_BACKEND_RESPONSE
    return False
