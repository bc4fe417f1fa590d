"""`records.*`: the records of requests, which developers read."""

from typing import Annotated

from router.settings.model import AfterValidator, Field, ValidationInfo
from router.settings.types import Count, Group, Listed

_MIB = 1024 * 1024


def _not_below_tenants(value: int, info: ValidationInfo) -> int:
    if value < info.data.get("max_bytes_per_tenant", 0):
        raise ValueError("must not be less than max_bytes_per_tenant")
    return value


def _not_below_captures(value: int, info: ValidationInfo) -> int:
    if value < info.data.get("max_capture_bytes_per_tenant", 0):
        raise ValueError("must not be less than max_capture_bytes_per_tenant")
    return value


class Records(Group):
    """What became of each request, as `/api/v1/request-logs` shows it. Beside an SQLite store they are in a file of their own, in
    PostgreSQL in tables of their own."""

    enabled: bool = Field(True, description="Whether requests are recorded.")
    retention_hours: Annotated[int, Field(ge=1, le=24 * 31)] = Field(24, description="How long records are kept.")
    max_bytes_per_tenant: Annotated[int, Field(ge=_MIB, le=1 << 40)] = Field(
        64 * _MIB, description="Bytes of one tenant's records; the oldest go first. A record takes 150 to 300."
    )
    max_bytes: Annotated[int, AfterValidator(_not_below_tenants), Field(ge=_MIB, le=1 << 44)] = Field(
        2048 * _MIB,
        description="Bytes of all records in the store: of this node beside SQLite, of the fleet in PostgreSQL. The oldest go first.",
    )
    metrics_per_tenant: Annotated[int, Field(ge=1, le=10_000)] = Field(
        500,
        description="Resources of one tenant that `/api/v1/metrics` shows apart, each with about 20 series; those that come later are "
        "`_other`, until one of these had no request for `retention_hours`.",
    )
    per_second: Count = Field(
        200,
        description="Requests of one resource per second that are all recorded; of more, those that failed and one in 10 "
        "(one in 100 above ten times as many). Numbers stay exact.",
    )
    captures: bool = Field(
        True,
        description="Whether developers may have the headers and bodies of a resource's exchanges captured, for an hour at most.",
    )
    max_capture_bytes_per_tenant: Annotated[int, Field(ge=_MIB, le=1 << 40)] = Field(
        16 * _MIB, description="Bytes of one tenant's captures; the oldest go first. One takes at most 120 KiB."
    )
    max_capture_bytes: Annotated[int, AfterValidator(_not_below_captures), Field(ge=_MIB, le=1 << 44)] = Field(
        512 * _MIB, description="Bytes of all captures in the store, beside those of records. The oldest go first."
    )
    masked_names: Annotated[tuple[Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,64}$")], ...], Listed] = Field(
        (),
        description="Names of headers, query parameters and fields of JSON and forms whose values are masked in captures, in any case, "
        "besides those that are known for secrets (`authorization`, `cookie`, what has `token`, `secret`, `password` in it, …).",
    )
    listeners_per_tenant: Count = Field(
        5, description="Live streams of one tenant's records at once, on each node; more get 429."
    )
