"""A tenant's own metrics: what a Prometheus scrapes with a key as its bearer token."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from router.api.authorization import tenant_of
from router.api.operations import Call, Handlers, Rate, Text, operation
from router.api.principal import Access, Principal
from router.errors import NOT_SERVED_HERE
from router.records.counters import OTHER, Counters
from router.records.exposition import Shown, render
from router.records.request_logs import RequestLogs
from router.tenancy.resource_service import Resources

_RENDERED_AT_ONCE = 2  # of all tenants: 500 resources take 60 ms of a thread


class MetricsApi(Handlers):
    tag = "Metrics"

    def __init__(self, *, logs: RequestLogs, resources: Resources) -> None:
        self._logs = logs
        self._resources = resources
        self._turns = asyncio.Semaphore(_RENDERED_AT_ONCE)

    @operation(
        "GET",
        "/metrics",
        "Get metrics of the requests to your resources",
        rate=Rate.METRICS,
        problems=(NOT_SERVED_HERE,),
    )
    async def metrics(self, call: Call) -> Text:
        """In the text format of Prometheus, or of OpenMetrics where Accept names it: of the resources that the key may see. The
        counters are those of all nodes and go on when one restarts, so any node may be scraped."""
        counters = await self._logs.counters(UUID(tenant_of(call.principal)).bytes)
        shown = await self._shown(call.principal, counters)
        async with self._turns:
            body, content_type = await asyncio.to_thread(render, shown, call.accept)
        return Text(body, content_type)

    async def _shown(self, principal: Principal, counters: Sequence[Counters]) -> Sequence[Shown]:
        """Those of living resources that the caller may see. What is together as `_other` may be of any workspace, so it is the whole
        tenant's to see."""
        by_id = {str(UUID(bytes=one.resource)): one for one in counters if one.resource != OTHER}
        living = await self._resources.living(by_id)
        found = [
            Shown(by_id[id_], id_, its.kind.value, its.slug, its.workspace_id, its.project_id)
            for id_, its in sorted(living.items())
            if principal.covers(its.tenant_id, its.workspace_id, its.project_id)
        ]
        if principal.access >= Access.TENANT:
            found += [Shown(one) for one in counters if one.resource == OTHER]
        return found
