"""Paths of a host that the edge answers itself, where not everybody may open the preview; and where visitors go from there.

    POST       /.well-known/miosa/password    the form of the page that says that a preview is private
    GET        /.well-known/miosa/login       to the login host, to sign in by the tenant's login (`login.py`)
    GET        /.well-known/miosa/arrive      back from there
    GET, POST  /.well-known/miosa/logout      a page with a button, and what it does

On a public preview these paths are the program's, as all others are.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from router.access.brought import without_tokens
from router.http1.requests import RequestHead

PREFIX: Final = b"/.well-known/miosa/"
PASSWORD: Final = PREFIX + b"password"
LOGIN: Final = PREFIX + b"login"
ARRIVE: Final = PREFIX + b"arrive"
LOGOUT: Final = PREFIX + b"logout"

_MAX_NEXT: Final = 2048  # bytes
_HOME: Final = b"/"
_TARGET: Final = re.compile(rb"/[\x21\x22\x24-\x5b\x5d-\x7e]*")  # of a request, without `#` and `\`
_BEGINS_ELSEWHERE: Final = re.compile(rb"/[\x00-\x20]*[/\\]")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f\\]")


def login_path(target: bytes) -> bytes:
    """Which of the paths of a login a request's target is; empty for any other."""
    if not target.startswith(PREFIX):
        return b""
    path = target.partition(b"?")[0]
    return path if path in (LOGIN, ARRIVE, LOGOUT) else b""


def is_form(head: RequestHead) -> bool:
    """Whether a request is the form with a password."""
    target = head.target
    return (
        target.startswith(PREFIX)
        and head.method == b"POST"
        and (target == PASSWORD or target.startswith(PASSWORD + b"?"))
    )


def is_reserved(target: bytes) -> bool:
    """Whether a request's target is below the prefix of ours."""
    return target.startswith(PREFIX)


def safe_next(target: bytes) -> bytes:
    """Where a visitor goes after a form or a login: `target`, which came with the request, where it is a path of the same host,
    without tokens of ours; else `/`.

    Browsers read `//host`, and `/\\host` as the same, as another host, after taking out tabs and line ends (URL Standard,
    "relative state" and "relative slash state"). Programs and proxies on the way may decode a path before they look at it, so
    it must not become one of these by that either. A path of ours would lead back to where the visitor comes from.
    """
    if len(target) > _MAX_NEXT or _TARGET.fullmatch(target) is None:
        return _HOME
    path = target.partition(b"?")[0]
    decoded = path
    while b"%" in decoded:  # as often as it was encoded: each time it gets shorter
        again = unquote_to_bytes(decoded)
        if again == decoded:
            break
        decoded = again
    if _BEGINS_ELSEWHERE.match(decoded) or _CONTROL.search(decoded) or is_reserved(decoded):
        return _HOME
    return without_tokens(target)
