"""Which names may be registered. Pure: the public suffix list comes with the program."""

from collections.abc import Collection

from router.domains.public_suffixes import public_suffixes
from router.errors import VALIDATION_FAILED, RouterError
from router.hostname import MAX_LABEL, MAX_NAME, SANDBOX, InvalidNameError, canonical_name

# The records that a preview domain needs. `*.sandbox` makes `sandbox` a name that exists, and then `*` no longer covers
# what lies below it (RFC 4592 §2.2.2): both are needed, always.
WILDCARDS = ("*", f"*.{SANDBOX}")

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
    suffix = public_suffixes().of(name)
    if suffix is not None and suffix.name == name:
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
    suffix = public_suffixes().of(name)
    # The list's default rule: a suffix that it does not have is one label.
    labels = 1 if suffix is None else suffix.name.count(".") + 1
    return ".".join(name.split(".")[-labels - 1 :])


def below_registry(name: str) -> bool:
    """Whether a registry's own zone is right above a canonical name (`com`, `co.uk`). A suffix of the list's private section
    (`github.io`) is one company's zone, where a record may stand for all its customers."""
    suffix = public_suffixes().of(name)
    return name == registered_domain(name) and not (suffix is not None and suffix.private)


def enclosing(name: str) -> tuple[str, ...]:
    """The name itself and every name above it that has a dot: what can be a zone that holds it."""
    labels = name.split(".")
    return tuple(".".join(labels[place:]) for place in range(len(labels) - 1))
