"""In which form an answer is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.pages import Form, form_of

CHROME = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
HTML, JSON, PROBLEM, MARKDOWN, STREAM = Form.HTML, Form.JSON, Form.PROBLEM, Form.MARKDOWN, Form.EVENT_STREAM


@pytest.mark.parametrize(
    ("sec_fetch_mode", "accept", "form"),
    [
        (b"navigate", CHROME, HTML),
        (b"navigate", None, HTML),
        (b"navigate", b"application/json", HTML),
        (b"Navigate ", None, HTML),
        (b"cors", CHROME, JSON),
        (b"no-cors", b"text/html", JSON),
        (b"same-origin", b"*/*", JSON),
        (b"websocket", None, JSON),
        (b"", b"text/html", JSON),
        (b"navigate, cors", CHROME, JSON),
        # Without Fetch Metadata, by name.
        (None, None, JSON),
        (None, b"", JSON),
        (None, b"*/*", JSON),
        (None, b"text/*", JSON),
        (None, b"text/plain", JSON),
        (None, b"application/json", JSON),
        (None, b"application/json, text/plain, */*", JSON),  # axios
        (None, b"text/html", HTML),
        (None, CHROME, HTML),
        (None, b"TEXT/HTML", HTML),
        (None, b"text/html5", JSON),
        (None, b"application/x;title=text/html", JSON),
        (None, b"application/problem+json", PROBLEM),
        (None, b"application/problem+json, application/json", PROBLEM),
        (None, b"application/json, application/problem+json", PROBLEM),
        (None, b"text/markdown", MARKDOWN),
        (None, b"text/markdown, text/html, */*", MARKDOWN),  # agents
        (None, b"text/event-stream", STREAM),
        (None, b"application/json, text/event-stream", JSON),  # MCP
        (None, b"text/event-stream, */*;q=0.1", STREAM),
        # The greatest weight wins, and none is no.
        (None, b"application/json, text/html;q=0.1", JSON),
        (None, b"application/json;q=0.1, text/html", HTML),
        (None, b"application/json,\ttext/html ; level=1", HTML),
        (None, b"text/html;q=0", JSON),
        (None, b"text/html; Q=0.000", JSON),
        (None, b"text/html; q=0.001", HTML),
        (None, b"text/html;level=1;q=0", JSON),
        (None, b"text/html;q=0;level=1", JSON),
        (None, b"text/markdown;q=0.8, application/problem+json;q=0.9", PROBLEM),
        (None, b"text/markdown;q=0.899, application/json;q=0.9", JSON),
        (None, b"text/markdown;q=.5, application/json;q=0.4", MARKDOWN),
        (None, b"application/problem+json;q=0", JSON),
        (None, b"text/html,text/html;q=0", HTML),
        # A weight that nobody can read is none.
        (None, b"text/html;q=", HTML),
        (None, b"text/html;q=2", HTML),
        (None, b"text/html;q=-1, application/json;q=0.9", HTML),
        (None, b"text/html;q=0.1234, application/json;q=0.9", HTML),
        # Quoted strings hold commas and semicolons.
        (None, b'text/html;title="a,b;q=0"', HTML),
        (None, b'text/plain;title=",text/html,"', JSON),
        (None, b'text/plain;title="\\",text/html,"', JSON),
        (None, b'text/plain;title="unclosed, text/html', JSON),
        (None, b",;,;;, text/html", HTML),
        # In a browser's `fetch`, everything but a page.
        (b"cors", b"application/problem+json", PROBLEM),
        (b"cors", b"text/markdown", MARKDOWN),
        (b"cors", b"text/event-stream", STREAM),
        (b"cors", b"text/html, text/markdown;q=0.1", MARKDOWN),
    ],
)
def test_the_choice(sec_fetch_mode: bytes | None, accept: bytes | None, form: Form) -> None:
    """Fetch Metadata first; Accept only where that says nothing of pages."""
    assert form_of(sec_fetch_mode, accept) is form


@given(st.none() | st.binary(), st.none() | st.binary())
def test_anything_is_an_answer(sec_fetch_mode: bytes | None, accept: bytes | None) -> None:
    """No header's value makes it fail."""
    assert isinstance(form_of(sec_fetch_mode, accept), Form)


WEIGHTS = st.integers(0, 1000)


@given(st.permutations(list(Form)).flatmap(lambda forms: st.tuples(st.just(forms), st.tuples(*[WEIGHTS] * len(forms)))))
def test_no_form_is_given_that_weighs_less_than_another(given: tuple[list[Form], tuple[int, ...]]) -> None:
    """In whatever order they stand; JSON where all are refused."""
    forms, weights = given
    accept = ", ".join(f"{form.value};q={weight / 1000:.3f}" for form, weight in zip(forms, weights, strict=True))
    chosen = form_of(None, accept.encode())
    of = dict(zip(forms, weights, strict=True))
    assert of[chosen] == max(weights)


@pytest.mark.parametrize("piece", [b'"', b'"\\', b'\\"', b"a,", b";", b'";"', b"text/html;q=1,"])
def test_long_values_cost_little(piece: bytes) -> None:
    """A list of any length is looked through once, and only its beginning counts: bytes looked at, not time."""
    accept = piece * (65536 // len(piece))
    assert isinstance(form_of(None, accept), Form)
