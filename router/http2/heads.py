"""Heads of HTTP/2 and of HTTP/1.1, each written as the other.

The data plane reads and writes messages of HTTP/1.1 (`http1/`), and a stream of HTTP/2 is a connection that carries such
messages (`proxy/h2_stream.py`). So a head of HTTP/2 becomes one of HTTP/1.1 before anything decides about it. What RFC 9113
§8 calls malformed is refused, above all what would end a line or name a framing of its own: the next reader sees text.

Of backends' responses what concerns a connection, or has blanks around it, is dropped: its meaning is clear.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final

Field = tuple[bytes, bytes]

# How a body ends, where it has no length.
NO_BODY: Final = 0
CHUNKED: Final = -1

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_AUTHORITY: Final = re.compile(rb"[\x21-\x7e\x80-\xff]*")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,18}")
_MAX_LENGTH: Final = (1 << 63) - 1
_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
# RFC 9113 §8.2.2: they speak of a connection of HTTP/1.1.
_OF_A_CONNECTION: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"http2-settings")
)
_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path"))


# Refusals for the sake of one field, as soon as that is read.
_OF_A_FIELD: Final = frozenset(
    (
        "field name",
        "field value",
        "pseudo-header",
        "blanks around a value",
        "a connection's header",
        "more than one host",
        "content-length",
    )
)


class MalformedError(Exception):
    """A message that RFC 9113 §8.1.1 calls malformed: its stream is reset."""


def _checked(name: bytes, value: bytes) -> None:
    if _NAME.fullmatch(name) is None:
        raise MalformedError("field name")
    if _VALUE.fullmatch(value) is None:
        raise MalformedError("field value")


def _length(said: bytes | None, value: bytes) -> bytes:
    if _LENGTH.fullmatch(value) is None or int(value) > _MAX_LENGTH or said not in (None, value):
        raise MalformedError("content-length")
    return value


def bad_field(count: int, why: str, read: Callable[[int], object]) -> int:
    """Which of a head's fields it was refused for, with the words of the refusal; their number where something is missing. `read(n)` reads
    the first n."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        try:
            read(middle + 1)
        except MalformedError as error:
            if str(error) == why and why in _OF_A_FIELD:
                high = middle
                continue
        low = middle + 1
    return low


def request_to_http1(fields: Iterable[Field], *, ended: bool) -> tuple[bytes, int]:
    """The head of a request, and its body: a length, CHUNKED or NO_BODY. `ended`: none follows. Raises MalformedError."""
    pseudo: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    cookies: list[bytes] = []
    host: bytes | None = None
    length: bytes | None = None
    for name, value in fields:
        if name.startswith(b":"):
            if lines or cookies or name in pseudo or name not in _REQUEST_PSEUDO:
                raise MalformedError("pseudo-header")
            pseudo[name] = value
            continue
        _checked(name, value)
        if value and (value[0] in b" \t" or value[-1] in b" \t"):
            raise MalformedError("blanks around a value")
        if name in _OF_A_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise MalformedError("a connection's header")
        if name == b"host":
            if host is not None:
                raise MalformedError("more than one host")
            host = value
        elif name == b"content-length":
            length = _length(length, value)
        elif name == b"cookie":  # RFC 9113 §8.2.3: crumbs that are one header
            cookies.append(value)
        else:
            lines.append(name + b": " + value)
    method, path = pseudo.get(b":method"), pseudo.get(b":path", b"")
    if method is None or _METHOD.fullmatch(method) is None or not pseudo.get(b":scheme"):
        raise MalformedError("no method or scheme")
    if _PATH.fullmatch(path) is None or not (path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")):
        raise MalformedError("path")
    authority = pseudo.get(b":authority")
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise MalformedError("host differs from :authority")
    if authority is None or _AUTHORITY.fullmatch(authority) is None:
        raise MalformedError("authority")
    body = CHUNKED
    if ended:
        if length not in (None, b"0"):
            raise MalformedError("a body is missing")
        body = NO_BODY
    elif length is not None:
        body = int(length)
    if length is not None:
        lines.append(b"content-length: " + length)
    elif body == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    if cookies:
        lines.append(b"cookie: " + b"; ".join(cookies))
    if path == b"*":
        path = b"/"  # asks about the server as a whole, which is no more than the program that responds
    # Each with its own line end: an empty line too many would be held as the beginning of another request.
    block = b"".join([line + b"\r\n" for line in lines])
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, path, authority, block), body


def response_to_http1(fields: Iterable[Field], method: bytes, *, ended: bool) -> tuple[int, bytes, int]:
    """(status, head, body) of a response to a request of that method; as `request_to_http1`."""
    status = 0
    lines: list[bytes] = []
    length: bytes | None = None
    for name, value in fields:
        if name.startswith(b":"):
            if name != b":status" or status or lines or len(value) != 3 or not value.isdigit() or value[:1] == b"0":
                raise MalformedError("pseudo-header")
            status = int(value)
            continue
        value = value.strip(b" \t")  # noqa: PLW2901 - the value without what should not be there
        _checked(name, value)
        if name == b"content-length":
            length = _length(length, value)
        elif name not in _OF_A_CONNECTION:
            lines.append(name + b": " + value)
    if status in (0, 101):
        raise MalformedError("status")
    if status < 200:
        if ended:
            raise MalformedError("a response that ends before it begins")
        return status, _http1_response(status, lines), NO_BODY
    body = CHUNKED
    if method == b"HEAD" or status in (204, 304):
        body = NO_BODY
    elif ended:
        if length not in (None, b"0"):
            raise MalformedError("a body is missing")
        length, body = b"0", NO_BODY
    elif length is not None:
        body = int(length)
    if length is not None:
        lines.append(b"content-length: " + length)
    elif body == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    return status, _http1_response(status, lines), body


def _http1_response(status: int, lines: Sequence[bytes]) -> bytes:
    return b"".join(
        (b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"")), *[line + b"\r\n" for line in lines], b"\r\n")
    )


def trailers_to_http1(fields: Iterable[Field]) -> bytes:
    """A trailer section, with its empty line. Raises MalformedError."""
    out = b""
    for name, value in fields:
        if name.startswith(b":"):
            raise MalformedError("pseudo-header in trailers")
        _checked(name, value)
        out += name + b": " + value.strip(b" \t") + b"\r\n"
    return out + b"\r\n"


def request_to_http2(head: bytes, scheme: bytes) -> tuple[bytes, list[Field], int]:
    """(method, fields, body) of a request's head as we write it for backends."""
    first, _, rest = head[:-4].partition(b"\r\n")
    method, target, _ = first.split(b" ")
    authority = b""
    regular: list[Field] = []
    body = NO_BODY
    for line in rest.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"host":
            authority = value
        elif name == b"transfer-encoding":
            body = CHUNKED
        elif name not in _OF_A_CONNECTION:
            if name == b"content-length":
                body = int(value)
            regular.append((name, value))
    pseudo = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", target)]
    return method, pseudo + regular, body


def response_to_http2(head: bytes, method: bytes) -> tuple[int, list[Field], int]:
    """(status, fields, body) of a response's head as we write it for clients."""
    first, _, rest = head[:-4].partition(b"\r\n")
    status = int(first[9:12])
    fields: list[Field] = [(b":status", first[9:12])]
    body = NO_BODY
    for line in rest.split(b"\r\n") if rest else ():
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"transfer-encoding":
            body = CHUNKED
        elif name not in _OF_A_CONNECTION:
            fields.append((name, value))
            if name == b"content-length":
                body = int(value)
    if method == b"HEAD" or status < 200 or status in (204, 304):
        body = NO_BODY
    return status, fields, body


def trailers_to_http2(lines: Iterable[bytes]) -> list[Field]:
    """The fields of trailer lines."""
    fields: list[Field] = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields
