"""What the edge knows of the traffic of a whole tenant, or of one of its resources: rates and durations."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from router.api.authorization import tenant_of
from router.api.deployment_reports import NumbersOut, PeriodQuery, PointOut, instant_of, shown_numbers
from router.api.models import Id, Instant
from router.api.operations import Call, Data, Handlers, operation
from router.api.principal import Access
from router.api.request_logs import microseconds
from router.errors import NOT_SERVED_HERE
from router.records.request_logs import RequestLogs, numbers, series, step_of


class TenantPeriodQuery(PeriodQuery):
    resource_id: Annotated[Id | None, Field(description="Requests to this resource alone.")] = None


class TenantObservabilityOut(NumbersOut):
    """The numbers of a period, and over it: `series` has a point for each `step_seconds`, but for those without a request. `resource_id` is
    null where they are of all resources."""

    resource_id: str | None
    since: Instant
    until: Instant
    step_seconds: Annotated[int, Field(ge=60)]
    series: list[PointOut]


class TenantReports(Handlers):
    tag = "Traffic"
    prefix = "/api/v1/observability"

    def __init__(self, logs: RequestLogs) -> None:
        self._logs = logs

    @operation("GET", "", "Get rates and durations of all resources", access=Access.TENANT, problems=(NOT_SERVED_HERE,))
    async def observability(self, call: Call[None, TenantPeriodQuery]) -> Data[TenantObservabilityOut]:
        """All requests count, also those that no record is kept of."""
        query, tenant = call.query, UUID(tenant_of(call.principal)).bytes
        period = self._logs.period(microseconds(query.since), microseconds(query.until))
        resource = tenant if query.resource_id is None else UUID(query.resource_id).bytes
        totals = list(await self._logs.totals(tenant, resource, period))
        return Data(
            TenantObservabilityOut(
                resource_id=query.resource_id,
                since=instant_of(period.since),
                until=instant_of(period.until),
                step_seconds=step_of(period) // 1_000_000,
                **shown_numbers(numbers(totals)),
                series=[PointOut(at=instant_of(at), **shown_numbers(its)) for at, its in series(totals, period)],
            )
        )
