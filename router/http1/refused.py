"""Why a message was refused, for people: the byte that was wrong, and the rule that it broke.

Refusals are decided elsewhere, and say why in a few words. Here the same readers are given ever shorter beginnings of the message,
until the first byte is found with which they refuse it. That takes a millisecond or more: it is done when somebody asks.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from router.http1.heads import NO_CALLBACKS, RefusedError
from router.http1.repair import HeadRepair
from router.http1.requests import check_start, read_request_head
from router.settings import Limits

_END: Final = b"\r\n\r\n"


class BrokenRule(NamedTuple):
    """What a refused message did not keep to."""

    source: str  # `RFC 9112 §5.1`, or the setting of a limit
    sentence: str


# By the words of a refusal, which begin so (or match). The first that fits.
_RULES: Final[tuple[tuple[str, str, str], ...]] = (
    # Requests.
    ("not HTTP", "RFC 9112 §3", "A request begins with a method, one blank, a target, one blank and the version."),
    ("bare LF|Expected CRLF|Missing expected (LF|CR)|Expected LF", "RFC 9112 §2.2", "Lines end with CR LF, and neither stands alone."),
    ("The request line has", "RFC 9112 §3", "A request line may have so many bytes (limits.request_line)."),
    ("The request's header|The request has", "RFC 6585 §5", "Headers may be so large, and so many (limits.header, headers, header_count)."),
    ("request line is not three words", "RFC 9112 §3", "A request line is a method, a target and a version with one blank between."),
    ("bad method", "RFC 9110 §9.1", "A method is a token: letters, digits and !#$%&'*+-.^_`|~."),
    ("CONNECT", "RFC 9110 §9.3.6", "CONNECT asks a proxy for a tunnel, which this edge gives to nobody."),
    ("method", "RFC 9112 §3", "A method has at most 32 bytes; `head` in other case and PRI mean different things to different programs."),
    ("version|not an HTTP version", "RFC 9112 §2.3", "The version is HTTP/1.1 or HTTP/1.0."),
    ("bad target", "RFC 9112 §3.2", "A target has no blanks, control characters or `#`."),
    ("no Host", "RFC 9112 §3.2", "A request has a Host."),
    ("more than one Host", "RFC 9112 §3.2", "A request has one Host."),
    ("target form", "RFC 9112 §3.2", "A target begins with `/`, or with http:// or https:// and the Host."),
    ("authority differs from Host", "RFC 9112 §3.2.2", "The authority of an absolute target is the Host."),
    ("both Content-Length|(Transfer-Encoding|Content-Length) can't be present|conflicting framing|Duplicate Content-Length", "RFC 9112 §6.3", "One header says where the body ends: two may be read differently by two programs (request smuggling)."),
    ("Transfer-Encoding is not exactly|(Request has invalid|Invalid) `Transfer-Encoding`", "RFC 9112 §6.1", "Transfer-Encoding is chunked, once, and in HTTP/1.1."),
    ("bad Content-Length|Invalid character in Content-Length|Content-Length overflow|Empty Content-Length", "RFC 9110 §8.6", "A Content-Length is a decimal number."),
    ("Expect$", "RFC 9110 §10.1.1", "The only expectation is 100-continue."),
    ("Invalid header token|Invalid header field char", "RFC 9110 §5.1", "A header's name is a token with the colon right behind it."),
    ("Invalid header value char", "RFC 9110 §5.5", "A header's value has no control characters."),
    ("Unexpected (whitespace|space)", "RFC 9112 §5.2", "A header line does not go on in the next one (obs-fold)."),
    ("Invalid method|Expected (space|HTTP)|Invalid (char|characters?) in url|Invalid HTTP version", "RFC 9112 §3", "A request line is a method, a target and a version with one blank between."),
    # Responses.
    ("it does not begin with|its status line is not|bad status line", "RFC 9112 §4", "A response begins with HTTP/1.x, one blank, a status of three digits, one blank and a reason."),
    ("its line ends are LF first", "RFC 9112 §2.2", "All lines of a message end alike: an LF alone may be a part of a value."),
    ("a header has a control character", "RFC 9110 §5.5", "A header's value has no control characters."),
    ("a header has a CR", "RFC 9112 §2.2", "A CR stands before an LF."),
    ("a header line has no colon|a header's name", "RFC 9112 §5", "A header line is a name, a colon and a value; a name is a token."),
    ("a line of blanks|its first header line begins|a header that says where the body ends is folded", "RFC 9112 §5.2", "A header line that goes on in the next one (obs-fold) is read differently by different programs."),
    ("it has more than .* header lines|its headers are longer", "limits.headers, limits.header_count", "Headers of a response may be so large, and so many."),
    ("it switches protocols", "RFC 9110 §15.2.2", "101 says in Upgrade which protocol follows."),
    ("it has more than one Transfer-Encoding|its Transfer-Encoding|it is HTTP/1.0, which has no chunks", "RFC 9112 §6.1", "Transfer-Encoding is chunked, once, and in HTTP/1.1."),
    ("it has too many Content-Lengths|a Content-Length is no number|it has two Content-Lengths", "RFC 9112 §6.3", "All Content-Lengths of a message are the same decimal number."),
    # HTTP/2, where a head is a list of fields.
    ("HTTP/2: (field name|field value|blanks around)", "RFC 9113 §8.2.1", "A field's name is a token in lower case; its value has no control characters, and no blanks around it."),
    ("HTTP/2: a connection's header", "RFC 9113 §8.2.2", "No field speaks of a connection: connection, keep-alive, transfer-encoding, upgrade."),
    ("HTTP/2: (more than one host|host differs|authority|no method|path|pseudo-header)", "RFC 9113 §8.3.1", "A request has :method, :scheme, :path and one :authority, before all other fields."),
    ("HTTP/2: status", "RFC 9113 §8.3.2", "A response has one :status of three digits."),
    ("HTTP/2: ", "RFC 9113 §8.1.1", "A body is as long as content-length says, and a message ends once."),
    # Chunked bodies.
    ("a chunk's size|the line of a chunk's size", "RFC 9112 §7.1", "A chunk begins with its size in hexadecimal digits and CR LF."),
    ("a chunk's content", "RFC 9112 §7.1", "CR LF follows a chunk's content, which has as many bytes as its size says."),
    ("its chunks have far more framing|a chunk extension", "RFC 9112 §7.1.1", "Chunk extensions are short, and have no control characters."),
    ("its trailers|a trailer", "RFC 9112 §7.1.2", "Trailers are header lines that end with CR LF, bounded as headers are (limits.headers)."),
)  # fmt: skip
_COMPILED: Final = tuple((re.compile(pattern), BrokenRule(source, sentence)) for pattern, source, sentence in _RULES)
_ANY: Final = BrokenRule(
    "RFC 9112 §2.1", "A message is a start line, header lines, and an empty line, each ended by CR LF."
)

# Whose value is wrong, and not that they are there.
_OF_NAME: Final = ("a header line has no colon", "a header's name")
_BY_VALUE: Final = ("bad Content-Length", "Expect", "Transfer-Encoding is not exactly")


def rule_of(why: str) -> BrokenRule:
    """The rule that was broken, by the words of the refusal."""
    for pattern, rule in _COMPILED:
        if pattern.match(why) is not None:
            return rule
    return _ANY


def bad_request_byte(raw: bytes, why: str, limits: Limits) -> int:
    """The byte of a request's head at which it was to be refused; its length where something is missing at its end. `raw` may be the beginning of a head,
    where that was enough."""
    if not raw.endswith(_END):
        return _first(raw, lambda some: _refuses(lambda: check_start(some, limits)))
    line, _, _ = raw.partition(b"\r\n")
    lines = raw[:-4].split(b"\r\n")
    size = _over_limit(lines, why, limits)
    if size is not None:
        return size
    if why == "no Host":
        return len(raw) - 2  # the empty line, which ends the head without one
    words = line.split(b" ")
    if why in {"bad method", "CONNECT", "method", "request line is not three words", "version", "not an HTTP version", "bad target", "target form", "authority differs from Host"}:  # fmt: skip
        return _in_request_line(line, words, why)
    # llhttp knows a fixed set of methods: what it may not know is read behind a line that it takes.
    start = line
    if _llhttp(b"%b\r\n" % line) is not None:
        start = b"POST / HTTP/1.%d" % (0 if line.endswith(b"HTTP/1.0") else 1)
    section = raw[len(line) :]
    if _llhttp(start + section) is not None:
        found = _first(start + section, lambda some: _llhttp(some) is not None) - len(start)
        return len(line) + found
    return _bad_line(lines, why, limits)


def bad_response_byte(raw: bytes, why: str, method: bytes, limits: Limits) -> int:
    """The byte of a response's head at which it was to be refused. `raw` may be the beginning of one."""

    def feed(some: bytes) -> HeadRepair:
        repair = HeadRepair(limits)
        repair.feed(some)
        return repair

    if _refuses(lambda: feed(raw)):
        found = _first(raw, lambda some: _refuses(lambda: feed(some)))
        # A line is judged when it is whole: of one whose name is wrong, the byte is further to the left.
        if raw[found : found + 1] == b"\n" and why.startswith(_OF_NAME):
            name = _TOKEN.match(raw, raw.rfind(b"\n", 0, found) + 1)
            return found if name is None else min(name.end(), found)
        return found
    # Each line is right, and they don't fit together.
    whole = feed(raw)
    if whole.end < 0:
        return len(raw)
    ends = [match.end() for match in re.finditer(rb"\n", raw[: whole.end])]

    def judge(some: bytes) -> bool:
        repair = feed(some + (b"\r\n" if some.endswith(b"\r\n") else b"\n"))
        return repair.end >= 0 and _refuses(lambda: repair.head(method))

    place = _bisect(len(ends), lambda count: count > 0 and judge(raw[: ends[count - 1]]))
    return 0 if place <= 1 else ends[min(place, len(ends)) - 2]


def _over_limit(lines: list[bytes], why: str, limits: Limits) -> int | None:
    if why.startswith("The request line has"):
        return limits.request_line
    if why.startswith("The request's headers have"):
        return limits.headers
    if why.startswith("The request has"):
        return sum(len(line) + 2 for line in lines[: limits.header_count + 1])
    if why.startswith("The request's header "):
        at = 0
        for line in lines:
            if at and len(line) > limits.header:
                return at + limits.header
            at += len(line) + 2
    return None


_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_TARGET: Final = re.compile(rb"[\x21\x22\x24-\x7e\x80-\xff]*")


def _in_request_line(line: bytes, words: list[bytes], why: str) -> int:
    method = len(words[0])
    if why == "request line is not three words":
        return len(line) if len(words) < 3 else method + 1 + len(words[1]) + 1 + len(words[2])
    if why == "bad method":
        token = _TOKEN.match(line)
        return 0 if token is None else token.end()
    if why in {"CONNECT", "method"}:
        return min(32, method - 1) if method > 32 else 0
    target = words[1]
    if why == "bad target":
        good = _TARGET.match(target)
        return method + 1 + (0 if good is None else good.end())
    if why == "target form":
        return method + 1
    if why == "authority differs from Host":
        return method + 1 + target.find(b"://") + 3
    return method + 1 + len(target) + 1


def _bad_line(lines: list[bytes], why: str, limits: Limits) -> int:
    """The header line that is refused, by our own rules, of a head that llhttp takes."""

    def judge(count: int) -> bool:
        try:
            read_request_head(b"\r\n".join(lines[: count + 1]) + _END, limits)
        except RefusedError as error:
            return str(error) == why
        return False

    place = _bisect(len(lines), judge)
    at = sum(len(line) + 2 for line in lines[:place])
    if place >= len(lines):
        return at
    line = lines[place]
    if not why.startswith(_BY_VALUE):
        return at
    colon = line.find(b":") + 1
    return at + colon + len(line[colon:]) - len(line[colon:].lstrip(b" \t"))


def _first(raw: bytes, refused: Callable[[bytes], bool]) -> int:
    """The first byte with which a reader refuses what it has so far: all that go on from there are refused too."""
    return max(0, _bisect(len(raw), lambda count: refused(raw[:count])) - 1)


def _bisect(most: int, holds: Callable[[int], bool]) -> int:
    """The least number up to `most` for which it holds, as for all above it; `most` where it holds for none."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _refuses(read: Callable[[], object]) -> bool:
    try:
        read()
    except RefusedError:
        return True
    return False


def _llhttp(raw: bytes) -> str | None:
    """What llhttp finds wrong with the beginning of a request."""
    try:
        HttpRequestParser(NO_CALLBACKS).feed_data(raw)
    except HttpParserUpgrade:
        return None
    except HttpParserError as error:
        return str(error)
    return None
