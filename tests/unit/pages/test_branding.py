"""What a tenant may put on our pages."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.pages.branding import Branding, may_be_shown, read_branding, text_on

PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Acme"),
        ("name", "Æcme & Söhne <3"),
        ("name", "x" * 60),
        ("logo", PIXEL),
        ("logo", PIXEL.replace("png", "svg+xml")),
        ("accent_color", "#E11d48"),
        ("accent_color_dark", "#000000"),
        ("background", "#f0f0f0"),
        ("support_url", "mailto:help+desk@acme.example"),
        ("support_url", "https://acme.example/help?x=1#y"),
        ("support_url", "https://xn--bcher-kva.example:8443/"),
    ],
)
def test_what_may_be_shown(key: str, value: str) -> None:
    """Well-formed values."""
    assert may_be_shown(key, value)
    assert read_branding({key: value}) == Branding(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", "x" * 61),
        ("name", "a\nb"),
        ("name", "a\x00b"),
        ("name", "a\u202eb"),
        ("logo", "https://acme.example/logo.png"),
        ("logo", "data:text/html;base64,PGI+"),
        ("logo", "data:image/png,raw"),
        ("logo", "data:image/png;base64,"),
        ("logo", PIXEL + "\n"),
        ("logo", PIXEL + '" onerror="'),
        ("logo", "data:image/png;base64," + "A" * 65536),
        ("accent_color", "red"),
        ("background", "url(https://acme.example)"),
        ("support_url", "mailto:help@acme.example?cc=x"),
        ("support_url", "mailto:help"),
        ("accent_color", "#fff"),
        ("accent_color", "#ffffff;}"),
        ("accent_color", "#ffffff\n"),
        ("accent_color", "#gggggg"),
        ("accent_color_dark", "var(--x)"),
        ("support_url", "http://acme.example"),
        ("support_url", "javascript:alert(1)"),
        ("support_url", "//acme.example"),
        ("support_url", "https://"),
        ("support_url", "https:///path"),
        ("support_url", "https://user@acme.example"),
        ("support_url", "https://user:pass@acme.example"),
        ("support_url", "https://acme.example/\x00"),
        ("support_url", "https://acme.example/ x"),
        ("support_url", 'https://acme.example/"'),
        ("support_url", "https://[half"),
        ("support_url", "https://acme.example/" + "x" * 2048),
        ("support_url", "https://bücher.example"),
    ],
)
def test_what_may_not(key: str, value: str) -> None:
    """Everything else is left out, and the page goes without."""
    assert not may_be_shown(key, value)
    assert read_branding({key: value, "name": "Acme"} if key != "name" else {key: value}) == (
        Branding(name="Acme") if key != "name" else Branding()
    )


def test_unknown_keys_are_ignored() -> None:
    """Branding has more uses than this page."""
    assert read_branding({"favicon": "x"}) == Branding()


@pytest.mark.parametrize(
    ("colour", "text"),
    [
        ("#ffffff", "#000000"),
        ("#000000", "#ffffff"),
        ("#4338ca", "#ffffff"),
        ("#f5b83d", "#000000"),
        ("#e11d48", "#ffffff"),
    ],
)
def test_text_can_be_read_on_a_colour(colour: str, text: str) -> None:
    """Black or white, by luminance."""
    assert text_on(colour) == text


def luminance(colour: str) -> float:
    """Relative luminance by the formula of WCAG 2.2, written out a second time."""
    weights, total = (0.2126, 0.7152, 0.0722), 0.0
    for weight, place in zip(weights, (1, 3, 5), strict=True):
        share = int(colour[place : place + 2], 16) / 255
        total += weight * (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    return total


@given(st.text(string.hexdigits, min_size=6, max_size=6))
def test_contrast_is_always_enough(digits: str) -> None:
    """At least 4.5 to 1 (WCAG 2.2, 1.4.3), whichever colour a tenant picks."""
    colour = f"#{digits}"
    high, low = sorted((luminance(colour), luminance(text_on(colour))), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5
