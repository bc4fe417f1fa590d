"""Uses of resources that are known before the store has them, and what follows from them."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from router.tenancy.resources import LastUse, UsedBy


class RecentUses(Protocol):
    """What all nodes know and the store may lack."""

    async def of(self, ids: Collection[str]) -> Mapping[str, datetime]:
        """The last uses of these resources, as far as they are known."""


def with_recent(
    stored: Mapping[str, LastUse], recent: Mapping[str, datetime], links: Iterable[UsedBy]
) -> dict[str, LastUse]:
    """The later of what is stored and what is known besides, for each resource."""
    merged = dict(stored)
    for link in links:
        at = recent.get(link.by)
        if at is not None and (link.id not in merged or merged[link.id].at < at):
            merged[link.id] = LastUse(at, link.counted)
    return merged
