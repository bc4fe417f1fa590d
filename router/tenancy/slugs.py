"""Slugs that we generate: from a name where there is one, else random."""

import re
import secrets
import unicodedata
from collections.abc import Awaitable, Callable

from router.hostname import MAX_SLUG, is_slug
from router.routes.records import Kind

_ALPHABET = "abcdefghjkmnpqrstuvwxyz0123456789"  # without i, l and o, which people misread
_PREFIX = {Kind.SANDBOX: "sbx", Kind.COMPUTER: "cmp", Kind.DEPLOYMENT: "dpl"}


def slugify(name: str) -> str:
    """The slug that a name suggests; empty where it has no letter or digit of ASCII."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def host_slug(kind: Kind, name: str | None) -> str:
    """A slug that may stand in a host: from a deployment's name, which people read, else random.

    Names of sandboxes and computers stay out of their hosts: those hosts are shared as links, and a random slug is harder to guess.
    """
    if kind is Kind.DEPLOYMENT and name:
        slug = slugify(name)[:MAX_SLUG].rstrip("-")
        if is_slug(slug):
            return slug
    return _PREFIX[kind] + chance(8)


def chance(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


async def free(base: str, taken: Callable[[str], Awaitable[bool]], *, max_length: int) -> str:
    """`base`, or `base-2`, `base-3` …, or `base` and random characters: the first that is not taken."""
    base = base[:max_length].rstrip("-")
    if not await taken(base):
        return base
    for number in range(2, 6):
        slug = f"{base[: max_length - 2].rstrip('-')}-{number}"
        if not await taken(slug):
            return slug
    while True:
        slug = f"{base[: max_length - 7].rstrip('-')}-{chance(6)}"
        if not await taken(slug):
            return slug
