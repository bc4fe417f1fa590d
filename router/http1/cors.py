"""What lets a program in a browser read our own responses, across origins (Fetch Standard, "CORS protocol").

Without it `fetch` of a preview that is down fails with "Failed to fetch", and the code that would tell why is lost.

    who may read      whoever asks: the Origin is echoed. A response of ours has nothing in it that the visitor alone
                      may know: a code, a message, the request's id.
    what of it        the body, and the headers of `_EXPOSED`
    with credentials  only an error of a preview that its visitors know to exist, since programs that send cookies to
                      it could not read it otherwise; never for the opaque origin `null`
    preflights        answered only where the program can't, or must not be reached by strangers, without credentials, and for this once: the next one, a
                      second later, is the program's own. With credentials, a stranger's page could ask while a program
                      starts, and then send with the visitor's cookies what the program itself forbids.

What a program answers has the headers that it sets; none of this is added there, except that a preview whose owner lets
certain origins read it (`cors` of its policy) says so where its program says nothing.
"""

import re
from typing import Final

_ORIGIN: Final = re.compile(rb"null|[A-Za-z][A-Za-z0-9+.-]{0,31}://[A-Za-z0-9.:\[\]_~%-]{1,300}")
_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_MAX_NAMES: Final = 2048  # bytes of the header names that a preflight asks for
_EXPOSED: Final = b"X-Miosa-Error, Retry-After, X-Request-ID"


def readable(origin: bytes | None, *, credentials: bool) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a response that a page of `origin` may read; none where that is no origin.

    `credentials`: also where the request was sent with the visitor's cookies.
    """
    if origin is None or _ORIGIN.fullmatch(origin) is None:
        return ()
    headers = [(b"Access-Control-Allow-Origin", origin), (b"Access-Control-Expose-Headers", _EXPOSED)]
    if credentials and origin != b"null":
        headers.append((b"Access-Control-Allow-Credentials", b"true"))
    return tuple(headers)


def preflight(
    origin: bytes | None, method: bytes | None, names: bytes | None, *, credentials: bool = False
) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that allow what a preflight asks for: `method`, with the headers `names`; none where it is no preflight.

    `credentials`: also with the visitor's cookies, where the owner of the preview has listed the origin.
    """
    if origin is None or method is None or _ORIGIN.fullmatch(origin) is None or _NAMES.fullmatch(method) is None:
        return ()
    headers = [
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Allow-Methods", method),
        (b"Access-Control-Max-Age", b"0"),
    ]
    if names is not None and len(names) <= _MAX_NAMES and _NAMES.fullmatch(names) is not None:
        headers.append((b"Access-Control-Allow-Headers", names))
    if credentials and origin != b"null":
        headers.append((b"Access-Control-Allow-Credentials", b"true"))
    return tuple(headers)
