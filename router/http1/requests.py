"""Heads of requests: from the bytes up to the empty line to a value, or to a refusal."""

import re
from collections.abc import Collection
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from router import errors
from router.base.proxy_only_headers import BEGINNINGS, NAMES, is_asserted, twin
from router.http1.head_scanner import Names, scan_request
from router.http1.heads import (
    CHUNKED,
    CLOSE,
    NO_CALLBACKS,
    NONE,
    PERSISTENT,
    RefusedError,
    Rule,
    Rules,
    apply_connection,
    authenticates_connection,
    begins_login,
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
from router.http1.names import FORWARDING, HOP_BY_HOP, HOPS, OURS
from router.http1.request_sizes import check_sizes, line_too_long
from router.settings import Limits

_TARGET: Final = re.compile(rb"[\x21\x22\x24-\x7e\x80-\xff]+")  # no `#`, no blank, no control (RFC 9112 §3.2)
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
_COMMON = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"PROPFIND", b"QUERY"))
# Any token is a method (RFC 9110 §9.1). The longest one that is in use, BASELINE-CONTROL or RPC_OUT_DATA, has half of this.
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_METHOD: Final = 32
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)(.*)")
_PLAIN_LINE: Final = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[\x21\x22\x24-\x7e]*) HTTP/1\.1")
_HOST_LINE: Final = re.compile(rb"(?i:host):[ \t]*([A-Za-z0-9._:\[\]-]{1,300})[ \t]*")
_END: Final = b"\r\n\r\n"
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}(?: (?:[\x21-\x7e\x80-\xff]+(?: H?T?T?P?/?[0-9.]*\r?)?)?)?")
# How far a head is looked through each time that more of it has arrived: it may come byte by byte.
_EARLY: Final = 4096
NO_LIMIT: Final = -1
UNREADABLE: Final = -2
_MAX_DIGITS: Final = 10
_MAX_HOPS_DIGITS: Final = 4
_MAX_FORWARDS: Final = 2**31 - 1
_AUTHORIZATION: Final = b"authorization:"
_BLANKS: Final = b" \t"
_OURS: Final = b"__Host-miosa"
_PREVIEW_COOKIE: Final = b"__Host-miosa-preview"
_LOGIN_COOKIE = re.compile(rb"__Host-miosa-(?!preview\Z)[a-z0-9-]{1,80}")


class Credentials:
    """What a request says of who sends it, as far as it may be ours: whether it is, only those ask who have something to
    decide by it.

    `authorization` are the values of those lines, which are among the head's. `tokens` are the values of
    `X-Miosa-Preview-Token` and `cookies` those of `__Host-miosa-preview`, which are not. `of_login` are the other cookies of ours, with their names.
    `monitor` is whether it says
    `X-Miosa-Monitor: 1`: it looks whether a program is there, and is to wake none. `debug` is the value of `X-Miosa-Debug`, which is
    not among the lines either.
    """

    def __init__(self) -> None:
        self.authorization: list[bytes] = []
        self.tokens: list[bytes] = []
        self.cookies: list[bytes] = []
        self.monitor = False
        self.debug = b""
        self.of_login: list[tuple[bytes, bytes]] = []


class RequestHead:
    """A request's head. `lines` are the header lines that go on, without their line ends. `block` is all of them, each with its end,
    where that is known; who sets `lines` sets it to None.

    `framing` is NONE, CHUNKED or a length. `target` is in origin-form. `host_at` is the place of the Host line in
    `lines`; a head that was read in one pass has 0 there, since only reading in full uses it. `forwarding` has the values of forwarding
    headers (X-Forwarded-For and its like) by lower-case name; `Forwarder` decides whether the proxy before us is trusted to send them.
    `asserted` are the lines of `router/base/proxy_only_headers.py`, each with its lower-case name: they are not among `lines`.
    `plain_http` is what a port of plain HTTP asks for: to be sent on to https, see `proxy/local_responses.py`.
    `credentials` is None where it has none that could be ours.
    `max_forwards` is how far the request may go, NO_LIMIT or UNREADABLE; only TRACE and OPTIONS mind. `hops` is how often it
    has come through here already. `special` is whether it brings what is looked at before it goes on, wherever it goes:
    `Max-Forwards` or `X-Miosa-Debug`.
    """

    # Defaults stand on the class: a head sets only what it has.
    host = b""
    host_at = -1
    framing: int = 0  # NONE
    expect = False
    trailers = False
    upgrade = b""
    connection: tuple[bytes, ...] = ()
    forwarding: dict[bytes, bytes] | None = None
    request_id = b""
    user_agent = b""
    referer = b""
    traceparent = b""
    hops = 0
    max_forwards: int = -1  # NO_LIMIT
    special = False
    binds = False  # it authenticates the connection that it is sent on
    begins_login = False  # it only begins to: nobody is logged in by it
    asserted: tuple[tuple[bytes, bytes], ...] = ()
    plain_http = b""
    credentials: Credentials | None = None
    block: bytes | None = None
    _lines: list[bytes] | None = None  # split off `block` when they are asked for

    def __init__(self, method: bytes, target: bytes, version: int) -> None:
        self.method = method
        self.target = target
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

    def with_line(self, method: bytes, target: bytes) -> "RequestHead":
        """The same header section behind another request line of the same version."""
        head = RequestHead(method, target, self.version)
        head._lines = self._lines
        head.keep_alive = self.keep_alive
        head.host = self.host
        head.host_at = self.host_at
        head.framing = self.framing
        head.expect = self.expect
        head.trailers = self.trailers
        head.upgrade = self.upgrade
        head.connection = self.connection
        head.forwarding = self.forwarding
        head.request_id = self.request_id
        head.user_agent = self.user_agent
        head.referer = self.referer
        head.traceparent = self.traceparent
        head.hops = self.hops
        head.max_forwards = self.max_forwards
        head.special = self.special
        head.binds = self.binds
        head.begins_login = self.begins_login
        head.asserted = self.asserted
        head.plain_http = self.plain_http
        head.credentials = self.credentials
        head.block = self.block
        return head

    def one_hop_on(self) -> "RequestHead":
        """The head as it goes on, with `Max-Forwards` counted down where the method minds it (RFC 9110 §7.6.2)."""
        if self.max_forwards < 0 or self.method not in (b"TRACE", b"OPTIONS"):
            return self
        head = self.with_line(self.method, self.target)
        left = b"Max-Forwards: %d" % (self.max_forwards - 1)
        head.lines = [left if line[:13].lower() == b"max-forwards:" else line for line in self.lines]
        head.block = None
        return head

    def without_authorization(self, values: Collection[bytes]) -> "RequestHead":
        """The head without the Authorization lines that have one of these values."""
        head = self.with_line(self.method, self.target)
        block = self.block
        if block is not None:  # a usual head, which has one at most
            lower = block.lower()
            at = 0 if lower.startswith(_AUTHORIZATION) else lower.find(b"\r\n" + _AUTHORIZATION) + 2
            end = block.find(b"\r\n", at)
            if at != 1 and value_of(block[at:end]) in values:
                head.block = block[:at] + block[end + 2 :]
                head._lines = None  # noqa: SLF001 - its own kind
            return head
        head.lines = [
            line for line in self.lines if line[:14].lower() != b"authorization:" or value_of(line) not in values
        ]
        head.host_at = place_of(head.lines, b"host")
        head.block = None
        return head

    def with_value(self, name: bytes, value: bytes) -> "RequestHead":
        """The head with another value in the first line of that lower-case name, which it has."""
        head = self.with_line(self.method, self.target)
        place = place_of(self.lines, name)
        line = self.lines[place]
        head.lines = [*self.lines[:place], line[: line.find(b":")] + b": " + value, *self.lines[place + 1 :]]
        head.block = None
        return head

    def value(self, name: bytes) -> bytes | None:
        """The value of the first line of that lower-case name, None without one. For what few requests need."""
        place = place_of(self.lines, name)
        return None if place < 0 else value_of(self.lines[place])


def may_be_repeated(head: RequestHead) -> bool:
    """Whether a request that may have arrived can be sent once more without doing anything twice (RFC 9110 §9.2.2)."""
    return head.method in _IDEMPOTENT and head.framing == NONE and not head.upgrade


NO_HEAD = RequestHead(b"", b"", 1)  # of what never became a request
NO_HEAD.keep_alive = False


def refused_head(lines: tuple[bytes, ...]) -> RequestHead:
    """What stands for a request that was refused: nothing but how to respond to it, and its Host if it has one."""
    if not lines:
        return NO_HEAD
    head = RequestHead(b"GET", b"", 1)
    head.keep_alive = False
    head.lines = list(lines)
    hosts = [match[1] for match in map(_HOST_LINE.fullmatch, lines) if match is not None]
    if len(hosts) == 1:
        head.host = hosts[0]
    return head


def check_start(partial: bytes, limits: Limits) -> None:
    """Refuse early what can no longer become a request head: garbage, another protocol, too much of it.

    `partial` is what has arrived, without the end of a head in it. Raises RefusedError.
    """
    line_end = partial.find(b"\r\n")
    if line_end < 0:
        if len(partial.removesuffix(b"\r")) > limits.request_line:
            raise line_too_long(len(partial), [], limits)
        if partial and partial != b"\r" and _START.fullmatch(partial) is None:
            raise RefusedError(errors.BAD_REQUEST, "not HTTP")
    elif line_end > limits.request_line:
        raise line_too_long(line_end, partial.split(b"\r\n"), limits)
    elif len(partial) > limits.headers:
        check_sizes(partial, partial.split(b"\r\n"), limits)
    elif partial.count(b"\n", 0, _EARLY) != partial.count(b"\r\n", 0, _EARLY):  # lines that end so never make a head
        raise RefusedError(errors.BAD_REQUEST, "bare LF")


class RequestReader:
    """Reads heads: a usual one in one pass (`head_scanner.py`), any other in full, with the same outcome.

    `_NAMES` and `_usual` decide which heads are usual: those without a body or with a Content-Length whose lines we forward or remove
    as they are. Heads with Transfer-Encoding, Upgrade or Expect, and heads that repeat a line that may come once, are read in full.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Of the limits, what every head is measured by.
        self._most = min(limits.header, limits.headers)
        self._most_line = limits.request_line
        self._most_lines = limits.header_count

    def read(self, raw: bytes) -> RequestHead | None:
        """Read a head that ends with its empty line. None if another empty line comes before that: it is more than one head.
        Raises RefusedError."""
        if len(raw) <= self._most:
            found = scan_request(raw, _NAMES, self._most_line, self._most_lines)
            if found is not None:
                head = _usual(found)
                if head is not None:
                    return head
        return read_request_head(raw, self._limits) if raw.find(_END) == len(raw) - len(_END) else None


def _usual(found: tuple[bytes, ...]) -> RequestHead | None:
    """The head of which these are the parts, by `_NAMES`; None where it has to be read in full."""
    method, target, block, host, agent, referer, traceparent, authorization, length = found[:9]
    connection, request_id, token, cookie, behind = found[9], found[10], found[11], found[-2], found[-1]
    if (
        not host
        or host.endswith(b".")
        or has(host, b".:")
        or (connection and connection not in PERSISTENT and connection != CLOSE)
    ):
        return None
    head = RequestHead(method, target, 1)
    head.block = block
    head.host = host
    head.host_at = 0
    if connection == CLOSE:
        head.keep_alive = False
        head.connection = (CLOSE,)
    head.user_agent = agent
    head.referer = referer
    head.traceparent = traceparent
    head.request_id = request_id
    if length:
        if not is_usual_length(length):
            return None
        head.framing = int(length)
    if authorization:
        _authenticate(head, authorization)
    if token:
        _credentials_of(head).tokens.append(token)
    said: dict[bytes, bytes] | None = None
    if cookie:
        rest = _without_ours(head, cookie)
        if rest == cookie:  # it only has such a name within another
            return None
        head.block = b"%bCookie: %b\r\n%b" % (block, rest, behind) if rest else block + behind
    for at, value in enumerate(found[12:-2]):
        if value:
            if said is None:
                said = head.forwarding = {}
            said[_FORWARDING[at]] = value
    return head


def read_request_head(raw: bytes, limits: Limits) -> RequestHead:
    """Read a head that ends with its empty line. Raises RefusedError."""
    lines = raw[:-4].split(b"\r\n")
    head = _read_request_line(lines, limits)
    if len(raw) > limits.header or len(lines) > limits.header_count:  # most heads are far from any limit
        check_sizes(raw, lines, limits)
    try:
        _validate(raw)
    except HttpParserError as error:
        if _PLAIN_LINE.fullmatch(lines[0]) is not None:
            raise RefusedError(errors.BAD_REQUEST, str(error)) from None
        _validate_section(head, raw[len(lines[0]) :])
    _read_lines(head, lines[1:])
    return head


def _read_lines(head: RequestHead, lines: list[bytes]) -> None:
    """What the header lines mean, which llhttp has accepted."""
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


def _validate(raw: bytes) -> None:
    """Have llhttp read it. Raises HttpParserError."""
    try:
        HttpRequestParser(NO_CALLBACKS).feed_data(raw)
    except HttpParserUpgrade:
        return  # an offer to upgrade; whether it is one is decided elsewhere


def _validate_section(head: RequestHead, section: bytes) -> None:
    """Have llhttp read what follows the request line, which is checked already.

    llhttp knows a fixed set of methods, and of targets what it likes. What it refuses is read once more behind a line
    that it takes: POST, since nothing in the section means anything else for another method.
    """
    try:
        _validate(b"POST / HTTP/1.%d%b" % (head.version, section))
    except HttpParserError as error:
        raise RefusedError(errors.BAD_REQUEST, str(error)) from None


def _check_method(method: bytes) -> None:
    """Refuse what is no method, and the few that can't go on."""
    if _METHOD.fullmatch(method) is None:
        raise RefusedError(errors.BAD_REQUEST, "bad method")
    upper = method.upper()
    if upper == b"CONNECT":  # in any case: whoever folds it would open a tunnel
        raise RefusedError(errors.METHOD_NOT_ALLOWED, "CONNECT")
    # A program that folds `head` sends no body, and one that does not sends one: nobody could say where the response ends.
    # PRI is HTTP/2's (RFC 9113 §11.6). Too long: RFC 9112 §3.
    if upper in (b"HEAD", b"PRI") or len(method) > _MAX_METHOD:
        raise RefusedError(errors.METHOD_NOT_IMPLEMENTED, "method")


def _read_request_line(lines: list[bytes], limits: Limits) -> RequestHead:
    line = lines[0]
    if len(line) > limits.request_line:
        raise line_too_long(len(line), lines, limits)
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
    if method not in _COMMON:
        _check_method(method)
    if _TARGET.fullmatch(target) is None:
        raise RefusedError(errors.BAD_REQUEST, "bad target")
    if not target.isascii():
        # RFC 3986 §2: no URI has such bytes, and old browsers, scripts and `curl` with a raw URL send them. Written as the
        # URI that is meant (RFC 3987 §3.1): no byte is lost, and nobody behind us has to guess.
        target = _NOT_ASCII.sub(_percent, target)
    return RequestHead(method, target, minor)


def _percent(byte: re.Match[bytes]) -> bytes:
    return b"%%%02X" % byte[0][0]


def _check_host(head: RequestHead) -> None:
    target = head.target
    if head.host_at < 0:
        # RFC 9112 §3.2: 1.1 must have it. In 1.0 it may be missing, but then nothing says whom to route to.
        raise RefusedError(errors.INVALID_HOST, "no Host")
    if not target.startswith(b"/"):
        _check_absolute(head, target)
    if head.host.endswith(b".") or has(head.host, b".:"):
        _leave_out_dot(head)


def _check_absolute(head: RequestHead, target: bytes) -> None:
    match = _ABSOLUTE.fullmatch(target)
    if match is None or match[1].lower() not in (b"http", b"https"):
        raise RefusedError(errors.BAD_REQUEST, "target form")
    # RFC 9112 §3.2.2 lets the target win over Host; two authorities that differ are an attack on a parser behind us.
    if match[2].lower() != head.host.lower() or b"@" in match[2]:
        raise RefusedError(errors.BAD_REQUEST, "authority differs from Host")
    path = match[3]
    head.target = path if path.startswith(b"/") else b"/" + path


def _leave_out_dot(head: RequestHead) -> None:
    """Write its Host without the dot wherever the visited host stands: who compares Origin with Host finds them equal if the
    visitor's were."""
    host = without_dot(head.host)
    if host == head.host:
        return
    said = head.host.lower()
    head.host = host
    for place, line in enumerate(head.lines):
        name, _, value = line.partition(b":")
        if place == head.host_at:
            head.lines[place] = name + b": " + host
        elif name.lower() in (b"origin", b"referer"):
            scheme, mark, rest = value.strip(b" \t").partition(b"://")
            if mark and rest[: len(said)].lower() == said and rest[len(said) : len(said) + 1] in (b"", b"/", b"?"):
                head.lines[place] = name + b": " + scheme + mark + host + rest[len(said) :]


def without_dot(host: bytes) -> bytes:
    """A Host without the dot that ends an absolute domain name (RFC 3986 §3.2.2).

    `https://name./` is a way to write `https://name/`: programs and their host checks know the second only.
    """
    name, colon, port = host.partition(b":")
    if len(name) > 1 and name.endswith(b".") and not name.endswith(b".."):
        return name[:-1] + colon + port
    return host


def _otherwise(name: bytes) -> Rule | None:
    """What only proxies or we may say is dropped, and what CGI and WSGI would read as that: `X_Forwarded_For`."""
    read = twin(name)
    if read in _TWINS or read.startswith(OURS):
        return drop
    if is_asserted(read):
        return _asserted(name) if read == name else drop
    return None


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


def _asserted(name: bytes) -> Rule:
    def keep_aside(head: RequestHead, line: bytes, _value: bytes) -> None:
        head.asserted = (*head.asserted, (name, line))

    return keep_aside


def _max_forwards(head: RequestHead, line: bytes, value: bytes) -> None:
    head.special = True
    digits = value.lstrip(b"0") or b"0"
    if head.max_forwards != NO_LIMIT or not value.isdigit():
        head.max_forwards = UNREADABLE
    else:
        head.max_forwards = min(int(digits), _MAX_FORWARDS) if len(digits) <= _MAX_DIGITS else _MAX_FORWARDS
    head.lines.append(line)


def _credentials_of(head: RequestHead) -> Credentials:
    credentials = head.credentials
    if credentials is None:
        credentials = head.credentials = Credentials()
    return credentials


def _preview_token(head: RequestHead, _line: bytes, value: bytes) -> None:
    _credentials_of(head).tokens.append(value)


def _monitor(head: RequestHead, _line: bytes, value: bytes) -> None:
    if value == b"1":
        _credentials_of(head).monitor = True


def _debug(head: RequestHead, _line: bytes, value: bytes) -> None:
    credentials = _credentials_of(head)
    credentials.debug = value if not credentials.debug else credentials.debug + b", " + value
    head.special = True


def _cookie(head: RequestHead, line: bytes, value: bytes) -> None:
    if has(line, _OURS):
        rest = _without_ours(head, value)
        if not rest:
            return
        if rest != value:
            line = line[: line.find(b":")] + b": " + rest
    head.lines.append(line)


def _without_ours(head: RequestHead, value: bytes) -> bytes:
    """A Cookie's value without the cookies of ours, which are kept aside; empty where nothing is left."""
    credentials = _credentials_of(head)
    kept: list[bytes] = []
    text, ours, rest = value.partition(_OURS)
    found, semicolon = False, b";"
    while ours:
        ahead = text.rstrip(_BLANKS)
        if ahead and not ahead.endswith(b";"):  # it stands within a name or a value
            more, ours, rest = rest.partition(_OURS)
            text = text + _OURS + more
            continue
        found = True
        if ahead:
            kept.append(ahead[:-1])
        cookie, semicolon, rest = rest.partition(b";")
        end, sign, said = cookie.partition(b"=")
        name = _OURS + end
        if sign and name == _PREVIEW_COOKIE:
            credentials.cookies.append(said)
        elif sign and _LOGIN_COOKIE.fullmatch(name) is not None:
            credentials.of_login.append((name, said))
        text, ours, rest = rest.partition(_OURS)
    if not found:
        return value
    if semicolon:
        kept.append(text)
    return b";".join(kept).lstrip(b"; \t")


def _request_id(head: RequestHead, _line: bytes, value: bytes) -> None:
    head.request_id = value


def _authorization(head: RequestHead, line: bytes, value: bytes) -> None:
    _authenticate(head, value)
    head.lines.append(line)


def _authenticate(head: RequestHead, value: bytes) -> None:
    if authenticates_connection(value):
        head.begins_login = not head.binds and begins_login(value)
        head.binds = True
    _credentials_of(head).authorization.append(value)


def _plain_http(head: RequestHead, _line: bytes, value: bytes) -> None:
    head.plain_http = value


def _user_agent(head: RequestHead, line: bytes, value: bytes) -> None:
    head.user_agent = value
    head.lines.append(line)


def _referer(head: RequestHead, line: bytes, value: bytes) -> None:
    head.referer = value
    head.lines.append(line)


def _traceparent(head: RequestHead, line: bytes, value: bytes) -> None:
    head.traceparent = value if not head.traceparent else b", "  # two are none (Trace Context §3.2)
    head.lines.append(line)


def _hops(head: RequestHead, _line: bytes, value: bytes) -> None:
    """Anybody may have written it: who makes it larger is refused sooner, and who leaves it out is a loop that the limits
    on exchanges end. So nothing is won by a lie, and it is taken from everybody: a loop comes back as a visitor does."""
    for said in tokens(value):
        if said.isdigit():
            head.hops = max(head.hops, int(said[:_MAX_HOPS_DIGITS]))


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
        b"x-request-id": _request_id,
        b"authorization": _authorization,
        b"x-miosa-plain-http": _plain_http,
        b"x-miosa-preview-token": _preview_token,
        b"x-miosa-monitor": _monitor,
        b"x-miosa-debug": _debug,
        b"user-agent": _user_agent,
        b"referer": _referer,
        b"traceparent": _traceparent,
        HOPS: _hops,
        b"max-forwards": _max_forwards,
    },
    _otherwise,
)

_FORWARDING: Final = tuple(sorted(FORWARDING))

# The values come in this order: see `_usual`.
_NAMES: Final = Names(
    (b"host", b"user-agent", b"referer", b"traceparent", b"authorization", b"content-length"),
    (b"connection", b"x-request-id", b"x-miosa-preview-token", *_FORWARDING),
    tuple(sorted(HOP_BY_HOP)),
    (b"transfer-encoding", b"expect", b"te", b"upgrade", b"max-forwards", *NAMES),
    (OURS, *BEGINNINGS),
    {},
    {b"cookie": b"__host-miosa"},
)
