"""Heads of responses that the strict reader refuses, and whose meaning RFC 9112 defines all the same: made clean.

The table of what is repaired, how, and what stays refused is in this package's docstring. A head is repaired line by
line as it arrives, each byte is looked at once, and what cannot become a response any more is refused with the byte that
is wrong. What comes out is read by the strict reader like any other head, so nothing gets past it.
"""

import re
from typing import Final

from router import errors
from router.http1.heads import RefusedError
from router.http1.responses import ResponseHead, check_size, read_response_head
from router.settings import Limits

# A status line, whole or as far as it has arrived. RFC 9110 §2.5: a higher minor version is read as the highest known.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_BEGINNING: Final = re.compile(
    rb"H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[0-9](?: (?:[1-9](?:[0-9](?:[0-9](?: .*)?)?)?)?)?)?)?)?)?)?)?)?"
)
_BAD_BYTE: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE_CR: Final = re.compile(rb"\r[^\n]")
_MAX_STATUS_LINE: Final = 4096  # bytes
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DIGITS: Final = re.compile(rb"0*([0-9]{1,19})")
_MAX_REASON: Final = 512  # bytes; a longer one says nothing that a client has to know (RFC 9112 §4)
_MAX_LENGTHS: Final = 16  # members of a Content-Length
_FRAMING: Final = (b"content-length", b"transfer-encoding")
_NO_STATUS_LINE: Final = "it does not begin with an HTTP/1 status line"


def _refusal(why: str) -> RefusedError:
    return RefusedError(errors.BAD_BACKEND_RESPONSE, why)


class HeadRepair:
    """One head. Feed it everything that has arrived of the head so far until it is complete, then take the `head`."""

    __slots__ = ("_at", "_bare", "_limits", "_lines", "_lowered", "_parts", "_searched", "end")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lines: list[bytes] = []  # repaired, the status line first
        self._lowered: list[bytes] = []  # their names in lower case
        self._parts: list[bytes] = []  # of a header line that may go on in the next one
        self._at = 0  # where the line begins that is not complete
        self._searched = 0  # up to where bytes have been looked at
        self._bare = False  # lines end with LF alone from here on
        self.end = -1  # behind the head, -1 as long as that has not arrived

    def feed(self, data: bytes) -> None:
        """Read on: `data` begins with the head's first byte. Raises RefusedError(BAD_BACKEND_RESPONSE)."""
        limits = self._limits
        while True:
            stop = data.find(b"\n", self._searched)
            if stop < 0:
                break
            line = data[self._at : stop]
            self._at = self._searched = stop + 1
            if stop >= limits.headers:
                check_size(data[: stop + 1], limits)
            if line.endswith(b"\r"):
                if self._bare:
                    raise _refusal("its line ends are LF first and CRLF later: a line may be part of a header's value")
                line = line[:-1]
            else:
                self._bare = True
            if not line and self._lines:
                self._finish_line()
                self.end = stop + 1
                return
            self._add(line)
        rest = data[self._at :]
        if len(data) > limits.headers:
            check_size(data, limits)
        if not self._lines:
            if len(rest) > _MAX_STATUS_LINE or _BEGINNING.fullmatch(rest.removesuffix(b"\r")) is None:
                raise _refusal(_NO_STATUS_LINE)
        else:
            self._check_bytes(data[max(self._at, self._searched - 1) :])
        self._searched = len(data)

    def _check_bytes(self, some: bytes) -> None:
        if _BAD_BYTE.search(some) is not None:
            raise _refusal("a header has a control character in it")
        if _BARE_CR.search(some) is not None:
            raise _refusal("a header has a CR in it that ends no line")

    def _add(self, line: bytes) -> None:
        if not self._lines:
            self._lines.append(_status_line(line))
            self._lowered.append(b"")
            return
        self._check_bytes(line + b"\r")
        if line.startswith((b" ", b"\t")):
            self._fold(line)
            return
        self._finish_line()
        if len(self._lines) > self._limits.header_count:
            raise _refusal(f"it has more than {self._limits.header_count} header lines")
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if not colon:
            raise _refusal("a header line has no colon")
        if _NAME.fullmatch(name) is None:
            raise _refusal("a header's name is empty or has bytes that no name may have")
        self._parts = [name + b":" + value]
        self._lowered.append(name.lower())

    def _fold(self, line: bytes) -> None:
        """A line that goes on with the one before it (RFC 9112 §5.2): one blank in place of the line end."""
        more = line.strip(b" \t")
        if not more:
            raise _refusal("a line of blanks: some take it for the end of the headers")
        if not self._parts:
            raise _refusal("its first header line begins with a blank")
        if self._lowered[-1] in _FRAMING:
            raise _refusal("a header that says where the body ends is folded over two lines")
        if len(self._parts) > self._limits.header_count:
            raise _refusal(f"it has more than {self._limits.header_count} header lines")
        self._parts.append(more)

    def _finish_line(self) -> None:
        parts = self._parts
        if parts:
            self._lines.append(parts[0] if len(parts) == 1 else b" ".join([parts[0].rstrip(b" \t"), *parts[1:]]))
            self._parts = []

    def head(self, method: bytes) -> ResponseHead:
        """The head, once it is complete. Its connection serves no other request. Raises RefusedError."""
        if self._lines[0][9:12] == b"101" and b"upgrade" not in self._lowered:
            raise _refusal("it switches protocols (101) and does not say to which")
        raw = b"\r\n".join([*self._framed(), b"", b""])
        head = read_response_head(raw, method, self._limits)
        head.keep_alive = False
        return head

    def _framed(self) -> list[bytes]:
        """The lines, with one header at most that says where the body ends."""
        names = self._lowered
        lengths = [line for line, name in zip(self._lines, names, strict=True) if name == b"content-length"]
        codings = [line for line, name in zip(self._lines, names, strict=True) if name == b"transfer-encoding"]
        framing: list[bytes] = []
        if lengths:
            framing = [b"Content-Length: %d" % _one_length(lengths)]
        if [_value(line).lower() for line in codings] == [b"identity"]:
            codings = []  # RFC 2616 §3.6: no coding at all, so it is as if it did not stand there
        if len(codings) > 1:
            raise _refusal("it has more than one Transfer-Encoding")
        if codings:
            if _value(codings[0]).lower() != b"chunked":
                raise _refusal("its Transfer-Encoding is something else than chunked")
            if self._lines[0].startswith(b"HTTP/1.0"):
                raise _refusal("it is HTTP/1.0, which has no chunks, and says that it is chunked")
            framing = codings  # RFC 9112 §6.3: it overrides a length
        return [line for line, name in zip(self._lines, names, strict=True) if name not in _FRAMING] + framing


def _value(line: bytes) -> bytes:
    return line.partition(b":")[2].strip(b" \t")


def _one_length(lines: list[bytes]) -> int:
    """The length that all Content-Lengths say (RFC 9112 §6.3)."""
    members = [member.strip(b" \t") for line in lines for member in _value(line).split(b",")]
    if len(members) > _MAX_LENGTHS:
        raise _refusal("it has too many Content-Lengths")
    matches = [_DIGITS.fullmatch(member) for member in members]
    found = {int(match[1]) for match in matches if match is not None}
    if None in matches:
        raise _refusal("a Content-Length is no number")
    if len(found) != 1:
        raise _refusal("it has two Content-Lengths that differ")
    return found.pop()


def _status_line(line: bytes) -> bytes:
    match = _STATUS_LINE.fullmatch(line)
    if match is None or len(line) > _MAX_STATUS_LINE:
        if _BEGINNING.match(line) is not None and line.startswith(b"HTTP/1."):
            raise _refusal("its status line is not HTTP/1.x, one blank, three digits, and a reason behind a blank")
        raise _refusal(_NO_STATUS_LINE)
    reason = match[3] or b""
    minor = b"0" if match[1] == b"0" else b"1"
    return b"HTTP/1.%b %b %b" % (minor, match[2], reason if len(reason) <= _MAX_REASON else b"")
