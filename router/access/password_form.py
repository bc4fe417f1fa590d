"""The form with a password, as the page of a private preview sends it (URL Standard, "application/x-www-form-urlencoded
parsing").

Stricter than that: what no browser sends is refused rather than read as something. It has one `password` and at most one
`next`, where the visitor goes with the right one; other fields mean nothing.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_SIZE: Final = 4096  # bytes: 256 characters of four bytes each, percent-encoded, are 3072

_TYPE: Final = b"application/x-www-form-urlencoded"
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MAX_FIELDS: Final = 16


class FormError(Exception):
    """It is not such a form; `str()` says why, without anything that it says."""


def read_form(content_type: bytes | None, body: bytes) -> tuple[str, bytes]:
    """The password, and `next` as it was sent. Raises FormError."""
    if content_type is None or content_type.partition(b";")[0].strip(b" \t").lower() != _TYPE:
        raise FormError(f"its Content-Type is not {_TYPE.decode()}")
    if len(body) > MAX_SIZE:
        raise FormError("it is too long")
    fields = body.split(b"&")
    if len(fields) > _MAX_FIELDS:
        raise FormError("it has too many fields")
    found: dict[bytes, bytes] = {}
    for field in fields:
        name, _, value = field.partition(b"=")
        name = _decoded(name)
        if name not in (b"password", b"next"):
            continue
        if name in found:
            raise FormError(f"it has two fields {name.decode()}")
        found[name] = _decoded(value)
    if not found.get(b"password"):
        raise FormError("it has no password")
    try:
        return found[b"password"].decode("utf-8"), found.get(b"next", b"")
    except UnicodeDecodeError:
        raise FormError("its password is not UTF-8") from None


def _decoded(text: bytes) -> bytes:
    if _BAD_ESCAPE.search(text) is not None:
        raise FormError("it has an escape that is none")
    return unquote_to_bytes(text.replace(b"+", b" "))
