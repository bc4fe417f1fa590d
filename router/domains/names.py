"""Which names may be registered. Pure: the public suffix list is the snapshot that comes with tldextract."""

from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING

from router.errors import VALIDATION_FAILED, RouterError
from router.hostname import MAX_LABEL, MAX_NAME, SANDBOX, InvalidNameError, canonical_name

if TYPE_CHECKING:
    import tldextract

# The records that a preview domain needs. `*.sandbox` makes `sandbox` a name that exists, and then `*` no longer covers
# what lies below it (RFC 4592 §2.2.2): both are needed, always.
WILDCARDS = ("*", f"*.{SANDBOX}")

# A zone D must leave room for `<port>-<slug>.sandbox.D`.
MAX_ZONE = MAX_NAME - MAX_LABEL - len(f".{SANDBOX}.")


@lru_cache(maxsize=1)
def suffixes() -> "tldextract.TLDExtract":
    """The public suffix list. Reading it takes a while, the first time: who may not wait later calls this when it starts.

    Offline, and with the private section: `github.io` is as little one customer's name as `co.uk` is.
    """
    import tldextract  # noqa: PLC0415 - a worker, which never needs the list, would load a hundred modules

    found = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)
    found("example.com")
    return found


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
    if suffixes()(name).suffix == name:
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
    read = suffixes()(name)
    if not read.suffix:
        return ".".join(name.split(".")[-2:])  # the list's default rule: a suffix that it does not have is one label
    return read.top_domain_under_public_suffix or name


def below_registry(name: str) -> bool:
    """Whether a registry's own zone is right above a canonical name (`com`, `co.uk`). A suffix of the list's private section
    (`github.io`) is one company's zone, where a record may stand for all its customers."""
    return name == registered_domain(name) and not suffixes()(name).is_private


def enclosing(name: str) -> tuple[str, ...]:
    """The name itself and every name above it that has a dot: what can be a zone that holds it."""
    labels = name.split(".")
    return tuple(".".join(labels[place:]) for place in range(len(labels) - 1))
