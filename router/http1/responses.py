"""Heads of backends' responses: from the bytes up to the empty line to a value, or to a refusal."""

import re
from functools import lru_cache
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from router import errors
from router.http1.head_scanner import Names, scan_response
from router.http1.heads import (
    CHUNKED,
    CLOSE,
    NO_CALLBACKS,
    NONE,
    PERSISTENT,
    UNTIL_CLOSE,
    RefusedError,
    Rules,
    apply_connection,
    authenticates_connection,
    drop,
    has,
    is_usual_length,
    length_of,
    lines_of,
    note_connection,
    note_upgrade,
    place_of,
    tokens,
    value_of,
    without,
)
from router.http1.names import HOP_BY_HOP, OURS
from router.settings import Limits

# The longest reasons are some tens of bytes; these lines are remembered, so a backend may not choose long ones.
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]{0,512}))?")

_MAX_KEEP_ALIVE: Final = 64  # bytes of a Keep-Alive that is remembered
_KEEP_ALIVE = re.compile(rb"(timeout|max) *= *\"?([0-9]{1,9})\"?")


def _prefixes(parts: tuple[bytes, ...]) -> bytes:
    """A pattern for every beginning of what matches these parts in a row."""
    pattern = b""
    for part in reversed(parts):
        pattern = b"(?:%b%b)?" % (part, pattern)
    return pattern


# Every beginning of a status line, without its end.
_STATUS_LINE_BEGINS = re.compile(
    _prefixes(
        (
            *(b"H", b"T", b"T", b"P", b"/", b"1", rb"\.", b"[01]", b" "),
            *(b"[1-9]", b"[0-9]", b"[0-9]", b" "),
            rb"[\t\x20-\x7e\x80-\xff]{1,512}",
        )
    )
)


class HeadBeginning:
    """Validates a head that has not arrived completely: what cannot become one any more is refused at once.

    A server of another protocol sends something of its own and then waits for us: an SSH banner, an error of Redis, a TLS
    alert, lines that end with LF. `size` is how many bytes have been fed.
    """

    __slots__ = ("_line", "_parser", "size")

    def __init__(self) -> None:
        self.size = 0
        self._line: bytes | None = b""  # the status line so far, until it is whole
        self._parser = HttpResponseParser(NO_CALLBACKS)

    def feed(self, data: bytes) -> None:
        """More of it, up to the head's end at most. Raises RefusedError(BAD_BACKEND_RESPONSE)."""
        self.size += len(data)
        if self._line is not None:
            line, end, _ = (self._line + data).partition(b"\r\n")
            if end:
                _read_status_line(line)
                self._line = None
            elif _STATUS_LINE_BEGINS.fullmatch(line.removesuffix(b"\r")) is None:
                raise RefusedError(errors.BAD_BACKEND_RESPONSE, "not HTTP")
            else:
                self._line = line
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            raise RefusedError(errors.BAD_BACKEND_RESPONSE, str(error)) from None


class ResponseHead:
    """A response's head. `framing` is NONE, CHUNKED, UNTIL_CLOSE or a length; `lines` and `block` as in RequestHead."""

    # Defaults stand on the class: a head sets only what it has.
    framing: int = -2  # UNTIL_CLOSE
    upgrade = b""
    location_at = -1
    may_refuse = False  # whether the program may say here that it does not serve this host (`proxy/host_refusal.py`)
    # Seconds that the backend keeps an idle connection, as it says (`Keep-Alive: timeout`); 0: it does not say.
    keep_for = 0
    binds = False  # it asks for something that authenticates the connection that it came on
    domain_cookies = False  # a cookie of its is for more than one host, as it seems
    has_request_id = False
    connection: tuple[bytes, ...] = ()
    block: bytes | None = None
    _lines: list[bytes] | None = None

    def __init__(self, status: int, reason: bytes, version: int) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.keep_alive = version == 1

    @property
    def lines(self) -> list[bytes]:
        """Not to be changed where `block` is known."""
        lines = self._lines
        if lines is None:
            lines = self._lines = lines_of(self.block)
        return lines

    @lines.setter
    def lines(self, lines: list[bytes]) -> None:
        self._lines = lines


_REFUSALS: Final = (400, 403)
_SHORT: Final = 19  # bytes of "Invalid Host header", which older webpack-dev-servers say with status 200


class ResponseReader:
    """Reads heads: a usual one in one pass (`head_scanner.py`), any other in full, with the same outcome."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most = limits.headers
        self._most_lines = limits.header_count

    def read(self, raw: bytes, method: bytes) -> ResponseHead:
        """As `read_response_head`."""
        if len(raw) <= self._most:
            found = scan_response(raw, _NAMES, self._most_lines)
            if found is not None:
                head = _usual(found, method)
                if head is not None:
                    return head
        return read_response_head(raw, method, self._limits)


def _usual(found: tuple[bytes, ...], method: bytes) -> ResponseHead | None:
    """The head of which these are the parts, by `_NAMES`; None where it has to be read in full."""
    line, block, length, location, request_id, connection, keep_alive, coding, _ = found
    head = ResponseHead(*_read_status_line(line))
    if head.version != 1 or head.status < 200 or (connection and connection not in PERSISTENT and connection != CLOSE):
        return None
    head.block = block
    if connection == CLOSE:
        head.keep_alive = False
        head.connection = (CLOSE,)
    if length:
        if coding or head.status == 204 or not is_usual_length(length):
            return None
        head.framing = int(length)
    elif coding:
        if coding != b"chunked":
            return None
        head.framing = CHUNKED
    if request_id:
        head.has_request_id = True
    if location:
        head.location_at = place_of(head.lines, b"location")
    if keep_alive:
        _keep_alive(head, b"", keep_alive)
    _settle(head, method)
    return head


def read_response_head(raw: bytes, method: bytes, limits: Limits) -> ResponseHead:
    """Read the head of a response to a request of that method. Raises RefusedError(BAD_BACKEND_RESPONSE)."""
    lines = raw[:-4].split(b"\r\n")
    head = ResponseHead(*_read_status_line(lines[0]))
    if len(raw) > limits.headers:
        check_size(raw, limits)
    if len(lines) - 1 > limits.header_count:
        raise RefusedError(errors.BAD_BACKEND_RESPONSE, f"it has more than {limits.header_count} header lines")
    try:
        HttpResponseParser(NO_CALLBACKS).feed_data(raw)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise RefusedError(errors.BAD_BACKEND_RESPONSE, str(error)) from None
    del lines[0]
    kept = head.lines
    for line in lines:
        name, _, value = line.partition(b":")
        rule = _RESPONSE_RULES.of(name)
        if rule is None:
            kept.append(line)
        else:
            rule(head, line, value.strip(b" \t"))
    if head.connection and (named := apply_connection(head)):
        head.lines = without(head.lines, named)
        head.location_at = place_of(head.lines, b"location")
    _settle(head, method)
    return head


def _settle(head: ResponseHead, method: bytes) -> None:
    """What follows from all of its lines together."""
    if head.keep_for < 0:
        head.keep_alive = False
    status = head.status
    head.may_refuse = status in _REFUSALS or head.framing == _SHORT
    if method == b"HEAD" or status < 200 or status in (204, 304):
        announced = head.framing
        if announced == CHUNKED if status == 304 else announced not in (NONE, UNTIL_CLOSE) and method != b"HEAD":
            head.keep_alive = False  # the body that it announces may still come, and is not the next response
        head.framing = NONE


def check_size(raw: bytes, limits: Limits) -> None:
    """Refuse a head over the limit, or as much of it as has arrived; say which header is to blame."""
    if len(raw) <= limits.headers:
        return
    lines = raw.split(b"\n")
    largest = max(lines[1:], key=len, default=b"")
    name = largest.partition(b":")[0].strip(b" \t")
    known = name.decode("ascii") if _NAME.fullmatch(name) else "one without a name"
    size = f"at least {len(largest)}" if largest is lines[-1] else f"{len(largest)}"
    raise RefusedError(
        errors.BAD_BACKEND_RESPONSE,
        f"its headers are longer than {limits.headers} bytes; the longest of them, {known}, has {size}",
    )


@lru_cache(maxsize=1024)
def _read_status_line(line: bytes) -> tuple[int, bytes, int]:
    """(status, reason, minor version). Backends say the same few lines over and over."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise RefusedError(errors.BAD_BACKEND_RESPONSE, "bad status line")
    return int(match[2]), match[3] or b"", int(match[1])


# What a header means to us. Each rule gets the head, the line and its value.


def _response_length(head: ResponseHead, line: bytes, value: bytes) -> None:
    if head.framing != UNTIL_CLOSE:
        raise RefusedError(errors.BAD_BACKEND_RESPONSE, "conflicting framing")
    head.framing = length_of(value, errors.BAD_BACKEND_RESPONSE)
    if head.status >= 200 and head.status != 204:  # RFC 9110 §8.6: never in 1xx and 204
        head.lines.append(line)


def _response_coding(head: ResponseHead, _line: bytes, value: bytes) -> None:
    if head.framing != UNTIL_CLOSE or head.version == 0 or value.lower() != b"chunked":
        raise RefusedError(errors.BAD_BACKEND_RESPONSE, "Transfer-Encoding is not exactly one chunked in HTTP/1.1")
    head.framing = CHUNKED


def _keep_alive(head: ResponseHead, _line: bytes, value: bytes) -> None:
    """How long the backend keeps the connection, and for how many requests (RFC 2068 §19.7.1.1)."""
    said = _short_keep_alive(value) if len(value) <= _MAX_KEEP_ALIVE else _read_keep_alive(value)
    if said < 0:
        head.keep_for = -1
    elif said and head.keep_for >= 0:
        head.keep_for = said


def _read_keep_alive(value: bytes) -> int:
    """Seconds that the connection is kept for, 0 where that is not said, -1 where it is the last time."""
    said = 0
    for parameter in tokens(value):
        match = _KEEP_ALIVE.fullmatch(parameter)
        if match is None:
            continue
        number = int(match[2])
        if number == 0:
            return -1
        if match[1] == b"timeout":
            said = number
    return said


_short_keep_alive = lru_cache(maxsize=256)(_read_keep_alive)  # a backend says one thing over and over


def _location(head: ResponseHead, line: bytes, _value: bytes) -> None:
    head.location_at = len(head.lines)
    head.lines.append(line)


def _www_authenticate(head: ResponseHead, line: bytes, value: bytes) -> None:
    head.binds = head.binds or authenticates_connection(value)
    head.lines.append(line)


def is_event_stream(head: ResponseHead) -> bool:
    """Whether it says that it is one. Looked up where it matters, since nearly every head has a Content-Type."""
    place = place_of(head.lines, b"content-type")
    return place >= 0 and value_of(head.lines[place]).partition(b";")[0].strip(b" \t").lower() == b"text/event-stream"


def _set_cookie(head: ResponseHead, line: bytes, value: bytes) -> None:
    if has(value.lower(), b"domain"):
        head.domain_cookies = True
    head.lines.append(line)


def _request_id(head: ResponseHead, line: bytes, _value: bytes) -> None:
    head.has_request_id = True
    head.lines.append(line)


_RESPONSE_RULES: Final = Rules(
    {
        **dict.fromkeys(HOP_BY_HOP, drop),
        b"connection": note_connection,
        b"keep-alive": _keep_alive,
        b"content-length": _response_length,
        b"transfer-encoding": _response_coding,
        b"upgrade": note_upgrade,
        b"location": _location,
        b"set-cookie": _set_cookie,
        b"www-authenticate": _www_authenticate,
        # It names a port or a host of the backend's own network, where visitors would look for us (RFC 7838 §3).
        b"alt-svc": drop,
        b"x-request-id": _request_id,
    },
    lambda name: drop if name.startswith(OURS) else None,
)

# The values come in this order: see `_usual`.
_NAMES: Final = Names(
    (b"content-length", b"location", b"x-request-id"),
    (b"connection", b"keep-alive", b"transfer-encoding"),
    (*sorted(HOP_BY_HOP - {b"keep-alive"}), b"alt-svc"),
    (b"upgrade", b"www-authenticate"),
    (OURS,),
    {b"set-cookie": b"domain"},
    {},
)
