"""Requests whose heads are too large: which of the limits, and what of it is so large.

Whoever reads the page can do something about it only if it says so: which cookie to clear, which token to shorten.
"""

import re
from dataclasses import replace
from typing import Final

from router import errors
from router.errors import Problem
from router.http1.heads import RefusedError
from router.settings import Limits

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_REMEDY: Final = {
    "cookie": "Clear this site's cookies and try again.",
    "authorization": "Use a shorter token.",
    "referer": "Open the page from its address bar.",
}
# A page or data, and who may read it; and whose request it is, for the owner of that host.
_HOW_TO_RESPOND: Final = (b"accept", b"sec-fetch-mode", b"origin", b"host")
_SHORTEN: Final = "Shorten it and try again."


def check_sizes(raw: bytes, lines: list[bytes], limits: Limits) -> None:
    """Refuse a head over the limits, `raw`, whose `lines` have the request line first. It may be the beginning of one."""
    name, size = _largest(lines)
    if len(lines) - 1 > limits.header_count:
        why = f"The request has {len(lines) - 1:,} header lines, and may have {limits.header_count:,}."
        raise _refusal(errors.HEADERS_TOO_LARGE, why, _SHORTEN, lines)
    remedy = _REMEDY.get(name.lower(), _SHORTEN)
    if size > limits.header:
        why = f"The request's header {name} has {size:,} bytes, and may have {limits.header:,}."
        raise _refusal(errors.HEADERS_TOO_LARGE, why, remedy, lines)
    if len(raw) > limits.headers:
        why = (
            f"The request's headers have {len(raw):,} bytes together, and may have {limits.headers:,}. The largest of them "
            f"is {name} with {size:,}."
        )
        raise _refusal(errors.HEADERS_TOO_LARGE, why, remedy, lines)


def line_too_long(size: int, lines: list[bytes], limits: Limits) -> RefusedError:
    """The refusal of a request line of that size."""
    why = f"The request line has {size:,} bytes, and may have {limits.request_line:,}."
    return _refusal(errors.URI_TOO_LONG, why, "Shorten the URL.", lines)


def _largest(lines: list[bytes]) -> tuple[str, int]:
    """The name of the longest header line, and how long that is."""
    longest = max(lines[1:], key=len, default=b"")
    name = longest.partition(b":")[0]
    # It comes from anybody: only what is a name is shown.
    return name.decode("ascii") if _NAME.fullmatch(name) is not None else "without a name", len(longest)


def _refusal(problem: Problem, why: str, remedy: str, lines: list[bytes]) -> RefusedError:
    asked = tuple(line for line in lines[1:] if line[: line.find(b":")].lower() in _HOW_TO_RESPOND)
    return RefusedError(replace(problem, message=f"{why} {remedy}"), why, asked)
