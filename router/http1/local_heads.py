"""Our own responses as bytes."""

from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from router.errors import Problem

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class LocalResponse:
    """A response of our own, before it is framed. `recorded`: whether its exchange leaves a record."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    recorded: bool = True


def render(response: LocalResponse, *, version: int, keep_alive: bool, without_body: bool = False) -> bytes:
    """The bytes of a response. `without_body` is for HEAD: Content-Length is that of the body, which is not sent."""
    parts = [b"HTTP/1.1 %d %b" % (response.status, _REASONS.get(response.status, b""))]
    parts += [b"%b: %b" % header for header in response.headers]
    if response.status != 204:  # which has none (RFC 9110 §8.6)
        parts.append(b"Content-Length: %d" % len(response.body))
    if not keep_alive:
        parts.append(b"Connection: close")
    elif version == 0:
        parts.append(b"Connection: keep-alive")
    head = b"\r\n".join(parts) + b"\r\n\r\n"
    return head if without_body else head + response.body


def stream_head(request_id: bytes, *, version: int) -> bytes:
    """The head of an event stream of our own, whose end nobody knows yet."""
    parts = (
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/event-stream",
        b"Cache-Control: no-store",
        b"X-Content-Type-Options: nosniff",
        b"X-Accel-Buffering: no",  # proxies that collect responses pass it on as it comes
        b"X-Robots-Tag: noindex",
        b"X-Request-ID: " + request_id,
        b"Proxy-Status: " + OF_OURS,
        b"Transfer-Encoding: chunked" if version == 1 else b"Connection: close",
    )
    return b"\r\n".join(parts) + b"\r\n\r\n"


OF_OURS: Final = b"miosa-router; error=proxy_internal_response"
"""Proxy-Status of a response that is ours and no problem: a redirect, a proof, a health check (RFC 9209 §2.3.31)."""


@lru_cache(maxsize=256)
def problem_headers(problem: Problem, content_type: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that every error response of ours carries, but for those that depend on the request."""
    headers = [
        (b"Content-Type", content_type),
        (b"Cache-Control", b"no-store"),
        (b"X-Miosa-Error", problem.code.encode("ascii")),
        (b"X-Robots-Tag", b"noindex"),
        (b"Proxy-Status", proxy_status(problem)),
        (b"Vary", b"Accept, Origin, Sec-Fetch-Mode"),
    ]
    if problem.retry_after is not None:
        headers.append((b"Retry-After", b"%d" % problem.retry_after))
    if problem.status == 401:  # RFC 9110 §15.5.2
        headers.append((b"WWW-Authenticate", b'Bearer realm="miosa"'))
    if problem.status == 405:
        headers.append((b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    return tuple(headers)


def proxy_status(problem: Problem) -> bytes:
    """The value of Proxy-Status (RFC 9209): who answered, and the registered type of the error. Nothing of the backend."""
    status = b"miosa-router; error=" + problem.proxy_error.encode("ascii")
    if problem.reason is not None:
        status += b'; details="%b"' % problem.reason.encode("ascii")
    return status
