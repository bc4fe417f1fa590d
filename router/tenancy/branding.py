"""A tenant's branding: what its visitors see on our pages. The names are the API's; `on_pages` has those of the pages.

product_name        in the place of the platform's name; what can't be printed is left out there
logo_url            a data: URI of an image, which the pages show, or an https address, which they do not: it would tell
                    a third party who visits
support_url         where visitors find help; else `support_email` is
support_email
primary_color       `#rrggbb`, of the bar, the button and the marks
primary_color_dark  the same in the dark; `primary_color` where absent
background_color    behind the page
"""

from collections.abc import Mapping

from router.pages.branding import may_be_shown
from router.tenancy.validation import Fields

# The API's name of a field, the pages' name, and the message for a wrong value.
_MARKS = (
    ("logo_url", "logo", "must be a data: URI of an image of at most 64 KiB, or an https address"),
    ("support_url", "support_url", "must be an https address"),
    ("primary_color", "accent_color", "must be a colour such as #4338ca"),
    ("primary_color_dark", "accent_color_dark", "must be a colour such as #4338ca"),
    ("background_color", "background", "must be a colour such as #4338ca"),
)


def check_branding(fields: Fields, branding: Mapping[str, str]) -> None:
    """Add what is wrong with the values."""
    fields.text("branding.product_name", branding.get("product_name"), max_length=60)
    for name, mark, words in _MARKS:
        value = branding.get(name)
        if value is None or may_be_shown(mark, value):
            continue
        if name != "logo_url" or not may_be_shown("support_url", value):
            fields.add(f"branding.{name}", words)
    email = branding.get("support_email")
    if email is not None and not may_be_shown("support_url", f"mailto:{email}"):
        fields.add("branding.support_email", "must be an e-mail address")


def on_pages(branding: Mapping[str, str]) -> dict[str, str]:
    """The branding under the pages' names."""
    shown = {mark: branding[name] for name, mark, _ in _MARKS if name in branding}
    if name := _printable(branding.get("product_name", "")):
        shown["name"] = name
    if "support_url" not in shown and "support_email" in branding:
        shown["support_url"] = f"mailto:{branding['support_email']}"
    return shown


def _printable(text: str) -> str:
    """Without control characters and those that turn the direction of what follows."""
    return "".join(character for character in text if character.isprintable())
