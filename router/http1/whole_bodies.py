"""Chunked request bodies that come whole with their heads, or soon after, go on with their length.

WSGI, CGI and PHP read as much of a body as CONTENT_LENGTH says, and of a chunked one nothing at all: the upload is lost
and nobody hears of it. HTTP/2 has no chunks, so what a visitor uploads without saying how long it is comes to us chunked
(RFC 9113 §8.1). Most such bodies are small and there at once.

Not waited for: what is made to flow. Who waits for `100 Continue` or offers an upgrade; who has trailers or would take
some, as gRPC does; and the media types of `_FLOWING`.
"""

import re
from typing import Final

from router.http1.requests import RequestHead

_FLOWING: Final = re.compile(
    rb"[ \t]*(?:application/(?:grpc|connect\+|x-ndjson|ndjson|json-seq|jsonl|stream\+json)|text/event-stream"
    rb"|multipart/x-mixed-replace|audio/|video/)",
    re.IGNORECASE,
)
_CHUNKED_LINE: Final = b"Transfer-Encoding: chunked"  # as the reader of heads writes it, however it was spelled


def may_come_whole(head: RequestHead) -> bool:
    """Whether it is worth a moment to see if this chunked body is a short one."""
    if head.expect or head.upgrade or head.trailers or head.value(b"trailer") is not None:
        return False
    content_type = head.value(b"content-type")
    return content_type is None or _FLOWING.match(content_type) is None


def with_length(head: RequestHead, length: int) -> RequestHead:
    """The head of a chunked request as it goes on when the body has come whole, with that many bytes."""
    sized = head.with_line(head.method, head.target)
    line = b"Content-Length: %d" % length
    sized.lines = [line if kept == _CHUNKED_LINE else kept for kept in head.lines]
    sized.framing = length
    sized.block = None
    return sized
