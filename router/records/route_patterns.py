"""Paths as the routes of a program: what is an id in a path is folded, so that all users' pages are one route."""

import re
from typing import Final

# A segment that is a number, a UUID, a ULID, hexadecimal digits as of a hash, or something long with digits in it.
_ID: Final = re.compile(
    r"/(?:[0-9]+"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|[0-9A-HJKMNP-TV-Z]{26}"
    r"|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}"
    r"|(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"
    r")(?=/|$)"
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
_MAX_SEGMENTS: Final = 8
_MAX_LENGTH: Final = 160

OTHER: Final = "*"  # the routes of a minute beyond those that are counted apart


def route_of(method: str, path: str) -> str:
    """`GET /users/:id/posts`. Segments beyond the eighth are `…`; a method that few programs know is `*`."""
    route = _ID.sub("/:id", path)
    if route.count("/") > _MAX_SEGMENTS:
        route = "/".join([*route.split("/")[: _MAX_SEGMENTS + 1], "…"])
    if len(route) > _MAX_LENGTH:
        route = route[:_MAX_LENGTH]
    return f"{method if method in _METHODS else OTHER} {route}"
