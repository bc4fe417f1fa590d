"""The service of the audit log: what is not written by the transaction of an act, lists, the export, the bound of a tenant.

An act that changed nothing in the store (it was refused, or had nothing to change) has its entry written soon after, many in one
transaction, so that no request waits for it. Equal refusals become one entry with their number, and of one tenant only so
many different ones are kept apart: who is refused a thousand times a second writes a few rows. Where the store is away entries wait, up to a
bound; what comes on top is lost and counted.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from router.audit.act import Act
from router.audit.entry import Actor, AuditTx, Entry, EntryFilter, Outcome, Via
from router.base.clock import Clock
from router.base.paging import FIRST, Window
from router.base.ticks import tick
from router.base.transactions import Transactions
from router.errors import NOT_FOUND, RouterError, StoreUnavailableError

EVERY: Final = 1.0  # seconds between two writes of what waits
REFUSALS_OF_TENANT: Final = 50  # different ones between two writes; what comes on top is counted under OTHERS
OTHERS: Final = "audit.more_refusals"
MAX_WAITING: Final = 10_000  # entries
_BATCH: Final = 500  # entries of one transaction
_PAGE: Final = 500  # entries of one read of the export
_CHUNK: Final = 1000  # rows that one transaction deletes

# What a known caller did that was refused. Others are requests that were not understood, and no acts: 400, 413, 422 and their like.
REFUSED: Final = frozenset({403, 404, 409, 410, 412, 423, 424, 451})

_log = structlog.get_logger("router.audit")


class AuditLog:
    """See the module. Methods that read or `add` may raise StoreUnavailableError. `on_lost` is told of lost entries, by their number."""

    def __init__(
        self,
        store: Transactions[AuditTx],
        clock: Clock,
        *,
        max_entries: int,
        on_lost: Callable[[int], object] = lambda _number: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_entries = max_entries
        self._on_lost = on_lost
        self._waiting: dict[object, Entry] = {}
        self._refusals: dict[str | None, int] = {}

    async def add(
        self,
        actor: Actor,
        action: str,
        *,
        via: Via,
        tenant_id: str | None = None,
        workspace_id: str | None = None,
        project_id: str | None = None,
        resource_id: str | None = None,
        resource_name: str | None = None,
        outcome: Outcome = Outcome.OK,
        wait: bool = False,
    ) -> None:
        """Store one entry now, of an act that is not one of the store's: an operator's on a socket of the node, before it is done.

        `action` is a noun and what is done to it, as in `session.cut`. With `wait` the entry waits where the store is away; else
        raises StoreUnavailableError.
        """
        act = Act(
            actor=actor,
            via=via,
            action=action,
            tenant_id=tenant_id,
            workspace_id=workspace_id,
            project_id=project_id,
            resource_id=resource_id,
            resource_name=resource_name,
        )
        entry = replace(act.entry(self._clock.now()), outcome=outcome)
        try:
            async with self._store.begin() as tx:
                await tx.audit.put([entry])
        except StoreUnavailableError:
            if not wait:
                raise
            self._wait(entry.id, entry)

    def ended(self, act: Act, status: int, code: str | None = None) -> None:
        """An act has ended with that status of HTTP. Its entry is stored by now, or will be soon."""
        act.over = True
        if act.stored is not None:
            if act.stored.status != status:  # a later step failed, or it found what it was to make
                entry = replace(act.stored, status=status, outcome=Outcome.of(status), code=code)
                self._wait(act.id, entry)
            return
        entry = act.entry(self._clock.now(), status=status, code=code)
        if entry.outcome is not Outcome.REFUSED:
            self._wait(act.id, entry)
        elif status in REFUSED:
            self._refuse(entry)

    def _refuse(self, entry: Entry) -> None:
        same = _sameness(entry)
        if same not in self._waiting:
            seen = self._refusals.get(entry.tenant_id, 0)
            self._refusals[entry.tenant_id] = seen + 1
            if seen >= REFUSALS_OF_TENANT:
                entry = replace(
                    entry,
                    action=OTHERS,
                    resource_type="audit",
                    resource_id=None,
                    resource_name=None,
                    code=None,
                    status=None,
                )
                same = entry.tenant_id, OTHERS
        before = self._waiting.get(same)
        self._wait(same, entry if before is None else replace(before, count=before.count + entry.count))

    def _wait(self, key: object, entry: Entry) -> None:
        if key not in self._waiting and len(self._waiting) >= MAX_WAITING:
            self._lose(entry)
            return
        self._waiting[key] = entry

    def _lose(self, entry: Entry) -> None:
        self._on_lost(entry.count)
        _log.error(
            "audit entry lost", action=entry.action, actor=entry.actor_id, tenant=entry.tenant_id, status=entry.status
        )

    async def flush(self) -> None:
        """Store what waits. Raises StoreUnavailableError: then it waits on."""
        while self._waiting:
            batch = list(self._waiting.items())[:_BATCH]
            async with self._store.begin() as tx:
                await tx.audit.put([entry for _, entry in batch])
            for key, entry in batch:
                if self._waiting.get(key) is entry:
                    del self._waiting[key]
        self._refusals.clear()

    async def run(self) -> None:
        """Store what waits, again and again, until cancelled."""
        while True:
            await tick(EVERY)
            try:
                await self.flush()
            except StoreUnavailableError as error:
                _log.warning("audit entries not stored yet", waiting=len(self._waiting), error=str(error))
            except Exception:  # noqa: BLE001  # a fault of ours; what comes next is stored all the same
                _log.exception("audit entries given up")
                self._give_up()

    def _give_up(self) -> None:
        """Count the batch that was to be stored as lost: what failed by a fault of ours would fail again, and hold up all others."""
        for key, entry in list(self._waiting.items())[:_BATCH]:
            del self._waiting[key]
            self._lose(entry)

    async def close(self) -> None:
        """Store what waits, if that is possible now."""
        try:
            await self.flush()
        except StoreUnavailableError as error:
            number = sum(entry.count for entry in self._waiting.values())
            self._on_lost(number)
            _log.error("audit entries lost", number=number, error=str(error))

    async def get(self, entry_id: str) -> Entry:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            entry = await tx.audit.get(entry_id)
        if entry is None:
            raise RouterError(NOT_FOUND, "audit entry not found")
        return entry

    async def list(self, where: EntryFilter, window: Window = FIRST) -> tuple[Sequence[Entry], int]:
        """The newest first, and how many there are in all."""
        async with self._store.read() as tx:
            return await tx.audit.list(where, window), await tx.audit.count(where)

    async def export(self, where: EntryFilter) -> AsyncGenerator[Sequence[Entry], None]:
        """All of them, the newest first, a page at a time: no transaction is open in between, and what is added meanwhile is
        left out."""
        until = self._clock.now() if where.until is None else where.until
        where = replace(where, until=until)
        while True:
            async with self._store.read() as tx:
                page = await tx.audit.list(where, Window(limit=_PAGE))
            if page:
                yield page
            if len(page) < _PAGE:
                return
            where = replace(where, after=(page[-1].created_at, page[-1].id))

    async def trim(self) -> None:
        """Delete of each tenant what is more than its share, a piece at a time; what is too old goes by the job `prune`."""
        async with self._store.read() as tx:
            over = await tx.audit.over(self._max_entries)
        for tenant_id, number in over.items():
            _log.warning("audit log of a tenant is full, its oldest entries go", tenant=tenant_id, number=number)
            left = number
            while left > 0:
                async with self._store.begin() as tx:
                    gone = await tx.audit.trim(tenant_id, min(left, _CHUNK))
                left -= gone or left


def _sameness(entry: Entry) -> tuple[object, ...]:
    """Refusals that are equal in this are one entry."""
    thing = entry.resource_id, entry.resource_name
    return entry.tenant_id, entry.actor_id, entry.action, *thing, entry.status, entry.address
