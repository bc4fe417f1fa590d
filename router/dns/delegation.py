"""To whom a zone is delegated, as `doctor` tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """`servers` are the zone's name servers, with the addresses that were said beside their names (glue); empty where it is not
    delegated. `reason` says in a word why nothing could be found out. `of_parent`: the parent zone's own servers said so, and
    not a resolver, which has the names from the zone itself."""

    servers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str | None = None
    of_parent: bool = True
