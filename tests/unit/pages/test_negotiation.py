"""Who gets a page and who gets JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.pages import wants_html

CHROME = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("sec_fetch_mode", "accept", "html"),
    [
        (b"navigate", CHROME, True),
        (b"navigate", None, True),
        (b"navigate", b"application/json", True),
        (b"Navigate ", None, True),
        (b"cors", CHROME, False),
        (b"no-cors", b"text/html", False),
        (b"same-origin", b"*/*", False),
        (b"websocket", None, False),
        (b"", b"text/html", False),
        (b"navigate, cors", CHROME, False),
        (None, None, False),
        (None, b"", False),
        (None, b"*/*", False),
        (None, b"text/*", False),
        (None, b"application/json", False),
        (None, b"text/html", True),
        (None, CHROME, True),
        (None, b"TEXT/HTML", True),
        (None, b"application/json, text/html;q=0.1", True),
        (None, b"application/json,\ttext/html ; level=1", True),
        (None, b"text/html;q=0", False),
        (None, b"text/html; Q=0.000", False),
        (None, b"text/html; q=0.001", True),
        (None, b"text/html;q=", True),
        (None, b"text/html5", False),
        (None, b"application/x;title=text/html", False),
        (None, b"text/html,text/html;q=0", True),
    ],
)
def test_the_choice(sec_fetch_mode: bytes | None, accept: bytes | None, html: bool) -> None:
    """Fetch Metadata first; Accept only where there is none."""
    assert wants_html(sec_fetch_mode, accept) is html


@given(st.none() | st.binary(), st.none() | st.binary())
def test_anything_is_an_answer(sec_fetch_mode: bytes | None, accept: bytes | None) -> None:
    """No header's value makes it fail."""
    assert wants_html(sec_fetch_mode, accept) in {True, False}
