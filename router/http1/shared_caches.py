"""Keeps responses that are for some visitors only out of caches that are for all.

A cache in front of us knows nothing of who may open a preview: what it keeps, it gives to anybody. RFC 9111 §3.5 keeps it
from storing what was asked for with Authorization, but visitors come by cookies and other headers too, and there it may
store anything that says how long it is good for, and guess where nothing does. It also lets a program allow it with
`public`, which frameworks say of every script and picture without knowing who may see them. So such a response is
`private`: browsers keep it as before, with all else that the program says.
"""

import re
from typing import Final

from router.http1.heads import has, place_of, value_of
from router.http1.responses import ResponseHead

_PRIVATE: Final = b"Cache-Control: private"
_DIRECTIVE: Final = re.compile(rb'[ \t]*([^\s=,"]+)(?:[ \t]*=[ \t]*(?:"(?:[^"\\]|\\.)*"|[^\s,"]*))?[ \t]*(?:,|$)')
_BLANK: Final = re.compile(rb"[ \t,]*")
_FOR_ALL: Final = frozenset((b"public", b"s-maxage", b"proxy-revalidate"))
_KEPT_OUT: Final = frozenset((b"private", b"no-store"))
# What tells caches of one kind something else than the others, as names that end with `-cache-control` do (RFC 9213).
_TARGETED: Final = frozenset((b"surrogate-control", b"x-accel-expires"))


def unshared(head: ResponseHead) -> ResponseHead:
    """The head as a shared cache does not keep it: the same where it says that already."""
    block = head.block
    if block is not None:
        lower = block.lower()
        if not has(lower, b"-control:") and not has(lower, b"x-accel-expires"):  # nothing for caches, as in most heads
            made = _copy(head)
            made.block = b"%b%b\r\n" % (block, _PRIVATE)
            made.location_at = head.location_at
            return made
    lines = private_lines(head.lines)
    if lines == head.lines:
        return head
    made = _copy(head)
    made.lines = lines
    made.location_at = place_of(lines, b"location") if head.location_at >= 0 else -1
    return made


def private_lines(lines: list[bytes]) -> list[bytes]:
    """The header lines with one Cache-Control that has `private` or `no-store` and lets no shared cache keep anything."""
    kept: list[bytes] = []
    said: list[bytes] = []
    place = -1
    for line in lines:
        name = line[: line.find(b":")].lower()
        if name == b"cache-control":
            if place < 0:
                place = len(kept)
            said.append(value_of(line))
        elif not name.endswith(b"-cache-control") and name not in _TARGETED:
            kept.append(line)
    if place < 0:
        return [*kept, _PRIVATE]
    value = b", ".join(said)
    narrowed = _narrowed(value)
    if narrowed == value and len(kept) + len(said) == len(lines):
        return lines
    return [*kept[:place], b"Cache-Control: " + narrowed, *kept[place:]]


def _narrowed(value: bytes) -> bytes:
    """A Cache-Control without what allows shared caches to keep the response."""
    directives: list[bytes] = []
    kept_out = widened = False
    at = 0
    while True:
        blank = _BLANK.match(value, at)
        at = at if blank is None else blank.end()
        if at >= len(value):
            break
        match = _DIRECTIVE.match(value, at)
        if match is None:  # nobody can say what it means, so it says nothing else
            return b"private"
        directive = match[0].rstrip(b", \t")
        if directive.lower() in _KEPT_OUT:  # with a list of headers, `private` is about those alone
            kept_out = True
        if match[1].lower() in _FOR_ALL:
            widened = True
        else:
            directives.append(directive)
        at = match.end()
    if kept_out and not widened:
        return value
    if not kept_out:
        directives.insert(0, b"private")
    return b", ".join(directives)


def _copy(head: ResponseHead) -> ResponseHead:
    """The same without its lines."""
    made = ResponseHead(head.status, head.reason, head.version)
    made.framing = head.framing
    made.upgrade = head.upgrade
    made.domain_cookies = head.domain_cookies
    made.has_request_id = head.has_request_id
    return made
