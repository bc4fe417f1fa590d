"""Heads of backends' answers: from the bytes up to the empty line to a value, or to a refusal."""

import re
from functools import lru_cache
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from router import errors
from router.http1.heads import (
    CHUNKED,
    NO_CALLBACKS,
    NONE,
    UNTIL_CLOSE,
    RefusedError,
    Rules,
    apply_connection,
    check_sizes,
    drop,
    length_of,
    note_connection,
    note_upgrade,
    place_of,
    seen_before,
    without,
)
from router.http1.names import HOP_BY_HOP, OURS
from router.settings import Limits

# The longest reasons are some tens of bytes; these lines are remembered, so a backend may not choose long ones.
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]{0,512}))?")


class ResponseHead:
    """An answer's head. `framing` is NONE, CHUNKED, UNTIL_CLOSE or a length; `lines` as in RequestHead."""

    # Defaults stand on the class: a head sets only what it has.
    framing: int = -2  # UNTIL_CLOSE
    upgrade = b""
    location_at = -1
    connection: tuple[bytes, ...] = ()
    ready: bytes | None = None  # what goes to a client of HTTP/1.1 that stays, once that has been made

    def __init__(self, status: int, reason: bytes, version: int) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.lines: list[bytes] = []
        self.keep_alive = version == 1


_MOST: Final = 512  # heads that are remembered
_LONGEST: Final = 2048  # bytes of one of them


class ResponseReader:
    """Reads heads, and remembers them: backends say the same thing again while their Date stands, and often for longer.

    One head may belong to several exchanges then, so none of them may change it. Answers to HEAD are not remembered:
    the same bytes mean another framing there. Bounded, since backends choose what they say, and kept when they come the
    second time, as in RequestReader.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: set[int] = set()
        self._known: dict[bytes, ResponseHead] = {}

    def read(self, raw: bytes, method: bytes) -> ResponseHead:
        """As `read_response_head`."""
        if method == b"HEAD":
            return read_response_head(raw, method, self._limits)
        head = self._known.get(raw)
        if head is None:
            head = read_response_head(raw, method, self._limits)
            if seen_before(self._seen, hash(raw)) and len(raw) <= _LONGEST:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[raw] = head
        return head


def read_response_head(raw: bytes, method: bytes, limits: Limits) -> ResponseHead:
    """Read the head of an answer to a request of that method. Raises RefusedError(BAD_BACKEND_RESPONSE)."""
    lines = raw[:-4].split(b"\r\n")
    head = ResponseHead(*_read_status_line(lines[0]))
    if len(raw) > limits.header or len(lines) > limits.header_count:  # most heads are far from any limit
        check_sizes(raw, lines, limits, errors.BAD_BACKEND_RESPONSE)
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
    status = head.status
    if method == b"HEAD" or status < 200 or status in (204, 304):
        if status == 204 and head.framing not in (NONE, UNTIL_CLOSE):
            head.keep_alive = False  # the body that it announces may still come, and is not the next answer
        head.framing = NONE
    return head


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


def _location(head: ResponseHead, line: bytes, _value: bytes) -> None:
    head.location_at = len(head.lines)
    head.lines.append(line)


_RESPONSE_RULES: Final = Rules(
    {
        **dict.fromkeys(HOP_BY_HOP, drop),
        b"connection": note_connection,
        b"content-length": _response_length,
        b"transfer-encoding": _response_coding,
        b"upgrade": note_upgrade,
        b"location": _location,
    },
    lambda name: name.startswith(OURS),
)
