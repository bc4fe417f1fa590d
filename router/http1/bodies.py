"""Bodies: where they end, and chunked framing taken apart and put on anew.

A sized body is a number that counts down, kept by the connection that reads it. A chunked one needs this reader, which is strict:
sizes of 1–16 hex digits, CRLF and nothing else at every line end, bounded lines, bounded trailers. Extensions are
dropped and sizes rewritten, so that no two readers behind each other can disagree about where a chunk ends; only what is
written exactly as we would write it goes on as it stands (`ChunkedReader.canonical`). In responses
it also takes blanks behind a size, and LF alone as the line end from one line to the end of the body (the table in this
package's docstring says why that is safe); a request with them is refused.

llhttp is not asked here: it cannot say where in its input a message ended, and what follows a message is the next one.
"""

import re
from typing import TYPE_CHECKING, Final

from router.base.proxy_only_headers import is_asserted, twin
from router.http1.names import NOT_BEGINNING_TRAILERS, NOT_IN_TRAILERS

if TYPE_CHECKING:
    from mypy_extensions import i64  # for the compiler: native integers, which the interpreter takes for plain ones

_MAX_LINE: Final = 4096  # a chunk's size line with its extensions, or one trailer
_MAX_TRAILERS: Final = 256  # lines: a trailer of four bytes costs a hundred times what four bytes of content do
_MAX_DIGITS: Final = 16
_MAX_SIZE: Final = (1 << 63) - 1  # what a signed 64-bit reader behind us can hold
# Framing may cost what a plain size line does, and twice the content; what goes beyond that adds up over the body, to
# this many bytes (RFC 9112 §7.1.1; Go's net/http counts alike since CVE-2023-39326). Chunks of one byte never exceed
# it, so that programs may send them for as long as they like; padded and extended ones do.
_MAX_EXCESS: Final = 16 * 1024
_PLAIN: Final = 16  # bytes of framing that each chunk may have
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")

# Where a ChunkedReader stands: in a chunk's size, in an extension behind it, before the LF of that line; in the content,
# before the CR and the LF behind it; in the trailers.
_SIZE: Final = 0
_EXTENSION: Final = 1
_SIZE_LF: Final = 2
_DATA: Final = 3
_DATA_CR: Final = 4
_DATA_LF: Final = 5
_TRAILERS: Final = 6
_BLANKS: Final = 7  # behind a size, before an extension or the line's end

_TAB: Final = 9
_LF: Final = 10
_CR: Final = 13
_BLANK: Final = 32
_ZERO: Final = 48
_NINE: Final = 57
_SEMICOLON: Final = 59
_UPPER_A: Final = 65
_UPPER_F: Final = 70
_LOWER_A: Final = 97
_LOWER_F: Final = 102
_DEL: Final = 127

# Chunks below this size are small: where more than so many of them come in one read, one chunk of them all is less to send.
_SMALL: Final = 256
_MAX_SMALL: Final = 4
_MAX_DIGITS_PASSED: Final = 8  # of the size of a chunk that goes on as it stands, which lies whole in one read

LAST_CHUNK: Final = b"0\r\n\r\n"

_BAD_SIZE: Final = "a chunk's size is not 1 to 16 hexadecimal digits and the end of the line"
_NO_LINE_END: Final = "a chunk's content is not followed by the end of its line"
_LINE_ENDS_DIFFER: Final = "its line ends are LF first and CRLF later"


class FramingError(Exception):
    """A body that does not keep to its framing. Nothing after this point can be trusted."""


class ChunkedReader:
    """Takes a chunked body apart, in whatever pieces it arrives.

    After `done`, `rest` holds the bytes behind the body and `trailers` its trailer lines, those that may be passed on.
    `lines` counts the size lines so far: what reading costs besides the bytes. `repaired`: it has met what only a lenient
    reader takes.
    """

    __slots__ = (
        "_bare",
        "_buffer",
        "_digits",
        "_excess",
        "_left",
        "_lenient",
        "_line",
        "_max_trailers_size",
        "_state",
        "_trailers",
        "_trailers_size",
        "done",
        "lines",
        "repaired",
        "rest",
        "trailers",
    )

    def __init__(self, max_trailers_size: int, *, lenient: bool = False) -> None:
        """`max_trailers_size` bounds the trailer section, in bytes. `lenient`: it is a response's."""
        self._bare = False  # lines end with LF alone from here on
        self._buffer = b""  # a trailer line that is not complete
        self._digits = 0  # of the size that is being read
        self._line = 0  # bytes of the size line so far
        self._left = 0  # bytes of content that the chunk still has
        self._excess = 0
        self._max_trailers_size = max_trailers_size
        self._lenient = lenient
        self._state = _SIZE
        self._trailers = 0
        self._trailers_size = 0
        self.done = False
        self.lines = 0
        self.repaired = False
        self.rest = b""
        self.trailers: list[bytes] = []

    @property
    def only_end_missing(self) -> bool:
        """Whether the last chunk has arrived and nothing but the empty line behind it is missing: the content is complete
        then. Where a trailer has begun there may have been more of them."""
        begun = b"" if self._bare else b"\r"
        return self._state == _TRAILERS and not self.done and not self._trailers and self._buffer in (b"", begun)

    def canonical(self, data: bytes) -> int:
        """How many bytes of content `data` has, where it is whole chunks and nothing else, framed as `chunk` and `last_chunk`
        would frame them: then it has been read, and may go on as it stands. Else -1, and it has to be fed.

        What goes on so is neither taken apart nor put together, which saves three copies (bench/README.md).
        """
        if self._state != _SIZE or self._digits or self._bare:
            return -1
        size: i64 = len(data)
        at: i64 = 0
        content: i64 = 0
        small: i64 = 0
        lines: i64 = 0
        done = False
        while at < size:
            begin: i64 = at
            left: i64 = 0
            byte: i64 = 0
            while True:
                if at == size or at - begin > _MAX_DIGITS_PASSED:
                    return -1
                byte = data[at]
                at += 1
                if _ZERO <= byte <= _NINE:
                    left = (left << 4) + byte - _ZERO
                elif _LOWER_A <= byte <= _LOWER_F:
                    left = (left << 4) + byte - (_LOWER_A - 10)
                else:
                    break
            end: i64 = at + 1 + left
            if byte != _CR or end + 2 > size or data[at] != _LF or data[end] != _CR or data[end + 1] != _LF:
                return -1
            lines += 1
            if left == 0:
                if at - begin != 2 or end + 2 != size:  # `0` alone, and no trailers
                    return -1
                done = True
                break
            if data[begin] == _ZERO:
                return -1
            if left < _SMALL:
                small += 1
                if small > _MAX_SMALL:
                    return -1
            content += left
            at = end + 2
        # As in `feed`, where each such chunk makes it less.
        self._excess = max(0, self._excess + size - content - lines * _PLAIN - (content << 1))
        self.lines += lines
        if done:
            self._state = _TRAILERS
            self.done = True
        return content

    def feed(self, data: bytes) -> bytes:
        """The content in `data`, without its framing. Raises FramingError.

        Bytes are looked at by their place, with integers of the machine: chunks of one byte cost 40 ns each when
        compiled (bench/README.md).
        """
        if self._state == _TRAILERS:
            self._feed_trailers(data)
            return b""
        if self._state == _DATA and len(data) <= self._left:  # the middle of a large chunk: nothing to look for
            self._left -= len(data)
            if self._left == 0:
                self._state = _DATA_CR
            return data
        content: list[bytes] = []
        size: i64 = len(data)
        at: i64 = 0
        state: i64 = self._state
        left: i64 = self._left
        digits: i64 = self._digits
        line: i64 = self._line
        excess: i64 = self._excess
        lines: i64 = 0
        byte: i64 = 0
        bare = self._bare
        while at < size:
            if state == _DATA:
                end: i64 = at + left
                if end > size:
                    left = end - size
                    content.append(data[at:size])
                    break
                content.append(data[at:end])
                at = end
                left = 0
                state = _DATA_CR
                continue
            byte = data[at]
            at += 1
            if state == _SIZE:
                line += 1
                if _ZERO <= byte <= _NINE:
                    byte -= _ZERO
                elif _LOWER_A <= byte <= _LOWER_F:
                    byte -= _LOWER_A - 10
                elif _UPPER_A <= byte <= _UPPER_F:
                    byte -= _UPPER_A - 10
                elif digits == 0:
                    raise FramingError(_BAD_SIZE)
                elif byte == _CR and not bare:
                    state = _SIZE_LF
                    continue
                elif byte == _SEMICOLON:
                    state = _EXTENSION
                    continue
                elif self._lenient and byte in (_BLANK, _TAB, _LF):
                    at -= 1
                    line -= 1
                    state = _BLANKS
                    self.repaired = True
                    continue
                else:
                    raise FramingError(_BAD_SIZE)
                if digits == _MAX_DIGITS or left > _MAX_SIZE >> 4:
                    raise FramingError(_BAD_SIZE)
                digits += 1
                left = (left << 4) + byte
            elif state == _DATA_CR:
                if bare:
                    at -= 1
                elif byte != _CR:
                    raise FramingError(_NO_LINE_END)
                state = _DATA_LF
            elif state == _DATA_LF:
                if byte != _LF:
                    raise FramingError(_NO_LINE_END)
                state = _SIZE
                digits = 0
                line = 0
            elif state == _SIZE_LF:
                if byte != _LF:
                    raise FramingError("the line of a chunk's size has a CR in it that ends no line")
                lines += 1
                excess += line + 3 - _PLAIN
                if left <= _MAX_EXCESS:  # more than that pays for any line
                    excess -= left << 1
                else:
                    excess = 0
                if excess < 0:
                    excess = 0
                elif excess > _MAX_EXCESS:
                    raise FramingError("its chunks have far more framing than content")
                if left == 0:
                    state = _TRAILERS
                    break
                state = _DATA
            elif state == _BLANKS:
                line += 1
                if byte == _SEMICOLON:
                    state = _EXTENSION
                elif byte == _CR and not bare:
                    state = _SIZE_LF
                elif byte == _LF:
                    at -= 1
                    state = _SIZE_LF
                    bare = self._bare = True
                elif byte not in (_BLANK, _TAB) or line > _MAX_LINE:
                    raise FramingError(_BAD_SIZE)
            elif byte == _CR and not bare:
                state = _SIZE_LF
            else:  # an extension
                line += 1
                if line > _MAX_LINE:
                    raise FramingError(f"the line of a chunk's size is longer than {_MAX_LINE} bytes")
                if (byte < _BLANK and byte != _TAB) or byte == _DEL:
                    raise FramingError("a chunk extension has a control character in it")
        self._state = state
        self._left = left
        self._digits = digits
        self._line = line
        self._excess = excess
        self.lines += lines
        if state == _TRAILERS:
            self._feed_trailers(data[at:size])
        return content[0] if len(content) == 1 else b"".join(content)

    def bad_byte(self, data: bytes) -> int:
        """Which byte of `data` was refused, after `feed(data)` has raised FramingError: the first with which it does. -1 where that is
        not known: in the trailers."""
        if self._state == _TRAILERS:
            return -1
        low, high = 1, len(data)
        while low < high:
            middle = (low + high) // 2
            try:
                self._again().feed(data[:middle])
            except FramingError:
                high = middle
            else:
                low = middle + 1
        return low - 1

    def _again(self) -> "ChunkedReader":
        """Another reader that stands where this one does: a piece that is refused leaves it where it was."""
        reader = ChunkedReader(self._max_trailers_size, lenient=self._lenient)
        reader._bare = self._bare
        reader._digits = self._digits
        reader._line = self._line
        reader._left = self._left
        reader._excess = self._excess
        reader._state = self._state
        return reader

    def _feed_trailers(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        most = min(_MAX_LINE, self._max_trailers_size) + 2
        while True:
            end = data.find(b"\n", at, at + most)
            if end < 0:
                break
            line = self._end_line(data[at : end + 1])
            at = end + 1
            if not line:
                self.done = True
                self.rest = data[at:]
                return
            self._read_trailer(line)
        line = data[at:]
        if len(line.removesuffix(b"\r")) > min(_MAX_LINE, self._max_trailers_size - self._trailers_size):
            raise FramingError("its trailers are too large")
        if b"\r" in line[:-1]:
            raise FramingError("a trailer has a CR in it that ends no line")
        self._buffer = line

    def _end_line(self, line: bytes) -> bytes:
        """A trailer line without its end."""
        if line.endswith(b"\r\n"):
            if self._bare:
                raise FramingError(_LINE_ENDS_DIFFER)
            return line[:-2]
        if not self._lenient:
            raise FramingError("a trailer line ends with LF alone")
        self._bare = self.repaired = True
        return line[:-1]

    def _read_trailer(self, line: bytes) -> None:
        self._trailers += 1
        self._trailers_size += len(line) + 2
        if self._trailers > _MAX_TRAILERS or self._trailers_size > self._max_trailers_size:
            raise FramingError("its trailers are too large")
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise FramingError("a trailer is no name, colon and value")
        name = twin(match[1])
        if name not in NOT_IN_TRAILERS and not name.startswith(NOT_BEGINNING_TRAILERS) and not is_asserted(name):
            self.trailers.append(line)


def chunk(content: bytes) -> bytes:
    """One chunk. `content` must not be empty: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join([line + b"\r\n" for line in trailers]) + b"\r\n"
