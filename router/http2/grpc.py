"""What gRPC makes of HTTP: which requests are its own, and how it hears of an error."""

import re
from typing import Final

_CONTENT_TYPE: Final = re.compile(rb"application/grpc(?:$|[+;])", re.IGNORECASE)
_ESCAPED: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")

UNAVAILABLE: Final = 14
"""The status of an error that is not the program's own: the call did not get through to it, or not back."""


def is_grpc(content_type: bytes | None) -> bool:
    """Whether a message of that type is gRPC's own; grpc-web is not, it is HTTP with a body like any other."""
    return content_type is not None and _CONTENT_TYPE.match(content_type) is not None


def status_fields(message: str) -> tuple[tuple[bytes, bytes], ...]:
    """The trailers of a call that we end, with the percent-encoding of gRPC's protocol."""
    encoded = _ESCAPED.sub(lambda match: b"%%%02X" % match[0][0], message.encode())
    return (b"grpc-status", b"%d" % UNAVAILABLE), (b"grpc-message", encoded)
