"""In which form an answer of our own is written: for a person in a browser, for a program, for an agent.

A browser that loads a page says so: `Sec-Fetch-Mode: navigate` (Fetch Metadata, W3C), frames included. A `fetch` of
that page says `cors` or the like, and never gets a page, even where its Accept has `*/*`. Only what sends no such header
(curl, old browsers) may get one by its Accept.

In Accept only names count: a program that takes `*/*` or `text/*` wants data, and JSON is the data. Of the names the one
with the greatest weight wins (RFC 9110 §12.4.2); at the same weight what is named least by accident. Where nothing fits
the answer is JSON all the same: an error in another form beats a 406 that hides it.

    text/markdown              agents, which read a page as text
    application/problem+json   RFC 9457
    text/html                  a page
    application/json           the error object of the API
    text/event-stream          EventSource, which gives up at every status but 200; see `event_streams.py`
"""

import enum
import functools
import re

_MAX_REMEMBERED_SIZE = 1024  # bytes of an Accept that is remembered; browsers send some 150
_MAX_MEMBERS = 64  # looked at in one Accept

# One member of the list: a name, and parameters whose values may be quoted strings with commas and semicolons in them.
# A quoted string that nobody closes ends with the header, so that each byte is looked at once.
_MEMBER = re.compile(rb'(?:"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^,"])+')
_PARAMETER = re.compile(rb'(?:"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^;"])+')
_WEIGHT = re.compile(rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?|\.[0-9]{1,3})")


class Form(enum.Enum):
    """How an answer is written; in the order in which they are preferred where a client weighs them the same."""

    MARKDOWN = "text/markdown"
    PROBLEM = "application/problem+json"
    HTML = "text/html"
    JSON = "application/json"
    EVENT_STREAM = "text/event-stream"


_FORMS = {form.value.encode("ascii"): form for form in Form}
_ORDER = {form: place for place, form in enumerate(Form)}


def form_of(sec_fetch_mode: bytes | None, accept: bytes | None) -> Form:
    """The form to answer in, from the values of two headers; None where the request has no such header."""
    if sec_fetch_mode is not None and sec_fetch_mode.strip(b" \t").lower() == b"navigate":
        return Form.HTML
    if accept is None:
        return Form.JSON
    page = sec_fetch_mode is None
    return _remembered(accept, page) if len(accept) <= _MAX_REMEMBERED_SIZE else _by_accept(accept, page)


def _by_accept(accept: bytes, page: bool) -> Form:
    """The named form with the greatest weight. `page`: whether a page may be one of them."""
    best, most = Form.JSON, 0.0
    for place, member in enumerate(_MEMBER.finditer(accept)):
        if place >= _MAX_MEMBERS:
            break
        parts = _PARAMETER.findall(member[0])
        form = _FORMS.get(parts[0].strip(b" \t").lower()) if parts else None
        if form is None or (form is Form.HTML and not page):
            continue
        weight = _weight(parts[1:])
        if weight > most or (weight == most and weight and _ORDER[form] < _ORDER[best]):
            best, most = form, weight
    return best


_remembered = functools.lru_cache(maxsize=256)(_by_accept)


def _weight(parameters: list[bytes]) -> float:
    """`q` of a member, 1 where it has none, or one that nobody can read (RFC 9110 §12.4.2)."""
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip(b" \t").lower() == b"q":
            value = value.strip(b" \t")
            return float(value) if _WEIGHT.fullmatch(value) else 1.0
    return 1.0
