"""Bodies: where they end, and chunked framing taken apart and put on anew.

A sized body is a number that counts down, kept by whoever reads it. A chunked one needs this reader, which is strict:
sizes of 1–16 hex digits, CRLF and nothing else at every line end, bounded lines, bounded trailers. Extensions are
dropped and sizes rewritten, so that no two readers behind each other can disagree about where a chunk ends.

llhttp is not asked here: it cannot say where in its input a message ended, and what follows a message is the next one.
"""

import re
from typing import Final

from router.http1.names import NOT_BEGINNING_TRAILERS, NOT_IN_TRAILERS

_MAX_LINE: Final = 4096  # a chunk's size line with its extensions
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")

# What a ChunkedReader waits for: a chunk's size, its content, the line end behind that, or a trailer.
_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3

LAST_CHUNK: Final = b"0\r\n\r\n"


class FramingError(Exception):
    """A body that does not keep to its framing. Nothing after this point can be trusted."""


class ChunkedReader:
    """Takes a chunked body apart, in whatever pieces it arrives.

    After `done`, `rest` holds the bytes behind the body and `trailers` its trailer lines, those that may be passed on.
    """

    __slots__ = ("_buffer", "_left", "_most", "_state", "_trailer_size", "done", "rest", "trailers")

    def __init__(self, most_trailers: int) -> None:
        """`most_trailers` bounds the trailer section, in bytes."""
        self._buffer = b""
        self._left = 0
        self._most = most_trailers
        self._state = _SIZE
        self._trailer_size = 0
        self.done = False
        self.rest = b""
        self.trailers: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """The content in `data`, without its framing. Raises FramingError."""
        if self._state == _DATA and len(data) <= self._left:  # the middle of a large chunk: nothing to look for
            self._left -= len(data)
            if self._left == 0:
                self._state = _DATA_END
            return data
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        content: list[bytes] = []
        at, size = 0, len(data)
        while at < size:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                content.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                if size - at < 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise FramingError("no CRLF behind a chunk")
                at += 2
                self._state = _SIZE
            else:
                end = data.find(b"\r\n", at, at + _MAX_LINE + 2)
                if end < 0:
                    self._check_partial(data[at:])
                    break
                line = data[at:end]
                at = end + 2
                if self._state == _SIZE:
                    self._read_size(line)
                elif not line:
                    self.done = True
                    self.rest = data[at:]
                    return b"".join(content)
                else:
                    self._read_trailer(line)
        self._buffer = data[at:]
        return content[0] if len(content) == 1 else b"".join(content)

    def _check_partial(self, line: bytes) -> None:
        if len(line.removesuffix(b"\r")) > _MAX_LINE:
            raise FramingError("chunk line too long")
        if b"\n" in line or b"\r" in line[:-1]:
            raise FramingError("bare CR or LF in a chunk line")
        if self._state == _SIZE and line and line[0] not in b"0123456789abcdefABCDEF":
            raise FramingError("bad chunk size")

    def _read_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise FramingError("bad chunk size")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS

    def _read_trailer(self, line: bytes) -> None:
        self._trailer_size += len(line) + 2
        if self._trailer_size > self._most:
            raise FramingError("trailers too large")
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise FramingError("bad trailer")
        name = match[1].lower()
        twin = name.replace(b"_", b"-")
        if twin not in NOT_IN_TRAILERS and not twin.startswith(NOT_BEGINNING_TRAILERS):
            self.trailers.append(line)


def chunk(content: bytes) -> bytes:
    """One chunk. `content` must not be empty: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join([line + b"\r\n" for line in trailers]) + b"\r\n"
