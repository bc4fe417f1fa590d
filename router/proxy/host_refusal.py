"""Programs that refuse the name they are visited under: recognised by their own words, and told another one where they may be.

    "Blocked request. This host (…) is not allowed"   Vite, and what is built on it
    a page with the same words                        Angular
    "Invalid Host header"                             webpack-dev-server
    "Invalid host", and no more                       Storybook
    "DisallowedHost at /"                             Django with DEBUG
    "Blocked hosts: …"                                Rails in development
    "Unauthorized", for a resource of its own         `next dev`: it refuses the page's Origin

Such an answer is the program's, and reaches the visitor. With `host_mode` auto it is the sign that this program serves
`localhost` only: from then on it is told that (`http1/host_rewrite.py`), as long as it runs, and a GET, HEAD or OPTIONS
without a body that was refused is sent once more. Whatever is refused so was refused before the program looked at it. If it
refuses `localhost` too, it is told the truth again and nothing is sent twice any more.

One visitor's request decides for all of them here, so only one counts that says nothing odd: a host in lower case with no
port or a possible one, since some programs refuse `NAME` and `name:` where they serve `name`; and of `next dev`, which
judges pages, only what its own page has asked for.

Only answers that may be one of these are looked at (`ResponseHead.may_refuse`), and only their first bytes. They wait for
as many as it takes where the request could be sent again, for two seconds at most; all others are judged by what came with
the head.
"""

import re
from typing import TYPE_CHECKING, Final

from router.http1.heads import CHUNKED, NONE, UNTIL_CLOSE, place_of, value_of
from router.http1.host_rewrite import ToldHost, is_public
from router.http1.responses import ResponseHead
from router.observe import endings
from router.routes.host_notes import HostNote

if TYPE_CHECKING:
    from router.proxy.backend import BackendConnection
    from router.proxy.exchange import Exchange

_REPEATABLE: Final = (b"GET", b"HEAD", b"OPTIONS")
_HOLD: Final = 2.0  # seconds for the bytes that tell
_MAX_TEXT: Final = 512  # bytes of a text that tell
_MAX_PAGE: Final = 16384  # of a page: Rails has its styles before its words
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}[^\r\n]{0,64}\r\n")

_HOST: Final = re.compile(
    rb"[a-z0-9.-]+(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)

# By how it begins, and by what stands on the page.
_TEXTS: Final = (
    (b"Blocked request. This host (", "vite"),
    (b"Invalid Host header", "webpack"),
    (b"DisallowedHost at ", "django"),
    (b"Blocked host: ", "rails"),
    (b"Blocked hosts: ", "rails"),
)
# All of it: other programs begin so, whose owners have listed their hosts themselves.
_WHOLE: Final = (b"Invalid host", b"Invalid host\r\n0\r\n\r\n")
_ON_PAGE: Final = (
    (re.compile(rb"<title>\s*DisallowedHost\s"), "django"),
    (re.compile(rb">\s*Blocked hosts?: "), "rails"),
    (re.compile(rb"<h1>\s*Blocked request\. This host \("), "angular"),
)
NEXT_PATHS: Final = (b"/_next/", b"/__nextjs")
_NEXT_SAYS: Final = b"Unauthorized"


def taken(exchange: "Exchange", backend: "BackendConnection", head: ResponseHead, data: bytes) -> bool:
    """Whether this response is not passed on now: it is held for more of it, or the request has been sent once more.

    `data` is what has come of its body.
    """
    if _HOST.fullmatch(exchange.head.host) is None:
        return False
    repeatable = _may_repeat(exchange)
    refuser, more = _recognise(exchange, head, data)
    if not refuser:
        if more and repeatable:
            if not backend.held:
                exchange.incoming.deadline = exchange.worker.now + _HOLD
            return True
        return False
    return _refused(exchange, refuser, repeatable=repeatable)


def taken_raw(exchange: "Exchange", data: bytes) -> bool:
    """The same of what is no response at all: `next dev` writes its one word into a WebSocket's connection."""
    if exchange.head.upgrade and data[: len(_NEXT_SAYS)] == _NEXT_SAYS and _is_nexts(exchange):
        return _refused(exchange, "next", repeatable=_may_repeat(exchange))
    return False


def tell(told: ToldHost, note: HostNote) -> None:
    """A program is told what another worker, or this one on another route, has found out."""
    told.refuser = note.refuser
    if note.told is not None and told.if_refused is not None:
        told.tell(told.if_refused, NEXT_PATHS if note.refuser == "next" else ())


def _may_repeat(exchange: "Exchange") -> bool:
    head = exchange.head
    return (
        not exchange.repeated
        and exchange.prepared.rules.told.if_refused is not None
        and head.method in _REPEATABLE
        and head.framing == NONE
        and exchange.incoming.request_done
    )


def _is_nexts(exchange: "Exchange") -> bool:
    """Whether it is a request for something of its own, from its own page: those of strangers it refuses rightly."""
    head = exchange.head
    origin = head.value(b"origin")
    return (
        head.target.startswith(NEXT_PATHS)
        and _HOST.fullmatch(head.host) is not None
        and origin is not None
        and is_public(origin, exchange.client_info)
        and head.value(b"sec-fetch-site") in (None, b"same-origin")
    )


def _recognise(exchange: "Exchange", head: ResponseHead, data: bytes) -> tuple[str, bool]:
    """(what refuses, "" where none does; whether more of the body may tell)."""
    lines = head.lines
    if (
        head.status not in (200, 400, 403)
        or exchange.head.method == b"HEAD"
        or place_of(lines, b"content-encoding") >= 0
    ):
        return "", False
    place = place_of(lines, b"content-type")
    kind = value_of(lines[place]).lower() if place >= 0 else b"text/plain"
    if not kind.startswith(b"text/"):
        return "", False
    if head.framing == CHUNKED:
        whole = data.endswith(b"\r\n0\r\n\r\n")
    else:
        whole = head.framing != UNTIL_CLOSE and len(data) >= head.framing
    if head.framing == CHUNKED:
        size = _CHUNK_SIZE.match(data)
        data = b"" if size is None else data[size.end() :]
    if head.status == 403 and data.startswith(_NEXT_SAYS) and _is_nexts(exchange):
        return "next", False
    for words, refuser in _TEXTS:
        if data.startswith(words) and (head.status != 200 or refuser == "webpack"):
            return refuser, False
    if head.status == 200:
        return "", not whole
    if head.status == 403 and whole and data in _WHOLE:
        return "storybook", False
    for pattern, refuser in _ON_PAGE:
        if pattern.search(data, 0, _MAX_PAGE) is not None:
            return refuser, False
    return "", not whole and len(data) < (_MAX_PAGE if kind.startswith(b"text/html") else _MAX_TEXT)


def _refused(exchange: "Exchange", refuser: str, *, repeatable: bool) -> bool:
    """Note it, and send the request once more where that may help; whether it was."""
    told = exchange.prepared.rules.told
    route, worker = exchange.route, exchange.worker
    if exchange.repeated and told.if_refused is not None:  # it refuses the other name as well
        told.host = told.if_refused = None
        told.refuser = ""
    elif told.if_refused is not None and (told.host is None or (told.paths and refuser != "next")):
        told.tell(told.if_refused, NEXT_PATHS if refuser == "next" else ())
        told.refuser = ""
    host = told.host.decode("ascii") if told.host is not None and told.if_refused is not None else None
    resource, port = (None, None) if route is None else (route.resource, route.port)
    if resource is None or port is None:
        return False
    note = HostNote(resource.id, resource.slug, port, exchange.prepared.pool.generation, refuser, host)
    exchange.hint = f"{refuser} refuses this host: " + (
        f"told {host} from now on" if host else "host_mode localhost helps"
    )
    if told.refuser != refuser:
        told.refuser = refuser
        worker.note_refusal(note)
    if not repeatable:
        return False
    exchange.repeated = True
    exchange.release(reusable=False)
    exchange.phase = endings.ADMISSION
    exchange.connect()
    return True
