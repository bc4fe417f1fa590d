"""Tokens of CI systems that visitors bring: whose they say they are, and what the control process has found out about one.

What stands in a token is anybody's word until it is verified, which workers never do. They read it only to tell the tokens
that a tenant has a rule for from those that belong to the program behind the preview.
"""

import binascii
import enum
import json
from dataclasses import dataclass
from typing import Final

from router.access.brought import MAX_TOKEN

_MAX_AUDIENCES: Final = 50


class CiOutcome(enum.StrEnum):
    """What a token is worth. `UNAVAILABLE`: nobody knows now, because the CI system can't be asked for its keys."""

    ACCEPTED = "accepted"
    EXPIRED = "expired"
    WRONG = "wrong"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class CiVerdict:
    """`met` are the rules that an accepted or expired token meets, by id and generation; `subject` is whom it is about. From
    `until` on, in seconds of the epoch, it is accepted no more."""

    outcome: CiOutcome
    met: tuple[tuple[str, int], ...] = ()
    subject: str = ""
    until: float = 0.0


def stated_origin(token: bytes) -> tuple[str, tuple[str, ...]] | None:
    """The issuer that a token names, and whom it says it is for; None where it is no token that says both. Bounded, and raises
    nothing, whatever it is given."""
    if len(token) > MAX_TOKEN:
        return None
    parts = token.split(b".")
    if len(parts) != 3:
        return None
    payload = parts[1]
    try:
        claims = json.loads(binascii.a2b_base64(payload.translate(_STANDARD) + b"=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(claims, dict):
        return None
    issuer, audiences = claims.get("iss"), audiences_of(claims.get("aud"))
    return (issuer, audiences) if isinstance(issuer, str) and audiences else None


def audiences_of(audience: object) -> tuple[str, ...]:
    """Whom a token is for, out of its claim: one, or a list."""
    if isinstance(audience, str):
        return (audience,)
    if not isinstance(audience, list) or len(audience) > _MAX_AUDIENCES:
        return ()
    return tuple(one for one in audience if isinstance(one, str))


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
