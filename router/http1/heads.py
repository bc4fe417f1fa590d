"""What heads of requests and responses have in common: refusals, sizes, lines, lists, and what Connection says.

A usual head is read in one pass (`head_scanner.py`). Any other is read in three steps: we check the first line and the
sizes; llhttp parses the whole head and refuses bare CR or
LF, obs-fold, blanks in names and conflicting framing; then one pass over the lines that llhttp has accepted. Header lines that go on are kept as the bytes they came in, in their order.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from router.errors import Problem
from router.http1.names import STICKY

# Framing of a body: a length in bytes, or one of these.
NONE: Final = 0
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

CLOSE: Final = b"close"
PERSISTENT: Final = (b"keep-alive", b"Keep-Alive")  # values of Connection that say what HTTP/1.1 does anyway
# The most frequent Connection lines, which say what HTTP/1.1 does anyway.
_REDUNDANT = (b"Connection: keep-alive", b"connection: keep-alive", b"Connection: Keep-Alive")

NO_CALLBACKS = object()  # llhttp only validates, so it needs no callbacks

_ZERO = ord("0")
_MAX_USUAL: Final = 19  # digits: fewer are no number that is too large
_MAX_LENGTH: Final = (1 << 63) - 1  # what a signed 64-bit reader behind us can hold

# Clients choose names and lists: only short ones are remembered, or one visitor could fill our memory.
_MAX_NAME: Final = 64
_MAX_LIST: Final = 128
_MAX_NAMES: Final = 4096

# Schemes that authenticate a connection rather than a request (RFC 4559 §6), among the members of a list of them.
_OF_A_CONNECTION: Final = re.compile(rb"(?:^|,)[ \t]*(?:NTLM|Negotiate)(?:[ \t,]|$)", re.IGNORECASE)


def authenticates_connection(value: bytes) -> bool:
    """Whether an Authorization or a WWW-Authenticate is of a scheme that authenticates the connection that it is sent on."""
    return _OF_A_CONNECTION.search(value) is not None


# NTLM's first message: the signature, and 1 as a 32-bit number ([MS-NLMP] §2.2.1.1), in Base64. Negotiate carries it too.
_FIRST_MESSAGE: Final = re.compile(rb"(?i:NTLM|Negotiate)[ \t]+TlRMTVNTUAABAAAA[A-Za-z0-9+/=]*")


def begins_login(value: bytes) -> bool:
    """Whether an Authorization is an NTLM login's first message and nothing else: it names nobody, so nobody is logged in by
    it."""
    return _FIRST_MESSAGE.fullmatch(value) is not None


class RefusedError(Exception):
    """A message that is not passed on. `problem` is the response; `str()` says what was wrong, for the log. `lines` are the
    header lines of a request whose bytes can be trusted to be that: they say how to respond."""

    def __init__(self, problem: Problem, why: str, lines: tuple[bytes, ...] = ()) -> None:
        self.problem = problem
        self.lines = lines
        super().__init__(why)


# What to do with a header line, given the line and its value without the blanks around it.
Rule = Callable[[Any, bytes, bytes], None]


class Rules:
    """What to do with a header line, by its name as it is spelled.

    Each spelling is judged once, and is one look-up from then on, which is measurably cheaper than lower-casing and
    looking at every name of every head (bench/README.md). Bounded, since clients choose spellings.
    """

    def __init__(self, by_name: Mapping[bytes, Rule], otherwise: Callable[[bytes], Rule | None]) -> None:
        """`by_name` has lower-case names; `otherwise` has the rule for any other lower-case name."""
        self._by_name = by_name
        self._otherwise = otherwise
        self._known: dict[bytes, Rule | None] = {}

    def of(self, name: bytes) -> Rule | None:
        """What to do with the lines of that name; None keeps them."""
        try:
            return self._known[name]
        except KeyError:
            return self._judge(name)

    def _judge(self, name: bytes) -> Rule | None:
        lower = name.lower()
        rule = self._by_name.get(lower) or self._otherwise(lower)
        if len(name) <= _MAX_NAME:
            if len(self._known) >= _MAX_NAMES:
                self._known.clear()
            self._known[name] = rule
        return rule


class Head(Protocol):
    """What `Connection` acts on, in either direction."""

    lines: list[bytes]
    version: int
    keep_alive: bool
    upgrade: bytes
    connection: tuple[bytes, ...]


def value_of(line: bytes) -> bytes:
    """A header line's value without the blanks around it."""
    return line.partition(b":")[2].strip(b" \t")


def tokens(value: bytes) -> tuple[bytes, ...]:
    """The lower-case members of a comma-separated list; empty ones are passed over (RFC 9110 §5.6.1.2)."""
    return _short_tokens(value) if len(value) <= _MAX_LIST else _split(value)


def _split(value: bytes) -> tuple[bytes, ...]:
    return tuple(token for part in value.lower().split(b",") if (token := part.strip(b" \t")))


_short_tokens = lru_cache(maxsize=1024)(_split)


def is_usual_length(value: bytes) -> bool:
    """Whether a Content-Length is a number as everybody writes and reads it."""
    return value.isdigit() and len(value) < _MAX_USUAL and (value[0] != _ZERO or len(value) == 1)


def length_of(value: bytes, problem: Problem) -> int:
    """The number in a Content-Length. Raises RefusedError with `problem`."""
    # llhttp has refused repeated ones, lists and signs; int() alone would take `1_0` and Unicode digits.
    # `isdigit` of bytes knows ASCII digits only.
    if (
        not value.isdigit()
        or len(value) > 19
        or (len(value) > 1 and value[0] == _ZERO)
        or (length := int(value)) > _MAX_LENGTH
    ):
        raise RefusedError(problem, "bad Content-Length")
    return length


def note_connection(head: Head, line: bytes, value: bytes) -> None:
    """Collect the options of a Connection line; several lines are one list."""
    if line in _REDUNDANT and head.version == 1:
        return
    head.connection += tokens(value)


def note_upgrade(head: Head, _line: bytes, value: bytes) -> None:
    """Collect what an Upgrade line offers or accepts; an empty one says nothing."""
    if value:
        head.upgrade = head.upgrade + b", " + value if head.upgrade else value


def drop(_head: Head, _line: bytes, _value: bytes) -> None:
    """Leave a line out."""


def apply_connection(head: Head) -> set[bytes]:
    """Carry out what Connection says of persistence; the names of headers that it takes out (RFC 9110 §7.6.1)."""
    options = head.connection
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    return {option for option in options if option not in STICKY}


def has(text: bytes, part: bytes) -> bool:
    """Whether `part` stands in `text`, for what each request runs through: `in` tries bytes as a number first, 2,000 instructions for
    the exception alone, and `find` takes 700 to read its arguments, where `partition` takes less than 200 if nothing is found."""
    return bool(text.partition(part)[1])


def lines_of(block: bytes | None) -> list[bytes]:
    """The lines of a block in which each has its end."""
    return block[:-2].split(b"\r\n") if block else []


def block_of(lines: list[bytes]) -> bytes:
    """The lines in a row, each with its end."""
    return b"%b\r\n" % b"\r\n".join(lines) if lines else b""


def place_of(lines: list[bytes], name: bytes) -> int:
    """Where the header `name` (lower case) stands in `lines`, -1 where it does not."""
    for place, line in enumerate(lines):
        if line[: line.find(b":")].lower() == name:
            return place
    return -1


def without(lines: list[bytes], names: set[bytes]) -> list[bytes]:
    """The lines whose names are not among `names`."""
    return [line for line in lines if line[: line.find(b":")].lower() not in names]
