"""What the reference of error codes says of a code beyond its message: why it happens, and what each reader can do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """`why` lists the usual causes. What a visitor, a developer (of the program, or of what calls the API) and an operator of the
    router can do about it: empty where the one can do nothing."""

    why: str
    visitor: str = ""
    developer: str = ""
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A code of a domain's diagnosis: what it means, and what to do at the DNS provider or elsewhere."""

    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A code that Caddy answers with, when it can't reach the router or must not pass a request on."""

    status: int
    message: str
    entry: Entry
