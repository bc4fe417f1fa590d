"""`metrics.*`: what the operators' metrics say beyond the node's own numbers."""

import re
from typing import Annotated
from uuid import UUID

from router.settings.model import AfterValidator, Field
from router.settings.types import Group, Listed

_TOP = re.compile(r"top ([1-9][0-9]{0,3})")
_MOST = 1000


def _tenants(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) == 1 and (top := _TOP.fullmatch(value[0])):
        if int(top[1]) > _MOST:
            raise ValueError(f"at most {_MOST} tenants have series of their own")
        return value
    if len(value) > _MOST:
        raise ValueError(f"at most {_MOST} tenants have series of their own")
    found = []
    for one in value:
        try:
            found.append(str(UUID(one)))
        except ValueError:
            raise ValueError(f"{one!r} is neither a tenant's id (`miosa-router tenants list`) nor `top N`") from None
    return tuple(found)


class MetricSettings(Group):
    """Series of single tenants in `/metrics` of the admin listener."""

    tenants: Annotated[tuple[str, ...], Listed, AfterValidator(_tenants)] = Field(
        (),
        description="Ids of tenants whose requests `tenant_requests` and its like count apart, or `top N`: those N with the most "
        "requests of the last five minutes, on this node. All others are `_other`. Empty: no such series. Needs `records.enabled`.",
    )

    @property
    def top(self) -> int:
        """How many of the busiest; 0 where tenants are named."""
        found = _TOP.fullmatch(self.tenants[0]) if len(self.tenants) == 1 else None
        return 0 if found is None else int(found[1])

    @property
    def named(self) -> tuple[bytes, ...]:
        """The ids of the tenants that are named."""
        return () if self.top else tuple(UUID(one).bytes for one in self.tenants)
