"""What let a visitor in: by it an open exchange is judged again, and a program can be told who its visitor is."""

import enum
from typing import Final

from router.access.tokens import Claims
from router.routes.policies import AccessIssuer, SecretKind

_FOREVER: Final = float("inf")


class Way(enum.StrEnum):
    """How a visitor came in: because everybody may, or by what they brought."""

    PUBLIC = "public"
    LINK = "link"
    ONCE = "once"
    PASSWORD = "password"  # noqa: S105 - the name of a way
    TOKEN = "token"  # noqa: S105 - of a program; no secret
    API_KEY = "api_key"
    JWT = "jwt"
    LOGIN = "login"
    CI = "ci"


# By what a secret is, not by where it stood: the token of a link opens in a header too, and is handed on as a cookie.
_WAYS: Final = {
    SecretKind.PROGRAM: Way.TOKEN,
    SecretKind.LINK: Way.LINK,
    SecretKind.ONCE: Way.ONCE,
    SecretKind.PASSWORD: Way.PASSWORD,
}


def way_of(kind: SecretKind) -> Way:
    """How who brings a secret of that kind, or its cookie, comes in."""
    return _WAYS[kind]


class Entry:
    """`secret_id` or the `key` (its hash) that was brought; neither where everybody may come in, or by a JSON Web Token, which
    `claims` are of, or by one of a CI system, which meets the rules `issuers`. `session_id` is that of who has signed in.
    `signed_by` is the key of a cookie, and `generation` the policy's that it names. It holds until `until`, in seconds of the
    epoch.

    `how` they came in; `subject` is who that way says they are, the same at every visit, and empty where it names nobody;
    `email` where it is known. None of the three decides anything.
    """

    def __init__(
        self,
        *,
        secret_id: str = "",
        session_id: str = "",
        key: str = "",
        claims: Claims | None = None,
        issuers: tuple[AccessIssuer, ...] = (),
        signed_by: str = "",
        generation: int = 0,
        until: float = _FOREVER,
        how: Way = Way.PUBLIC,
        subject: str = "",
        email: str = "",
    ) -> None:
        self.secret_id = secret_id
        self.session_id = session_id
        self.key = key
        self.looked_up = key or session_id  # what is remembered of it may change
        self.claims = claims
        self.issuers = issuers
        self.signed_by = signed_by
        self.generation = generation
        self.until = until
        self.how = how
        self.subject = subject
        self.email = email


OPEN: Final = Entry()
"""Everybody may come in."""
