"""Upgrades: what is an offer, and what accepts one (RFC 9110 §7.8).

An offer needs `Upgrade`, `Connection: upgrade` as a token among others (Firefox sends `keep-alive, Upgrade`) and
HTTP/1.1. It may have a body, as `docker exec` sends one: the protocol changes behind that. h2c is never offered to a backend: it would turn the connection into something that we neither
read nor may share (RFC 9113 deprecates it). Anything else passes as it came and becomes a raw tunnel after a 101.
"""

from router.http1.heads import tokens
from router.http1.requests import RequestHead
from router.http1.responses import ResponseHead


def settle_upgrade(head: RequestHead) -> None:
    """Keep `head.upgrade` only where the request is an offer that goes on to the backend."""
    if head.upgrade and (b"upgrade" not in head.connection or head.version != 1 or b"h2c" in tokens(head.upgrade)):
        head.upgrade = b""


def is_upgrade_response(head: ResponseHead) -> bool:
    """Whether the response is a 101 that says what it upgrades to."""
    return head.status == 101 and bool(head.upgrade)


def accepts(request: RequestHead, response: ResponseHead) -> bool:
    """Whether this 101 accepts what this request offered."""
    return (
        is_upgrade_response(response) and bool(request.upgrade) and response.upgrade.lower() in tokens(request.upgrade)
    )
