"""Heads of a program that is told another Host than the visited one: one story on the way in, the truth on the way out.

Dev servers serve the names they know only (`localhost`, mostly), and frameworks compare what several headers say of the
host: Next.js holds Origin against X-Forwarded-Host or else Host, Rails against X-Forwarded-Proto and X-Forwarded-Host,
Django against its scheme and Host. So every header that speaks of it is told the same: the program is visited as
`http://<host>`, by nobody but its own pages where Origin and Referer say so, and nothing says otherwise.

    in   Host, Origin, Referer, Destination and If (RFC 4918 §10.3, §10.4), X-Forwarded-Host, -Port, -Proto, Forwarded
    out  Location, Content-Location, Refresh, Link, Access-Control-Allow-Origin, the Domain of Set-Cookie

Only what names the host itself is replaced, byte for byte; what is nested in another URL is not the host's. Bodies are
never touched.

A program's defence against cross-site requests must not fall for the story. So an Origin becomes the told one only where it
is the public origin of this very request, by scheme, name and port. One that came as the told origin, from a page on the
visitor's own machine, would pass for the program's: it becomes `null`, which is nobody's (RFC 6454 §6.1), and such a
Referer is left out.

Location is mended for every program (`public_location`): one that knows its name but not that TLS ended before it, or
through which port it is visited, sends its visitors to the wrong place.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from router.http1.cookies import without_domain
from router.http1.heads import has, value_of
from router.http1.requests import RequestHead

if TYPE_CHECKING:
    from router.http1.forwarding import ClientInfo

# An authority without a user: a name or an address, and perhaps a port.
_AUTHORITY: Final = rb"((?:\[[0-9A-Fa-f:.]*\]|[^/?#@:\\\s\[\]]*)(?::[0-9]*)?)"
_ABSOLUTE: Final = re.compile(rb"(?:(https?):)?//%b((?:[/?#].*)?)" % _AUTHORITY, re.IGNORECASE | re.DOTALL)
_ORIGIN: Final = re.compile(rb"(https?)://%b" % _AUTHORITY, re.IGNORECASE)
# Where a URL begins in these headers, and the URL up to its path: nothing that stands in another URL's query.
_IN_BRACKETS: Final = re.compile(rb"(<[ \t]*)((?:https?:)?//[^/?#>\s]*)", re.IGNORECASE)
_IN_REFRESH: Final = re.compile(
    rb"\A([ \t]*[0-9.]*[ \t]*[;,]?[ \t]*(?:url[ \t]*=[ \t]*)?[\"']?)((?:https?:)?//[^/?#\"'\s]*)", re.IGNORECASE
)
_DEFAULT_PORTS: Final = {b"http": b"80", b"https": b"443"}
# What programs on this machine call themselves, beside the `localhost` that they are told.
_THIS_MACHINE: Final = frozenset((b"localhost", b"127.0.0.1", b"[::1]", b"0.0.0.0"))


class ToldHost:
    """Which Host a program is told. `host` None is the visited one, as it came.

    `if_refused` is what it is told from then on if it refuses the visited one, None where that changes nothing. One object
    is shared by all routes to a port of one boot of a machine, so that all of them learn at once. `paths` are how the
    targets begin of which this is true, all of them where it is empty. `refuser` is what has refused a host, once known.
    """

    def __init__(self, host: bytes | None = None, if_refused: bytes | None = None) -> None:
        self.host = host
        self.if_refused = if_refused
        self.paths: tuple[bytes, ...] = ()
        self.refuser = ""

    def tell(self, host: bytes, paths: tuple[bytes, ...] = ()) -> None:
        """From now on."""
        self.host = host
        self.paths = paths

    def covers(self, target: bytes) -> bool:
        """Whether a request for `target` is told `host`, where there is one."""
        return not self.paths or target.startswith(self.paths)


# Requests.


def told_lines(head: RequestHead, visitor: "ClientInfo", host: bytes) -> list[bytes]:
    """The request's header lines as a program reads them that is told `host`."""
    lines: list[bytes] = []
    for line in head.lines:
        name = line[: line.find(b":")].lower()
        if name == b"host":
            lines.append(b"Host: " + host)
        elif name == b"origin":
            lines.append(_told_origin(line, visitor, host))
        elif name == b"referer":
            told = _told_url(value_of(line), visitor, host)
            if told is None:
                lines.append(line)
            elif told:
                lines.append(b"Referer: " + told)
        elif name == b"destination":
            told = _told_url(value_of(line), visitor, host)
            lines.append(b"Destination: " + told if told else line)
        elif name == b"if":
            lines.append(_IN_BRACKETS.sub(lambda match: match[1] + _told_base(match[2], visitor, host), line))
        else:
            lines.append(line)
    return lines


def told_forwarding(visitor: "ClientInfo", host: bytes) -> bytes:
    """What the forwarding headers say to a program that is told `host`. The client's address stays the truth."""
    client = visitor.client.encode("ascii")
    node = b'"[%b]"' % client if has(client, b":") else client
    return (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"
        b'Forwarded: for=%b;host="%b";proto=http\r\n' % (client, host, _split(host, b"http")[1], node, host)
    )


def _told_origin(line: bytes, visitor: "ClientInfo", host: bytes) -> bytes:
    value = value_of(line)
    if is_public(value, visitor):
        return b"Origin: http://" + host
    return b"Origin: null" if _is_told(value, host) else line


def _told_url(value: bytes, visitor: "ClientInfo", host: bytes) -> bytes | None:
    """The told URL of one of the visited host; None for one of another; nothing for one that only passes for the program's."""
    match = _ABSOLUTE.fullmatch(value)
    if match is None or match[1] is None:
        return None
    origin = match[1] + b"://" + match[2]
    if is_public(origin, visitor):
        return b"http://" + host + match[3]
    return b"" if _is_told(origin, host) else None


def _told_base(base: bytes, visitor: "ClientInfo", host: bytes) -> bytes:
    return b"http://" + host if is_public(base, visitor) else base


def is_public(origin: bytes, visitor: "ClientInfo") -> bool:
    """Whether it is the origin that the visitor calls the program's: by scheme, name and port."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    scheme = match[1].lower()
    return scheme == visitor.scheme and _split(match[2], scheme) == _split(visitor.host, scheme)


def _is_told(origin: bytes, host: bytes) -> bool:
    match = _ORIGIN.fullmatch(origin)
    return match is not None and _split(match[2], match[1].lower()) == _split(host, b"http")


# Responses.


def public_lines(lines: list[bytes], visitor: "ClientInfo", host: bytes) -> list[bytes]:
    """A response's header lines as visitors read them, of a program that is told `host`."""
    return [_public_line(line, visitor, host) for line in lines]


def _public_line(line: bytes, visitor: "ClientInfo", host: bytes) -> bytes:
    rewrite = _RESPONSE.get(line[: line.find(b":")].lower())
    return line if rewrite is None else rewrite(line, visitor, host)


def _in_location(line: bytes, visitor: "ClientInfo", host: bytes) -> bytes:
    value = value_of(line)
    public = public_location(value, visitor, host)
    return line if public == value else line[: line.find(b":")] + b": " + public


def _in_refresh(line: bytes, visitor: "ClientInfo", host: bytes) -> bytes:
    name, _, value = line.partition(b":")
    return name + b":" + _IN_REFRESH.sub(lambda match: match[1] + public_location(match[2], visitor, host), value)


def _in_link(line: bytes, visitor: "ClientInfo", host: bytes) -> bytes:
    return _IN_BRACKETS.sub(lambda match: match[1] + public_location(match[2], visitor, host), line)


def _in_allowed_origin(line: bytes, visitor: "ClientInfo", host: bytes) -> bytes:
    if not _is_told(value_of(line), host):
        return line
    return b"Access-Control-Allow-Origin: %b://%b" % (visitor.scheme, visitor.host)


def _in_cookie(line: bytes, _visitor: "ClientInfo", host: bytes) -> bytes:
    """A cookie of the told host becomes one of the visited host alone."""
    name = _split(host, b"http")[0]
    return without_domain(line, _THIS_MACHINE if name == b"localhost" else frozenset((name,)))


_Rewrite = Callable[[bytes, "ClientInfo", bytes], bytes]

_RESPONSE: Final[dict[bytes, _Rewrite]] = {
    b"location": _in_location,
    b"content-location": _in_location,
    b"refresh": _in_refresh,
    b"link": _in_link,
    b"access-control-allow-origin": _in_allowed_origin,
    b"set-cookie": _in_cookie,
}


def public_location(value: bytes, visitor: "ClientInfo", host: bytes | None = None) -> bytes:
    """Where a Location leads visitors of a program that is told `host`, None: nothing else than the truth.

    The told host becomes the visited one. The visited one is mended where it stands with another scheme or port: no other
    port of that name leads here. What leads from http to https stays, since that is what it is for.
    """
    match = _ABSOLUTE.fullmatch(value)
    if match is None:
        return value
    scheme = (match[1] or visitor.scheme).lower()
    name, port = _split(match[2], scheme)
    own = _split(visitor.host, visitor.scheme)
    if name == own[0]:
        if (scheme == visitor.scheme and port == own[1]) or (scheme == b"https" and visitor.scheme == b"http"):
            return value
    elif host is None or not _is_itself(name, port, host):
        return value
    return b"%b://%b%b" % (visitor.scheme, visitor.host, match[3])


def _is_itself(name: bytes, port: bytes, host: bytes) -> bool:
    """Whether a program that is told `host` means itself. A name of its own it is on any port; this machine has others."""
    told, told_port = _split(host, b"http")
    if told == b"localhost":
        return name in _THIS_MACHINE and port == told_port
    return name == told


def _split(authority: bytes, scheme: bytes) -> tuple[bytes, bytes]:
    """(lower-case name without a last dot, port) of an authority; the scheme's own port where it says none."""
    name, colon, port = authority.rpartition(b":")
    if not colon or authority.endswith(b"]"):
        name, port = authority, b""
    return name.lower().removesuffix(b"."), port or _DEFAULT_PORTS[scheme]
