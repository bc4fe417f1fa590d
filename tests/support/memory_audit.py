"""The twin of the stored audit log; it passes the same contract tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from router.audit.entry import FAMILY, AuditRows, Entry, EntryFilter, Outcome
from router.base.paging import Window
from router.errors import StoreUnavailableError

_SAME = (
    *("tenant_id", "workspace_id", "project_id", "actor_type", "actor_id", "resource_type", "resource_id"),
    *("outcome", "request_id"),
)


class MemoryAudit(AuditRows):
    """audit.entry.AuditTx and a store of it in one. `down` makes everything fail."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.down = False
        self.transactions = 0

    @property
    def audit(self) -> "MemoryAudit":
        return self

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["MemoryAudit"]:
        if self.down:
            raise StoreUnavailableError("down")
        self.transactions += 1
        yield self

    read = begin

    async def put(self, entries: Sequence[Entry]) -> None:
        self.entries |= {entry.id: entry for entry in entries}

    async def get(self, entry_id: str) -> Entry | None:
        return self.entries.get(entry_id)

    async def list(self, where: EntryFilter, window: Window) -> Sequence[Entry]:
        found = sorted((one for one in self.entries.values() if _fits(one, where)), key=_order)
        if where.after is not None:
            at, entry_id = where.after
            found = [one for one in found if _order(one) > (-at.timestamp(), entry_id)]
        return found[window.offset : window.offset + window.limit]

    async def count(self, where: EntryFilter) -> int:
        return sum(_fits(one, where) for one in self.entries.values())

    async def over(self, most: int) -> Mapping[str | None, int]:
        numbers: dict[str | None, int] = {}
        for one in self.entries.values():
            numbers[one.tenant_id] = numbers.get(one.tenant_id, 0) + 1
        return {tenant: number - most for tenant, number in numbers.items() if number > most}

    async def trim(self, tenant_id: str | None, number: int) -> int:
        own = [one for one in self.entries.values() if one.tenant_id == tenant_id]
        own.sort(key=lambda one: (one.outcome is not Outcome.REFUSED, one.created_at))
        return self._delete(own[:number])

    def _delete(self, gone: Sequence[Entry]) -> int:
        for one in gone:
            del self.entries[one.id]
        return len(gone)


def _order(entry: Entry) -> tuple[float, str]:
    return -entry.created_at.timestamp(), entry.id


def _fits(entry: Entry, where: EntryFilter) -> bool:
    wanted = {name: getattr(where, name) for name in _SAME}
    if any(value is not None and getattr(entry, name) != value for name, value in wanted.items()):
        return False
    if where.not_by_platform and entry.by_platform:
        return False
    if where.action is not None:
        family = where.action.removesuffix("*")
        if not (entry.action.startswith(family) if where.action.endswith(FAMILY) else entry.action == where.action):
            return False
    return (where.since is None or entry.created_at >= where.since) and (
        where.until is None or entry.created_at < where.until
    )
