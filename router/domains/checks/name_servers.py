"""Name servers: which zone a name is in, and the servers that the zone names. Asks DNS.

A zone names its servers at its top (RFC 1034 §4.2.1), and only there: the nearest name above with NS records of its own is where
the zone begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.domains.lookup import Lookup, Outcome, Question, RecordType
from router.domains.names import enclosing, registered_domain

_MAX_SERVERS = 8  # of one zone that are kept and shown


@dataclass(frozen=True, slots=True)
class NameServers:
    """A zone, and the names of its servers."""

    zone: str
    servers: tuple[str, ...]

    def noted(self) -> dict[str, Any]:
        """As JSON, to be stored."""
        return {"zone": self.zone, "name_servers": list(self.servers)}


def noted_name_servers(detail: Mapping[str, Any] | None) -> NameServers | None:
    """What the last check noted of them."""
    if not detail or "name_servers" not in detail:
        return None
    return NameServers(detail["zone"], tuple(detail["name_servers"]))


async def find_name_servers(lookup: Lookup, name: str, until: float, *, fresh: bool = False) -> NameServers | None:
    """The zone of a name and its servers; None where DNS does not tell. `until` is an instant of the monotonic clock."""
    registered = registered_domain(name)
    above = [one for one in enclosing(name) if one == registered or one.endswith(f".{registered}")]
    answers = await lookup.ask([Question(one, RecordType.NS) for one in above], until, fresh=fresh)
    for one, answer in zip(above, answers, strict=True):
        if answer.aliases:  # an alias is never the top of a zone, whatever its target answers
            continue
        if answer.outcome is Outcome.FOUND:
            return NameServers(one, answer.values[:_MAX_SERVERS])
        if not answer.outcome.definitive:
            return None
    return None
