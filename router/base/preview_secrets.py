"""Secrets that open a preview: how they look, and the hash that is all we keep of one.

    mpt_…   for programs, in a header or a query
    mpl_…   for people, in a link
    mpo_…   for people, in a link that works once

Behind the four characters stand 32 random bytes in base64url (RFC 4648 §5, without padding): 43 characters.
"""

import hashlib
import re
import secrets
from typing import Final

PROGRAM: Final = "program"
LINK: Final = "link"
ONCE: Final = "once"

_START: Final = {PROGRAM: "mpt_", LINK: "mpl_", ONCE: "mpo_"}
_KINDS: Final = {start: kind for kind, start in _START.items()}
_FORM: Final = re.compile(r"mp[tlo]_[A-Za-z0-9_-]{43}", re.ASCII)
_BYTES: Final = 32
_SHOWN: Final = 10  # characters that lists show: the start and 6 of the 43


def new_secret(kind: str) -> str:
    """A new secret's plain text. `kind` is one of `PROGRAM`, `LINK`, `ONCE`."""
    return _START[kind] + secrets.token_urlsafe(_BYTES)


def kind_of(text: str) -> str | None:
    """What a secret of this text is for; None where it has not the form of one."""
    return _KINDS[text[:4]] if _FORM.fullmatch(text) is not None else None


def digest(plain: str) -> str:
    """SHA-256 in hexadecimal: 256 random bits are not guessed, so a slow hash would protect them no better."""
    return hashlib.sha256(plain.encode()).hexdigest()


def shown(plain: str) -> str:
    """Its first characters, by which people tell their secrets apart."""
    return plain[:_SHOWN]
