"""How far an API key or a JSON Web Token reaches."""

import enum

from router.base.ids import is_id


class KeyScope(enum.StrEnum):
    """How far a key reaches, the widest first."""

    PLATFORM = "platform"
    TENANT = "tenant"
    WORKSPACE = "workspace"
    PROJECT = "project"


NARROW = frozenset({KeyScope.WORKSPACE, KeyScope.PROJECT})  # those that name what they reach


def read_scope(text: str) -> tuple[KeyScope, str | None] | None:
    """A scope and the id in it, from `platform`, `tenant`, `workspace:ID` or `project:ID`; None is none of them."""
    word, colon, scope_id = text.partition(":")
    narrow = word in NARROW
    if word not in set(KeyScope) or narrow != bool(colon) or (narrow and not is_id(scope_id)):
        return None
    return KeyScope(word), scope_id if narrow else None
