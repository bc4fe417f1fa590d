"""/platform: what the platform's operators see of all tenants, with a key of the platform. It only reads."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from router.api.models import Instant, Out, Paging
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.api.principal import Access
from router.api.tenant import TenantOut
from router.tenancy.tenants import Tenants

ReadStatus = Callable[[], Awaitable[Mapping[str, Any]]]

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]


class WorkersOut(Out):
    serving: Count
    of: Count


class DegradationOut(Out):
    """A check that fails, and what to do."""

    check: str
    detail: str
    remedy: str


class NodeOut(Out):
    """A process with the role `jobs`, and how many jobs it runs now."""

    host: str
    process: str | None
    jobs: Count


class StoreOut(Out):
    """`error`: why it can't be used; then the rest is null."""

    name: str
    error: str | None = None
    version: str | None = None
    role: str | None = None
    latency_ms: float | None = None


class HostsOut(Out):
    kind: str
    number: Count


class EndingOut(Out):
    """`origin`: `caddy` gets it, the router orders it (`managed`), or its owner has `uploaded` it."""

    host: str
    not_after: Instant
    last_error: str | None
    origin: Literal["caddy", "managed", "uploaded"]


class BudgetOut(Out):
    """First certificates within `seconds`: of the whole ACME account, or of names of the platform's domain. `spent` is null where the store
    can't be asked."""

    name: Literal["account", "platform_names"]
    spent: Count | None
    of: Count
    seconds: Count


class RatesOut(Out):
    requests_per_second: Rate
    errors_per_second: Rate
    p99_ms: float | None


class NowOut(RatesOut):
    """Of the last `seconds`; 0 where counting has just begun: ask again."""

    seconds: Count
    tunnels: Count


class BusyHostOut(RatesOut):
    """`host` null: all hosts that were not counted apart."""

    host: str | None


class RefusalOut(Out):
    code: str
    per_second: Rate


class PlatformStatusOut(Out):
    """Of the node that answers: `workers` to `degradations`, `traffic`, `busiest_hosts`, `refusals`. The rest is of the fleet, and null where the
    store can't be asked. `budgets` is null where none are counted."""

    node: str
    version: str
    at: Instant
    status: Literal["ready", "degraded", "not_ready"]
    workers: WorkersOut | None
    degradations: list[DegradationOut]
    nodes: list[NodeOut] | None
    stores: list[StoreOut]
    hosts: list[HostsOut] | None
    certificates_near_end: list[EndingOut] | None
    budgets: list[BudgetOut] | None
    traffic: NowOut
    busiest_hosts: list[BusyHostOut]
    refusals: list[RefusalOut]


class PlatformApi(Handlers):
    tag = "Platform"
    prefix = "/api/v1/platform"

    def __init__(self, read_status: ReadStatus, tenants: Tenants) -> None:
        self._read_status = read_status
        self._tenants = tenants

    @operation("GET", "/status", "Get the state of the node and the fleet", access=Access.PLATFORM)
    async def status(self, call: Call) -> Data[PlatformStatusOut]:  # noqa: ARG002 - who calls has been checked
        """For a key of the platform that works for no tenant. An answer may be three seconds old."""
        return Data(PlatformStatusOut.model_validate(await self._read_status()))

    @operation("GET", "/tenants", "List all organizations", access=Access.PLATFORM)
    async def tenants(self, call: Call[None, Paging]) -> Paged[TenantOut]:
        """For a key of the platform that works for no tenant. The oldest first."""
        listing = await self._tenants.list(call.query.window)
        return Paged([TenantOut.model_validate(tenant) for tenant in listing.items], listing.total)
