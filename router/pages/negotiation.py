"""Whether an answer of our own is read by a person in a browser, or by a program.

A browser that loads a page says so: `Sec-Fetch-Mode: navigate` (Fetch Metadata, W3C), frames included. A `fetch` of
that page says `cors` or the like, and wants JSON even where its Accept has `*/*`. Only what sends no such header (curl,
old browsers) is judged by Accept, and only `text/html` by name counts: a program that takes `*/*` wants data.
"""


def wants_html(sec_fetch_mode: bytes | None, accept: bytes | None) -> bool:
    """Whether to answer with a page, from the values of two headers; None where the request has no such header."""
    if sec_fetch_mode is not None:
        return sec_fetch_mode.strip(b" \t").lower() == b"navigate"
    return accept is not None and any(_is_html(media) for media in accept.lower().split(b","))


def _is_html(media: bytes) -> bool:
    """Whether one member of an Accept header is text/html, and not refused by `q=0` (RFC 9110 §12.4.2)."""
    name, *parameters = (part.strip(b" \t") for part in media.split(b";"))
    return name == b"text/html" and not any(
        part.startswith(b"q=") and not part[2:].strip(b"0.") and part[2:3] == b"0" for part in parameters
    )
