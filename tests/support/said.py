"""What a backend has said, read by a second reader: by the RFC's rules, written down apart from the code under test."""

import re
from dataclasses import dataclass, replace

_LINE = re.compile(rb"([^\r\n]*)(\r?\n)")
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})( [\t\x20-\x7e\x80-\xff]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)([ \t]*):([\t\x20-\x7e\x80-\xff]*)")
# A chunk's line, with an extension or without; LF alone may end it where it has none.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*)(?:;[\t\x20-\x7e\x80-\xff]*(?=\r))?(\r?\n)")
_TRAILER = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)?(\r?\n)")
_NUMBER = re.compile(rb"[0-9]{1,25}")


@dataclass
class Said:
    """A final response. `strict`: it, and the 1xx before it, keep to every rule; `rest`: what came behind it."""

    status: int
    body: bytes
    strict: bool
    keep_alive: bool
    rest: bytes


@dataclass
class _Head:
    minor: int
    status: int
    fields: list[tuple[bytes, bytes]]
    strict: bool
    end: int

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]


def said(data: bytes, method: bytes = b"GET") -> Said | None:
    """The final response in `data`, after which the connection was closed in order; None where that is in doubt."""
    at, strict = 0, True
    while (head := _read_head(data, at)) is not None:
        at = head.end
        strict = strict and head.strict
        if _framing(head) is None or head.status == 101:
            return None
        if head.status >= 200:
            return _read_body(data, head, method, strict=strict)
    return None


def _read_head(data: bytes, at: int) -> _Head | None:
    lines: list[bytes] = []
    strict = True
    while (line := _LINE.match(data, at)) is not None:
        at = line.end()
        if line[2] == b"\n":
            strict = False
        elif not strict:
            return None  # CRLF behind LF
        if not line[1]:
            break
        if line[1][:1] in b" \t" and line[1].strip(b" \t") == b"":
            return None
        lines.append(line[1])
    else:
        return None
    status = _STATUS.fullmatch(lines[0]) if lines else None
    if status is None:
        return None
    strict = strict and status[1] in b"01" and len(status[3] or b"") <= 513
    fields: list[tuple[bytes, bytes]] = []
    for text in lines[1:]:
        if text[:1] in b" \t":
            if not fields or fields[-1][0] in (b"content-length", b"transfer-encoding") or b"\x7f" in text:
                return None
            if re.search(rb"[\x00-\x08\x0a-\x1f]", text):
                return None
            fields[-1] = (fields[-1][0], fields[-1][1] + b" " + text.strip(b" \t"))
            strict = False
            continue
        header = _HEADER.fullmatch(text)
        if header is None:
            return None
        strict = strict and not header[2]
        fields.append((header[1].lower(), header[3].strip(b" \t")))
    return _Head(min(int(status[1]), 1), int(status[2]), fields, strict, at)


def _framing(head: _Head) -> tuple[str, int, bool] | None:
    """(how, length, strict); None where it is in doubt."""
    numbers = [part.strip(b" \t") for value in head.all(b"content-length") for part in value.split(b",")]
    codings = [value.lower() for value in head.all(b"transfer-encoding")]
    if not all(_NUMBER.fullmatch(number) for number in numbers) or len({int(number) for number in numbers}) > 1:
        return None
    plain = len(numbers) <= 1 and not any(len(number) > 1 and number[:1] == b"0" for number in numbers)
    if codings == [b"chunked"] and head.minor == 1:
        return "chunked", 0, not numbers
    if codings not in ([], [b"identity"]):
        return None
    if not numbers:
        return "close", 0, not codings
    return ("length", int(numbers[0]), plain and not codings) if int(numbers[0]) < 1 << 63 else None


def _read_body(data: bytes, head: _Head, method: bytes, *, strict: bool) -> Said | None:
    framing = _framing(head)
    if framing is None:
        return None
    how, length, plain = framing
    options = b",".join(head.all(b"connection")).lower()
    keep = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    strict = strict and plain
    at = head.end
    if method == b"HEAD" or head.status in (204, 304):
        return Said(head.status, b"", strict, keep, data[at:])
    if how == "close":
        return Said(head.status, data[at:], strict, False, b"")
    if how == "length":
        body = data[at : at + length]
        return Said(head.status, body, strict, keep, data[at + length :]) if len(body) == length else None
    content, end = b"", b"\r\n"
    while (size := _CHUNK.match(data, at)) is not None:
        if len(size[3]) > len(end):
            return None  # CRLF behind LF
        end = size[3]
        strict = strict and not size[2] and end == b"\r\n"
        at, length = size.end(), int(size[1], 16)
        if length == 0:
            return _read_trailers(data, at, end, Said(head.status, content, strict, keep, b""))
        content += data[at : at + length]
        at += length
        if not data.startswith(end, at):
            return None
        at += len(end)
    return None


def _read_trailers(data: bytes, at: int, end: bytes, read: Said) -> Said | None:
    """What follows the last chunk of what has been `read`, whose lines end with `end` up to here."""
    if data[at:] in (b"", end[:-1]):
        return replace(read, strict=False, keep_alive=False)
    while (line := _TRAILER.match(data, at)) is not None and len(line[1]) <= len(end):
        at, end = line.end(), line[1]
        if line[0] == end:
            return replace(read, strict=read.strict and end == b"\r\n", rest=data[at:])
        if end == b"\n":
            read = replace(read, strict=False)
    return None
