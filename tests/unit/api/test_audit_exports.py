"""How many exports of the audit log a tenant may have under way."""

import pytest

from router.api.audit_log import MAX_EXPORTS, AuditExportQuery, AuditLogApi
from router.api.operations import Call, Download
from router.api.principal import Access, Principal
from router.audit.log import AuditLog
from router.base.clock import ManualClock
from router.errors import RATE_LIMITED, RouterError
from tests.support.memory_audit import MemoryAudit

pytestmark = pytest.mark.asyncio


async def test_so_many_at_once() -> None:
    """More are refused before anything is sent; other tenants are not concerned, and one that has ended makes room."""
    api = AuditLogApi(AuditLog(MemoryAudit(), ManualClock(), max_entries=100))
    query = AuditExportQuery.model_validate({"format": "csv"})

    async def export(tenant: str) -> Download[object]:
        principal = Principal("key", Access.TENANT, tenant)
        return await api.export(Call(principal, {}, None, query, "r1"))

    running = [await export("acme") for _ in range(MAX_EXPORTS)]
    for one in running:
        await anext(one.parts)
    with pytest.raises(RouterError) as caught:
        await anext((await export("acme")).parts)
    assert (caught.value.problem, caught.value.retry_after) == (RATE_LIMITED, 5)
    other = (await export("globex")).parts
    await anext(other)
    await running[0].parts.aclose()
    again = (await export("acme")).parts
    await anext(again)
    for parts in (other, again, *(one.parts for one in running[1:])):
        await parts.aclose()
    assert not api._exports
