"""A tenant's branding: what may be set, and what the pages get of it."""

import pytest

from router.errors import RouterError
from router.pages.branding import KEYS, may_be_shown
from router.tenancy.branding import check_branding, on_pages
from router.tenancy.validation import Fields

LOGO = "data:image/png;base64,AAAA"


def mistakes(**branding: str) -> dict[str, list[str]]:
    fields = Fields()
    check_branding(fields, branding)
    try:
        fields.check()
    except RouterError as error:
        return error.fields
    return {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("product_name", "Clinic IQ 東京"),
        ("product_name", "x" * 60),
        ("logo_url", LOGO),
        ("logo_url", "https://cdn.example.org/logo.png"),
        ("support_url", "https://example.org/help"),
        ("support_email", "help+desk@example.org"),
        ("primary_color", "#e11d48"),
        ("primary_color_dark", "#FB7185"),
        ("background_color", "#ffffff"),
    ],
)
def test_what_may_be_set(name: str, value: str) -> None:
    """Values that can be shown, and a logo at an address, which other uses than our pages may show."""
    assert mistakes(**{name: value}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("product_name", "x" * 61),
        ("logo_url", "http://cdn.example.org/logo.png"),
        ("logo_url", "data:text/html;base64,AAAA"),
        ("support_url", "mail@example.org"),
        ("support_email", "example.org"),
        ("support_email", "a@b?cc=c"),
        ("primary_color", "crimson"),
        ("primary_color_dark", "#fff"),
        ("background_color", "url(x)"),
    ],
)
def test_what_may_not(name: str, value: str) -> None:
    """Everything else is a mistake in that field."""
    assert set(mistakes(**{name: value})) == {f"branding.{name}"}


def test_pages_know_every_mark() -> None:
    """Each mark comes to the pages under a name of theirs, and fit to be shown."""
    branding = {
        "product_name": "ClinicIQ",
        "logo_url": LOGO,
        "support_url": "https://example.org/help",
        "support_email": "help@example.org",
        "primary_color": "#e11d48",
        "primary_color_dark": "#fb7185",
        "background_color": "#ffffff",
    }
    shown = on_pages(branding)
    assert set(shown) == set(KEYS)
    assert all(may_be_shown(key, value) for key, value in shown.items())
    assert shown["support_url"] == "https://example.org/help"


def test_support_by_mail() -> None:
    """Without a page for help the link is to the address."""
    assert on_pages({"support_email": "help@example.org"}) == {"support_url": "mailto:help@example.org"}


@pytest.mark.parametrize(("name", "shown"), [("a\u202eb\x07", {"name": "ab"}), ("\u202e", {}), ("", {})])
def test_what_cannot_be_printed_is_left_out(name: str, shown: dict[str, str]) -> None:
    """A name that would turn the text behind it around loses what does that."""
    assert on_pages({"product_name": name}) == shown
