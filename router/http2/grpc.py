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


# Of who may open a preview: to call again changes nothing. Every other error of ours is `UNAVAILABLE`.
_STATUSES: Final = {401: 16, 403: 7}  # UNAUTHENTICATED, PERMISSION_DENIED


def status_fields(message: str, http_status: int = 503) -> tuple[tuple[bytes, bytes], ...]:
    """The trailers of a call that we end, with the percent-encoding of gRPC's protocol. `http_status` is what HTTP hears."""
    encoded = _ESCAPED.sub(lambda match: b"%%%02X" % match[0][0], message.encode())
    return (b"grpc-status", b"%d" % _STATUSES.get(http_status, UNAVAILABLE)), (b"grpc-message", encoded)
