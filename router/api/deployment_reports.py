"""What the edge knows of a deployment's traffic: rates and durations, the same by route, and lines to read."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field

from router.api.deployments import authorized_deployment
from router.api.models import MAX_PAGE_SIZE, Instant, Moment, Out, Query, at_most_100, read_number
from router.api.operations import Call, Data, Handlers, operation
from router.api.request_logs import microseconds
from router.errors import NOT_SERVED_HERE
from router.records.fields import instant
from router.records.record import GAP, Record, RecordFilter, details_of
from router.records.request_logs import Numbers, Period, RequestLogs, by_route, numbers, series
from router.records.totals import Totals
from router.tenancy.deployments import Deployments

_MAX_LINES = 1000

Rate = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


def _at_most(value: object) -> object:
    found = read_number(value)
    return min(found, _MAX_LINES) if isinstance(found, int) else found


class PeriodQuery(Query):
    """Whole minutes count. Without `since`: the last hour before `until`, which is now by default."""

    since: Moment | None = None
    until: Moment | None = None


class RoutesQuery(PeriodQuery):
    limit: Annotated[int, Field(ge=1), BeforeValidator(at_most_100)] = MAX_PAGE_SIZE


class LinesQuery(Query):
    lines: Annotated[
        Annotated[int, Field(ge=1), BeforeValidator(_at_most)],
        Field(description=f"How many lines; more than {_MAX_LINES} count as {_MAX_LINES}."),
    ] = 100


class LatencyOut(Out):
    """Whole times in milliseconds, right to 3 %, without WebSockets; null without a request."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class NumbersOut(Out):
    """Exact numbers. `errors` were answered with a status from 500 on, or broke off; `client_errors` with 400 to 499."""

    requests: Count
    errors: Count
    error_rate: Rate
    client_errors: Count
    bytes_in: Count
    bytes_out: Count
    latency_ms: LatencyOut


class PointOut(NumbersOut):
    """The numbers of the minutes from `at` on, up to the next point."""

    at: Instant


class ObservabilityOut(NumbersOut):
    """A deployment's numbers in a period, and over it: minutes without a request are left out of `series`."""

    deployment_id: str
    since: Instant
    until: Instant
    series: list[PointOut]


class RouteOut(NumbersOut):
    """The numbers of one route: `GET /users/:id`. What looks like an id in a path is `:id`; `*` are all routes beyond the first fifty of
    a minute."""

    route: str


class RoutesOut(Out):
    """The busiest route first."""

    deployment_id: str
    since: Instant
    until: Instant
    routes: list[RouteOut]


class LinesOut(Out):
    """The edge's view of the latest requests, the newest last."""

    lines: list[str]


class DeploymentReports(Handlers):
    tag = "Deployment traffic"
    prefix = "/api/v1/deployments/{id}"

    def __init__(self, *, logs: RequestLogs, deployments: Deployments) -> None:
        self._logs = logs
        self._deployments = deployments

    @operation("GET", "/observability", "Get a deployment's rates and durations", problems=(NOT_SERVED_HERE,))
    async def observability(self, call: Call[None, PeriodQuery]) -> Data[ObservabilityOut]:
        """All requests count, also those that no record is kept of."""
        deployment_id, period, totals = await self._totals(call, call.query)
        return Data(
            ObservabilityOut(
                deployment_id=deployment_id,
                since=instant_of(period.since),
                until=instant_of(period.until),
                **shown_numbers(numbers(totals)),
                series=[PointOut(at=instant_of(at), **shown_numbers(its)) for at, its in series(totals, period)],
            )
        )

    @operation("GET", "/routes", "Get a deployment's rates and durations by route", problems=(NOT_SERVED_HERE,))
    async def routes(self, call: Call[None, RoutesQuery]) -> Data[RoutesOut]:
        """The paths of all users' pages are one route."""
        deployment_id, period, totals = await self._totals(call, call.query)
        return Data(
            RoutesOut(
                deployment_id=deployment_id,
                since=instant_of(period.since),
                until=instant_of(period.until),
                routes=[
                    RouteOut(route=route, **shown_numbers(its)) for route, its in by_route(totals)[: call.query.limit]
                ],
            )
        )

    @operation("GET", "/logs", "Get the latest requests to a deployment as lines", problems=(NOT_SERVED_HERE,))
    async def logs(self, call: Call[None, LinesQuery]) -> Data[LinesOut]:
        """What its program writes is not here: the platform has that."""
        deployment = await authorized_deployment(self._deployments, call)
        where = RecordFilter(tenant=UUID(deployment.resource.tenant_id).bytes, resource=UUID(deployment.id).bytes)
        records, _ = await self._logs.page(where, limit=call.query.lines, before=None)
        return Data(LinesOut(lines=[_line(record) for record in reversed(records)]))

    async def _totals(self, call: Call[Any, Any], query: PeriodQuery) -> tuple[str, Period, list[Totals]]:
        deployment = await authorized_deployment(self._deployments, call)
        period = self._logs.period(microseconds(query.since), microseconds(query.until))
        tenant, resource = UUID(deployment.resource.tenant_id).bytes, UUID(deployment.id).bytes
        return deployment.id, period, list(await self._logs.totals(tenant, resource, period))


def instant_of(at: int) -> datetime:
    """Of microseconds since 1970."""
    return datetime.fromtimestamp(at / 1e6, UTC)


def shown_numbers(its: Numbers) -> dict[str, Any]:
    """As `NumbersOut` has them."""
    return {
        "requests": its.requests,
        "errors": its.errors,
        "error_rate": its.error_rate,
        "client_errors": its.client_errors,
        "bytes_in": its.received,
        "bytes_out": its.sent,
        "latency_ms": LatencyOut(p50=its.p50, p90=its.p90, p95=its.p95, p99=its.p99),
    }


def _line(record: Record) -> str:
    """`2026-05-17T10:00:00.123Z 200 -- GET shop.example.com/cart 12.3ms in=0 out=1234`"""
    rest = details_of(record)
    if record.ending == GAP:
        return f"{instant(record.at)} {rest.weight} records are missing here"
    line = (
        f"{instant(record.at)} {record.status or '---'} {record.ending} {record.method} {record.host}{record.path} "
        f"{record.total / 1000:.1f}ms in={rest.received} out={rest.sent}"
    )
    return f"{line} error={rest.error}" if rest.error else line
