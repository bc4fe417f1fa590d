"""`audit.*`: the audit log, which says who did what."""

from typing import Annotated

from router.settings.model import Field
from router.settings.types import Count, Group


class Audit(Group):
    """Who did what with which key from where, as `/api/v1/audit-log` shows it."""

    retention: Annotated[float, Field(ge=30 * 86400, le=3660 * 86400)] = Field(
        31_622_400.0, description="How long entries are kept: a year, unless it is changed."
    )
    max_entries_per_tenant: Count = Field(
        500_000,
        description="Entries of one tenant; of more, those of refused acts go first, then the oldest. An entry has 300 to 600 bytes, "
        "and never more than 12 KiB.",
    )
