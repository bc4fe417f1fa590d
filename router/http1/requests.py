"""Heads of requests: from the bytes up to the empty line to a value, or to a refusal."""

import re
from typing import Final

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from router import errors
from router.http1.heads import (
    CHUNKED,
    NO_CALLBACKS,
    NONE,
    RefusedError,
    Rule,
    Rules,
    apply_connection,
    check_sizes,
    drop,
    length_of,
    note_connection,
    note_upgrade,
    place_of,
    seen_before,
    tokens,
    value_of,
    without,
)
from router.http1.names import FORWARDING, HOP_BY_HOP, OURS, X_FORWARDED
from router.settings import Limits

_TARGET: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")  # no `#`, no blank, nothing outside ASCII (RFC 9112 §3.2)
_COMMON = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)(.*)")
_PLAIN_LINE: Final = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[\x21\x22\x24-\x7e]*) HTTP/1\.1")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}(?: (?:[\x21-\x7e]+(?: H?T?T?P?/?[0-9.]*\r?)?)?)?")
# How far a head is looked through each time that more of it has arrived: it may come byte by byte.
_EARLY: Final = 4096
_COOKIE_OF_OURS = re.compile(rb"(?:^|;)[ \t]*__Host-miosa[^;]*")


class RequestHead:
    """A request's head. `lines` are the header lines that go on, without their line ends.

    `framing` is NONE, CHUNKED or a length. `target` is in origin-form. `host_at` is the place of the Host line in
    `lines`. `forwarding` holds what proxies before us said, by lower-case name; believing it is not decided here.
    """

    # Defaults stand on the class: a head sets only what it has.
    host = b""
    host_at = -1
    origin_at = -1
    framing: int = 0  # NONE
    expect = False
    trailers = False
    upgrade = b""
    connection: tuple[bytes, ...] = ()
    forwarding: dict[bytes, bytes] | None = None
    request_id = b""
    user_agent = b""
    referer = b""
    via = 0
    block: bytes | None = None  # `lines` joined, of a head whose section is remembered

    def __init__(self, method: bytes, target: bytes, version: int) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.lines: list[bytes] = []
        self.keep_alive = version == 1

    def with_line(self, method: bytes, target: bytes) -> "RequestHead":
        """The same header section behind another request line of the same version."""
        head = RequestHead(method, target, self.version)
        head.lines = self.lines
        head.keep_alive = self.keep_alive
        head.host = self.host
        head.host_at = self.host_at
        head.origin_at = self.origin_at
        head.framing = self.framing
        head.expect = self.expect
        head.trailers = self.trailers
        head.upgrade = self.upgrade
        head.connection = self.connection
        head.forwarding = self.forwarding
        head.request_id = self.request_id
        head.user_agent = self.user_agent
        head.referer = self.referer
        head.via = self.via
        head.block = self.block
        return head

    def value(self, name: bytes) -> bytes | None:
        """The value of the first line of that lower-case name, None without one. For what few requests need."""
        place = place_of(self.lines, name)
        return None if place < 0 else value_of(self.lines[place])


NO_HEAD = RequestHead(b"", b"", 1)  # of what never became a request
NO_HEAD.keep_alive = False


def check_start(partial: bytes, limits: Limits) -> None:
    """Refuse early what can no longer become a request head: garbage, another protocol, too much of it.

    `partial` is what has arrived, without the end of a head in it. Raises RefusedError.
    """
    line_end = partial.find(b"\r\n")
    if line_end < 0:
        if len(partial.removesuffix(b"\r")) > limits.request_line:
            raise RefusedError(errors.URI_TOO_LONG, "request line too long")
        if partial and partial != b"\r" and _START.fullmatch(partial) is None:
            raise RefusedError(errors.BAD_REQUEST, "not HTTP")
    elif line_end > limits.request_line:
        raise RefusedError(errors.URI_TOO_LONG, "request line too long")
    elif len(partial) > limits.headers:
        raise RefusedError(errors.HEADERS_TOO_LARGE, "headers too large")
    elif partial.count(b"\n", 0, _EARLY) != partial.count(b"\r\n", 0, _EARLY):  # lines that end so never make a head
        raise RefusedError(errors.BAD_REQUEST, "bare LF")


_MOST: Final = 1024  # header sections that are remembered
_LONGEST: Final = 4096  # bytes of one of them


class RequestReader:
    """Reads heads, and remembers what follows the request line: the header section.

    What a page loads is asked for with one section and many targets, and who polls repeats himself to the byte. Each
    section is judged once, which took 35% off our own part of a request whose section is known, and costs a new one
    next to nothing (bench/README.md). Nothing that we look at in it depends on the request line, as long as that is a
    plain one; any other is read in full. Bounded, since clients choose sections, and it holds their cookies no longer
    than that. A section is kept when it comes the second time: to keep what never comes again would push everything
    else out of the processor's cache, which doubled the cost of a request.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Of the limits, what every head is measured by.
        self._most = limits.header
        self._most_line = limits.request_line
        self._seen: set[int] = set()  # hashes of what came once
        self._known: dict[bytes, RequestHead] = {}

    def read(self, raw: bytes) -> RequestHead:
        """Read a head that ends with its empty line. Raises RefusedError."""
        line, _, section = raw.partition(b"\r\n")
        plain = _PLAIN_LINE.fullmatch(line)
        if plain is None or len(raw) > self._most or len(line) > self._most_line:
            return read_request_head(raw, self._limits)
        known = self._known.get(section)
        if known is not None:
            return known.with_line(plain[1], plain[2])
        head = read_request_head(raw, self._limits)
        if seen_before(self._seen, hash(section)) and len(section) <= _LONGEST:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[section] = known = head.with_line(head.method, head.target)
            known.block = b"\r\n".join(head.lines)
        return head


def read_request_head(raw: bytes, limits: Limits) -> RequestHead:
    """Read a head that ends with its empty line. Raises RefusedError."""
    lines = raw[:-4].split(b"\r\n")
    head = _read_request_line(lines[0], limits)
    if len(raw) > limits.header or len(lines) > limits.header_count:  # most heads are far from any limit
        check_sizes(raw, lines, limits, errors.HEADERS_TOO_LARGE)
    try:
        HttpRequestParser(NO_CALLBACKS).feed_data(raw)
    except HttpParserUpgrade:
        pass  # an offer to upgrade; whether it is one is decided below
    except HttpParserInvalidMethodError:
        raise RefusedError(errors.METHOD_NOT_IMPLEMENTED, "unknown method") from None
    except HttpParserError as error:
        raise RefusedError(errors.BAD_REQUEST, str(error)) from None
    del lines[0]
    kept = head.lines
    for line in lines:
        name, _, value = line.partition(b":")
        rule = _REQUEST_RULES.of(name)
        if rule is None:
            kept.append(line)
        else:
            rule(head, line, value.strip(b" \t"))
    _check_host(head)
    if head.connection and (named := apply_connection(head)):
        head.lines = without(head.lines, named)
        head.host_at = place_of(head.lines, b"host")
        head.origin_at = place_of(head.lines, b"origin")
    return head


def _read_request_line(line: bytes, limits: Limits) -> RequestHead:
    if len(line) > limits.request_line:
        raise RefusedError(errors.URI_TOO_LONG, "request line too long")
    parts = line.split(b" ")
    if len(parts) != 3:
        raise RefusedError(errors.BAD_REQUEST, "request line is not three words")
    method, target, version = parts
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    elif _VERSION.fullmatch(version) is not None and not version.startswith(b"HTTP/0"):
        raise RefusedError(errors.VERSION_NOT_SUPPORTED, "version")
    else:
        raise RefusedError(errors.BAD_REQUEST, "not an HTTP version")
    if (method not in _COMMON and _METHOD.fullmatch(method) is None) or _TARGET.fullmatch(target) is None:
        raise RefusedError(errors.BAD_REQUEST, "bad method or target")
    if method == b"CONNECT":
        raise RefusedError(errors.METHOD_NOT_ALLOWED, "CONNECT")
    return RequestHead(method, target, minor)


def _check_host(head: RequestHead) -> None:
    target = head.target
    if head.host_at < 0:
        # RFC 9112 §3.2: 1.1 must have it. In 1.0 it may be missing, but then nothing says whom to route to.
        raise RefusedError(errors.INVALID_HOST, "no Host")
    if target.startswith(b"/"):
        return
    match = _ABSOLUTE.fullmatch(target)
    if match is None or match[1].lower() not in (b"http", b"https"):
        raise RefusedError(errors.BAD_REQUEST, "target form")
    # RFC 9112 §3.2.2 lets the target win over Host; two authorities that differ are an attack on somebody's parser.
    if match[2].lower() != head.host.lower() or b"@" in match[2]:
        raise RefusedError(errors.BAD_REQUEST, "authority differs from Host")
    path = match[3]
    head.target = path if path.startswith(b"/") else b"/" + path


def _is_ours(name: bytes) -> bool:
    """Whether only proxies or we may say this name, or CGI and WSGI would read it as one: `X_Forwarded_For`."""
    name = name.replace(b"_", b"-")
    return name in _TWINS or name.startswith((OURS, X_FORWARDED))


# What a header means to us. Each rule gets the head, the line and its value.


def _host(head: RequestHead, line: bytes, value: bytes) -> None:
    if head.host_at >= 0:
        raise RefusedError(errors.INVALID_HOST, "more than one Host")
    head.host = value
    head.host_at = len(head.lines)
    head.lines.append(line)


def _request_length(head: RequestHead, line: bytes, value: bytes) -> None:
    if head.framing == CHUNKED:
        raise RefusedError(errors.BAD_REQUEST, "both Content-Length and Transfer-Encoding")
    head.framing = length_of(value, errors.BAD_REQUEST)
    head.lines.append(line)


def _request_coding(head: RequestHead, line: bytes, _value: bytes) -> None:
    if head.framing != NONE or head.version == 0 or line[line.find(b":") + 1 :].strip(b" ").lower() != b"chunked":
        raise RefusedError(errors.BAD_REQUEST, "Transfer-Encoding is not exactly one chunked in HTTP/1.1")
    if any(kept[:15].lower() == b"content-length:" for kept in head.lines):
        raise RefusedError(errors.BAD_REQUEST, "both Content-Length and Transfer-Encoding")
    head.framing = CHUNKED
    head.lines.append(b"Transfer-Encoding: chunked")


def _expect(head: RequestHead, line: bytes, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise RefusedError(errors.EXPECTATION_FAILED, "Expect")
    # RFC 9110 §10.1.1: ignored in HTTP/1.0.
    if head.version == 1 and not head.expect:
        head.expect = True
        head.lines.append(line)


def _te(head: RequestHead, _line: bytes, value: bytes) -> None:
    if b"trailers" in tokens(value):
        head.trailers = True


def _forwarded(name: bytes) -> Rule:
    def note(head: RequestHead, _line: bytes, value: bytes) -> None:
        said = head.forwarding
        if said is None:
            said = head.forwarding = {}
        before = said.get(name)
        said[name] = value if before is None else before + b", " + value

    return note


def _cookie(head: RequestHead, line: bytes, value: bytes) -> None:
    if b"__Host-miosa" in line:
        kept, ours = _COOKIE_OF_OURS.subn(b"", value)
        if ours:
            kept = kept.lstrip(b"; \t")
            if not kept:
                return
            line = line[: line.find(b":")] + b": " + kept
    head.lines.append(line)


def _origin(head: RequestHead, line: bytes, _value: bytes) -> None:
    head.origin_at = len(head.lines)
    head.lines.append(line)


def _request_id(head: RequestHead, _line: bytes, value: bytes) -> None:
    head.request_id = value


def _user_agent(head: RequestHead, line: bytes, value: bytes) -> None:
    head.user_agent = value
    head.lines.append(line)


def _referer(head: RequestHead, line: bytes, value: bytes) -> None:
    head.referer = value
    head.lines.append(line)


def _via(head: RequestHead, line: bytes, _value: bytes) -> None:
    head.via += line.count(b" miosa-edge")
    head.lines.append(line)


_TWINS = FORWARDING | {b"x-request-id", b"host", b"content-length", b"transfer-encoding", b"connection"}

_REQUEST_RULES: Final = Rules(
    {
        **dict.fromkeys(HOP_BY_HOP, drop),
        **{name: _forwarded(name) for name in FORWARDING},
        b"host": _host,
        b"connection": note_connection,
        b"content-length": _request_length,
        b"transfer-encoding": _request_coding,
        b"expect": _expect,
        b"te": _te,
        b"upgrade": note_upgrade,
        b"cookie": _cookie,
        b"origin": _origin,
        b"x-request-id": _request_id,
        b"user-agent": _user_agent,
        b"referer": _referer,
        b"via": _via,
    },
    _is_ours,
)
