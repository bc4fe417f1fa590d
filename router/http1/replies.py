"""Our own answers as bytes."""

from dataclasses import dataclass
from http import HTTPStatus

from router.errors import Problem

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of our own, before it is framed."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def reply(answer: Answer, *, version: int, keep_alive: bool, without_body: bool = False) -> bytes:
    """The bytes of an answer. `without_body` is for HEAD: Content-Length is that of the body, which is not sent."""
    parts = [b"HTTP/1.1 %d %b" % (answer.status, _REASONS.get(answer.status, b""))]
    parts += [b"%b: %b" % header for header in answer.headers]
    parts.append(b"Content-Length: %d" % len(answer.body))
    if not keep_alive:
        parts.append(b"Connection: close")
    elif version == 0:
        parts.append(b"Connection: keep-alive")
    head = b"\r\n".join(parts) + b"\r\n\r\n"
    return head if without_body else head + answer.body


def problem_headers(problem: Problem, content_type: bytes, request_id: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that every error answer of ours carries."""
    headers = [
        (b"Content-Type", content_type),
        (b"Cache-Control", b"no-store"),
        (b"X-Miosa-Error", problem.code.encode("ascii")),
        (b"X-Robots-Tag", b"noindex"),
        (b"X-Request-ID", request_id),
    ]
    if problem.retry_after is not None:
        headers.append((b"Retry-After", b"%d" % problem.retry_after))
    if problem.status == 405:
        headers.append((b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    return tuple(headers)
