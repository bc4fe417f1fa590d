"""What a visitor brought that may open a preview, and what kind of request it came with.

A token may stand in four places. Whatever was ours there is taken out before the request goes on, so that no program ever
sees a secret that opens it:

    X-Miosa-Preview-Token: T          a header
    ?X-Miosa-Preview-Token=T          the same as a query parameter, in any case
    ?miosa_token=T                    a share link; on a navigation it is exchanged for a cookie
    Authorization: Bearer T           only where T is ours; any other belongs to the program, and passes to the byte

Names and values of parameters may be percent-encoded, as programs that read them will decode them. A parameter or a header
without a value counts as not sent.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from router.http1.heads import has
from router.http1.requests import Credentials, RequestHead
from router.pages import Form, form_of

MAX_TOKEN: Final = 4096  # bytes; what is longer opens nothing, and is not hashed

_LINK: Final = b"miosa_token"
_PARAMETERS: Final = frozenset((_LINK, b"x-miosa-preview-token"))
_LONGEST: Final = 3 * len(b"x-miosa-preview-token")  # bytes of a name, each of which is percent-encoded
_ENCODED_NAME: Final = re.compile(rb"[?&][^&=%%]{0,%d}%%" % _LONGEST)
_BEARER: Final = re.compile(rb"Bearer +([^ ,;]+) *", re.IGNORECASE)
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH"))
_NOTHING: Final = Credentials()


def sole_credential(head: RequestHead) -> bytes:
    """The cookie, the token of a header, or the Authorization, that a request brings which brings nothing else that could be
    ours, and changes nothing; empty for any other. Nearly all requests of a page that is open are such, and are the same to whoever
    judges them: so their verdict can be remembered by that alone."""
    credentials = head.credentials
    if credentials is None or head.upgrade or head.method not in (b"GET", b"HEAD"):
        return b""
    if len(credentials.cookies) + len(credentials.tokens) + len(credentials.authorization) != 1:
        return b""
    if _mentions(head.target) or _mentions(head.referer):
        return b""
    if credentials.cookies:
        return b"cookie " + credentials.cookies[0]
    return b"token " + credentials.tokens[0] if credentials.tokens else b"authorization " + credentials.authorization[0]


def brings_nothing(head: RequestHead) -> bool:
    """Whether there is nothing in the request that could be ours and would go on to the program."""
    credentials = head.credentials
    if credentials is not None and credentials.authorization:
        return False
    return not _mentions(head.target) and not _mentions(head.referer)


class Brought:
    """See the module. `tokens` are those of the header and the query, `link` is that of `miosa_token`, each token once.
    `bearer` are those of Authorization, by the whole value. `target` is the request's without the parameters that were ours.
    """

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        credentials = head.credentials or _NOTHING
        self.cookies = credentials.cookies
        self.target = head.target
        self.link = b""
        self.tokens: list[bytes] = [token for token in credentials.tokens if token]
        self.bearer: dict[bytes, bytes] = {}
        for value in credentials.authorization:
            match = _BEARER.fullmatch(value)
            if match is not None:
                self.bearer[value] = match[1]
        if _mentions(head.target):
            self._read_query(head.target)

    def _read_query(self, target: bytes) -> None:
        path, _, query = target.partition(b"?")
        kept = []
        for parameter in query.split(b"&"):
            name = _name(parameter)
            if name not in _PARAMETERS:
                kept.append(parameter)
                continue
            value = parameter.partition(b"=")[2]
            token = unquote_to_bytes(value) if len(value) <= 3 * MAX_TOKEN else value
            if token:
                if name == _LINK:
                    self.link = self.link or token
                self.tokens.append(token)
        self.target = path + b"?" + b"&".join(kept) if kept else path

    @property
    def changes_target(self) -> bool:
        """Whether there is a parameter of ours in the query."""
        return self.target != self.head.target

    @property
    def safe(self) -> bool:
        """Whether the request is one that changes nothing (RFC 9110 §9.2.1): no upgrade, whose messages nobody can tell."""
        return self.head.method in _SAFE and not self.head.upgrade

    @property
    def navigates(self) -> bool:
        """Whether a browser loads a page by it, or a program that follows redirects and keeps cookies as one does."""
        head = self.head
        if head.upgrade:
            return False
        mode = head.value(b"sec-fetch-mode")
        if mode is not None:
            return mode.lower() == b"navigate"
        return form_of(None, head.value(b"accept")) is not Form.EVENT_STREAM

    @property
    def preflight(self) -> bool:
        """Whether a browser asks by it what a script may send (Fetch Standard, "CORS-preflight request")."""
        head = self.head
        return (
            head.method == b"OPTIONS"
            and head.value(b"origin") is not None
            and head.value(b"access-control-request-method") is not None
        )

    @property
    def early(self) -> bool:
        """Whether it came in early data of TLS, which anybody may have sent again (RFC 8470 §5.1)."""
        return self.head.value(b"early-data") == b"1"

    def forward(self, *, consumed: frozenset[bytes]) -> RequestHead:
        """The head as it goes on: without the parameters that were ours, also in its Referer, and without the Authorization
        lines whose value is among `consumed`."""
        head = self.head
        if self.changes_target:
            head = head.with_line(head.method, self.target)
        if consumed:
            head = head.without_authorization(consumed)
        if _mentions(head.referer):
            clean = without_tokens(head.referer)
            if clean != head.referer:
                head = head.with_value(b"referer", clean)
        return head


def without_tokens(url: bytes) -> bytes:
    """A URL without the query parameters that carry tokens of ours."""
    path, mark, query = url.partition(b"?")
    if not mark:
        return url
    kept = [parameter for parameter in query.split(b"&") if _name(parameter) not in _PARAMETERS]
    return path + b"?" + b"&".join(kept) if kept else path


def _mentions(url: bytes) -> bool:
    """Whether a parameter of its query may be one of ours; cheap, and asked of nearly every request."""
    if not has(url, b"?"):
        return False
    lower = url.lower()  # asked of nearly every request, and a regular expression takes twice as many instructions
    if has(lower, b"miosa_") or has(lower, b"miosa-"):
        return True
    return has(url, b"%") and _ENCODED_NAME.search(url) is not None


def _name(parameter: bytes) -> bytes:
    """A parameter's name as programs read it, in lower case; of a long one its beginning, since none of ours is long."""
    name = parameter.partition(b"=")[0][: _LONGEST + 1]
    return (unquote_to_bytes(name) if name.find(b"%") >= 0 else name).lower()
