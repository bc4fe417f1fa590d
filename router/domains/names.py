"""Which names may be registered. Pure: the public suffix list is the snapshot that comes with tldextract."""

from collections.abc import Collection

import tldextract

from router.errors import VALIDATION_FAILED, RouterError
from router.hostname import MAX_LABEL, MAX_NAME, SANDBOX, InvalidNameError, canonical_name

# Offline, and with the private section: `github.io` is as little one customer's name as `co.uk` is.
_suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)

# A zone D must leave room for `<port>-<slug>.sandbox.D`.
MAX_ZONE = MAX_NAME - MAX_LABEL - len(f".{SANDBOX}.")


def registrable(text: str, reserved: Collection[str], *, field: str) -> str:
    """The canonical form of a name that a customer wants to register, in either form of an IDN.

    Raises RouterError VALIDATION_FAILED on `field`: not a host name, an address, a public suffix, or a name at or under
    one of the `reserved` domains.
    """
    try:
        name = canonical_name(text)
    except InvalidNameError as error:
        raise RouterError(VALIDATION_FAILED, fields={field: [str(error)]}) from None
    for domain in reserved:
        if name == domain or name.endswith("." + domain):
            raise RouterError(VALIDATION_FAILED, fields={field: [f"must not be {domain} or end with it"]})
    if _suffixes(name).suffix == name:
        raise RouterError(VALIDATION_FAILED, fields={field: ["is a public suffix"]})
    return name


def registrable_zone(text: str, reserved: Collection[str], *, field: str) -> str:
    """As `registrable`, for a preview domain: it must leave room for the names under it."""
    name = registrable(text, reserved, field=field)
    if len(name) > MAX_ZONE:
        raise RouterError(VALIDATION_FAILED, fields={field: [f"should be at most {MAX_ZONE} character(s)"]})
    return name


def registered_domain(name: str) -> str:
    """What certificate authorities count a canonical name under: its public suffix with one label more (`example.co.uk`,
    `somebody.github.io`); the name itself where it is a suffix."""
    read = _suffixes(name)
    if not read.suffix:
        return ".".join(name.split(".")[-2:])  # the list's default rule: a suffix that it does not have is one label
    return read.top_domain_under_public_suffix or name


def enclosing(name: str) -> tuple[str, ...]:
    """The name itself and every name above it that has a dot: what can be a zone that holds it."""
    labels = name.split(".")
    return tuple(".".join(labels[place:]) for place in range(len(labels) - 1))
