"""A tenant's marks on our pages. Values come from customers and land in a page of ours, so each is checked.

name               up to 60 characters without controls
logo               a data: URI of a PNG, JPEG, GIF, WebP or SVG image in base64, up to 64 KiB; never an address,
                   which would tell a third party who visits
accent_color       `#rrggbb`, of the bar, the button and the marks
accent_color_dark  the same for the dark theme; accent_color where absent
background         `#rrggbb`, behind the page
support_url        an https or mailto address
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

KEYS = ("name", "logo", "accent_color", "accent_color_dark", "background", "support_url")

_LOGO = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}")
_LONGEST_LOGO = 64 * 1024
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_MAILTO = re.compile(r"mailto:[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}")
_LONGEST_NAME = 60
_LONGEST_URL = 2048


@dataclass(frozen=True, slots=True)
class Branding:
    """Checked values; None where there is none."""

    name: str | None = None
    logo: str | None = None
    accent_color: str | None = None
    accent_color_dark: str | None = None
    background: str | None = None
    support_url: str | None = None


def read_branding(values: Mapping[str, str]) -> Branding:
    """The values that may be shown. One that may not is left out: a page without a logo beats no page."""
    return Branding(
        **{key: values[key] for key in KEYS if key in values and may_be_shown(key, values[key])},
    )


def may_be_shown(key: str, value: str) -> bool:
    """Whether `value` is fit for the key of `KEYS`."""
    if key == "name":
        return 0 < len(value) <= _LONGEST_NAME and value.isprintable()
    if key == "logo":
        return len(value) <= _LONGEST_LOGO and _LOGO.fullmatch(value) is not None
    if key == "support_url":
        return _is_https(value) or _MAILTO.fullmatch(value) is not None
    return _COLOUR.fullmatch(value) is not None


def text_on(colour: str) -> str:
    """Black or white, whichever is easier to read on `#rrggbb` (WCAG 2.2, relative luminance)."""
    red, green, blue = (_linear(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def _is_https(url: str) -> bool:
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or any(mark in url for mark in " \"'<>\\"):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and parts.username is None
