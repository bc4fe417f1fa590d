"""What the command `explain` says of who may open a port."""

from typing import Any

import pytest

from router.cli.explain import access_line, wake_line

_OPEN: dict[str, Any] = {
    "visibility": "public",
    "until": None,
    "hide": False,
    "networks": [],
    "cors": "passthrough",
    "identity": False,
    "secrets": [],
    "login": False,
    "issuers": [],
}
_ISSUERS = [{"id": id_, "issuer": "https://ci.example.com", "audience": "a", "generation": 1} for id_ in ("1", "2")]
_SECRETS = [
    {"id": "1", "kind": "program", "until": None, "revoked": False, "used": False},
    {"id": "2", "kind": "link", "until": None, "revoked": True, "used": False},
    {"id": "3", "kind": "once", "until": None, "revoked": False, "used": True},
]


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ({"visibility": "private", "secrets": _SECRETS}, "access: private; tokens and links that are not revoked: 1"),
        (
            {"visibility": "private", "login": True},
            "access: private; tokens and links that are not revoked: 0; who signs in by the tenant's login",
        ),
        ({"networks": ["10.0.0.0/8", "::1/128"]}, "access: public; only from 10.0.0.0/8, ::1/128"),
        ({"hide": True}, "access: public; hidden: strangers hear that there is no such host"),
        ({"identity": True}, "access: public; its program is told who each visitor is"),
        ({"until": 0.0}, "access: public; until 1970-01-01T00:00:00Z"),
        (
            {"visibility": "key", "cors": "allowlist"},
            "access: key; tokens and links that are not revoked: 0; cors allowlist",
        ),
        (
            {"visibility": "private", "issuers": _ISSUERS},
            "access: private; tokens and links that are not revoked: 0; tokens of https://ci.example.com",
        ),
    ],
)
def test_access_line(policy: dict[str, Any], line: str) -> None:
    """Everything that keeps somebody out is there, what the program is told, and no secret."""
    assert access_line(_OPEN | policy) == line


@pytest.mark.parametrize(
    ("wake", "line"),
    [
        (None, None),
        ("off", None),
        ("any", "wake: a visit wakes it where it sleeps"),
        ("authorised", "wake: a visit wakes it where it sleeps, of those who bring a link, a token or a key"),
        ("a word of a newer node", None),
    ],
)
def test_wake_line(wake: str | None, line: str | None) -> None:
    """Whose visit wakes it; nothing where nobody's does."""
    assert wake_line(wake) == line
