"""Which tokens of a CI system a tenant means: a pattern for each claim that has to be there.

    acme/shop     this value
    acme/*        any value that begins so: `*` stands for any characters, also none, also slashes

Claims that are numbers, true or false are compared by how JSON writes them; of a list one element is enough.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from yarl import URL

ANY: Final = "*"
MAX_CLAIMS: Final = 20
MAX_NAME: Final = 100
MAX_PATTERN: Final = 255
OURS: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})  # what is checked without being asked for
_MAX_ELEMENTS: Final = 1000  # of a list

# CI systems that serve everybody: any stranger can have them sign a token for any audience. So a rule has to name whose
# pipelines it means: by one of these claims, of which the pattern's beginning has no `*` in it.
_OWNER: Final = r"[^*]+"
_OWNERS_PATH: Final = r"[^*/]+/.*"
_OWN_OR_INSIDE: Final = r"[^*/]+(/.*)?"
_GITHUB: Final = {
    "repository": _OWNERS_PATH,
    "repository_owner": _OWNER,
    "repository_id": _OWNER,
    "repository_owner_id": _OWNER,
    "enterprise": _OWNER,
    "enterprise_id": _OWNER,
    "sub": rf"repo:{_OWNERS_PATH}",
}
_GITLAB: Final = {
    "project_path": _OWNERS_PATH,
    "namespace_path": _OWN_OR_INSIDE,
    "project_id": _OWNER,
    "namespace_id": _OWNER,
    "sub": rf"project_path:{_OWNERS_PATH}",
}
_SHARED: Final = {
    "token.actions.githubusercontent.com": ("repository_owner", "repository", _GITHUB),
    "gitlab.com": ("namespace_path", "project_path", _GITLAB),
}


def matches(patterns: Mapping[str, str], claims: Mapping[str, Any]) -> bool:
    """Whether a token's claims are what all patterns say."""
    return all(_has(pattern, claims.get(name)) for name, pattern in patterns.items())


def refusal_of(issuer: str, patterns: Mapping[str, str]) -> str | None:
    """What is wrong with a rule as a whole; None where nothing is. Each of its patterns is right by itself."""
    if not patterns:
        return "must name one claim at least"
    shared = _SHARED.get((URL(issuer).host or "").lower())
    if shared is None:
        return None
    first, second, owners = shared
    if any(name in owners and re.fullmatch(owners[name], patterns[name], re.DOTALL) for name in patterns):
        return None
    return f"must say whose pipelines are meant, since this issuer serves everybody: {first}, or {second} as in owner/*"


def _has(pattern: str, value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= _MAX_ELEMENTS and any(_is(pattern, element) for element in value)
    return _is(pattern, value)


def _is(pattern: str, value: object) -> bool:
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    return isinstance(value, str) and _fits(pattern, value)


def _fits(pattern: str, text: str) -> bool:
    """No regular expression: a pattern is a customer's, and some of those take for ever."""
    beginning, *middle = pattern.split(ANY)
    if not middle:
        return text == beginning
    end = middle.pop()
    if len(text) < len(beginning) + len(end) or not text.startswith(beginning) or not text.endswith(end):
        return False
    place, last = len(beginning), len(text) - len(end)
    for part in middle:
        found = text.find(part, place, last)
        if found < 0:
            return False
        place = found + len(part)
    return True
