"""Targets: the names of ours that records lead to, and below each of them one for every registration. Pure.

    verify.miosa.ai             all tenants' domains
    <token>.verify.miosa.ai     the registration with that token: a CNAME to it shows whose it is (`proof.py`)

One wildcard record of ours, `*.verify.miosa.ai`, answers for all of the second.
"""

import re
import secrets
from collections.abc import Collection

_TOKEN = re.compile(r"[0-9a-f]{32}")  # `challenge.new_token`


def own_target(token: str, target: str) -> str:
    """Where a CNAME leads that proves one registration."""
    return f"{token}.{target}"


def is_target(name: str, targets: Collection[str]) -> bool:
    """Whether a name is one of our targets, or one registration's own below it."""
    return name in targets or token_of(name, targets) is not None


def token_of(name: str, targets: Collection[str]) -> str | None:
    """The token of a target that is one registration's own; None where it is none."""
    label, _, parent = name.partition(".")
    return label if parent in targets and _TOKEN.fullmatch(label) else None


def is_own(name: str, token: str, targets: Collection[str]) -> bool:
    """Whether a target is that of the registration with this token."""
    found = token_of(name, targets)
    return found is not None and bool(token) and secrets.compare_digest(found.encode(), token.encode())
