"""What a program on a port speaks instead of HTTP/1.1, as far as its first bytes tell: whoever set it up then knows what
to change. A guess for the words of an error alone; what is refused, and when, does not depend on it.

Many servers of TLS say nothing at all to a request in plain text (OpenSSL, so Python's and Node's): they close or reset,
and can't be told from a program that has crashed.
"""

import re
from typing import Final

from router import errors
from router.errors import Problem

FIRST_BYTES: Final = 64
"""As many as `recognise` looks at."""

_PROTOCOLS: Final = (
    (rb"[\x15\x16](?:\x03[\x00-\x04]|\Z)", errors.SPEAKS_TLS),  # a record of an alert or a handshake (RFC 8446 §5.1)
    (rb"SSH-[12]\.", errors.SPEAKS_SSH),  # RFC 4253 §4.2
    (rb"\x00[\x00-\x3f].\x04[\x00\x01]\x00{4}", errors.SPEAKS_HTTP2),  # a frame of SETTINGS (RFC 9113 §3.4)
    (rb"\x00\x00.\x07\x00{5}", errors.SPEAKS_HTTP2),  # of GOAWAY, from who has read the request
    (rb"-(?:ERR|NOAUTH|DENIED|LOADING)\b", errors.SPEAKS_ANOTHER_PROTOCOL),  # Redis
    (rb".[\x00-\x03]\x00\x00\x0a[0-9]", errors.SPEAKS_ANOTHER_PROTOCOL),  # MySQL
    (rb".[\x00-\x03]\x00\x00\xff", errors.SPEAKS_ANOTHER_PROTOCOL),  # its refusal
    (rb"[ENR]\x00\x00[\x00-\x0f].", errors.SPEAKS_ANOTHER_PROTOCOL),  # PostgreSQL
    (rb"[1-5][0-9][0-9][ -]", errors.SPEAKS_ANOTHER_PROTOCOL),  # SMTP, FTP, NNTP
    (rb"\* (?:OK|BYE|BAD|PREAUTH) |\+OK\b", errors.SPEAKS_ANOTHER_PROTOCOL),  # IMAP, POP3
    (rb"RFB [0-9]{3}\.", errors.SPEAKS_ANOTHER_PROTOCOL),  # VNC
    (rb"ERROR\r\n|INFO \{", errors.SPEAKS_ANOTHER_PROTOCOL),  # memcached, NATS
    (rb"AMQP[\x00-\x03]", errors.SPEAKS_ANOTHER_PROTOCOL),
    (rb"\xff[\xfb-\xfe]", errors.SPEAKS_ANOTHER_PROTOCOL),  # telnet
)
_TABLE: Final = tuple((re.compile(pattern, re.DOTALL), problem) for pattern, problem in _PROTOCOLS)


def recognise(first: bytes) -> Problem:
    """The problem that names what a program speaks whose first bytes are no response; BAD_BACKEND_RESPONSE where they
    tell nothing."""
    for pattern, problem in _TABLE:
        if pattern.match(first):
            return problem
    return errors.BAD_BACKEND_RESPONSE
