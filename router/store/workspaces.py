"""Stored workspaces, and what is counted of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.routes.records import Kind, State
from router.store.holdings import held, number_held
from router.store.rows import Rows, conditions, fields_of, named
from router.store.tables import projects, resources, workspaces
from router.tenancy.workspaces import Workspace, WorkspaceStats

_computers = number_held(workspaces.c.id, Kind.COMPUTER.value)
_columns = [column for column in workspaces.columns if column.name != "deleted_at"]


class SqlWorkspaces(Rows):
    """tenancy.workspaces.WorkspaceRows"""

    async def add(self, workspace: Workspace) -> None:
        await self._connection.execute(sa.insert(workspaces).values(fields_of(workspace, "computer_count")))

    async def get(self, workspace_id: str) -> Workspace | None:
        return await self._find(workspaces.c.id == workspace_id)

    async def by_slug(self, tenant_id: str, slug: str) -> Workspace | None:
        return await self._find(workspaces.c.tenant_id == tenant_id, workspaces.c.slug == slug)

    async def by_external_id(self, tenant_id: str, external_id: str) -> Workspace | None:
        return await self._find(workspaces.c.tenant_id == tenant_id, workspaces.c.external_workspace_id == external_id)

    async def by_name(self, tenant_id: str, name: str) -> Workspace | None:
        return await self._find(workspaces.c.tenant_id == tenant_id, workspaces.c.name == name)

    async def default(self, tenant_id: str) -> Workspace | None:
        return await self._find(workspaces.c.tenant_id == tenant_id, workspaces.c.is_default)

    async def list(
        self,
        window: Window,
        *,
        tenant_id: str | None = None,
        workspace_id: str | None = None,
        external_workspace_id: str | None = None,
    ) -> Listing[Workspace]:
        select = self._living(
            *conditions(workspaces, tenant_id=tenant_id, id=workspace_id, external_workspace_id=external_workspace_id)
        )
        of_tenant = tenant_id is not None and workspace_id is None and external_workspace_id is None
        order, total = (workspaces.c.created_at, workspaces.c.id), held(tenant_id, "workspace") if of_tenant else None
        return await self._listing(select, window, order, _read, total=total)

    async def save(self, workspace: Workspace) -> None:
        values = fields_of(workspace, "id", "created_at", "computer_count")
        await self._connection.execute(sa.update(workspaces).where(workspaces.c.id == workspace.id).values(values))

    async def contents(self, workspace_id: str) -> Mapping[str, int]:
        inside = (resources.c.workspace_id == workspace_id, resources.c.deleted_at.is_(None))
        kinds = await self._connection.execute(
            sa.select(resources.c.kind, sa.func.count().label("held")).where(*inside).group_by(resources.c.kind)
        )
        counts = {row.kind: row.held for row in kinds}
        own = await self._connection.scalar(
            sa.select(sa.func.count())
            .select_from(projects)
            .where(
                projects.c.workspace_id == workspace_id,
                projects.c.deleted_at.is_(None),
                projects.c.is_default.is_(False),
            )
        )
        return {**counts, "project": own} if own else counts

    async def stats(self, workspace: Workspace) -> WorkspaceStats:
        totals = [sa.func.coalesce(sa.func.sum(resources.c[name]), 0) for name in ("vcpus", "memory_mb", "disk_gb")]
        rows = await self._connection.execute(
            sa.select(resources.c.state, sa.func.count(), *totals)
            .where(
                resources.c.workspace_id == workspace.id,
                resources.c.kind == Kind.COMPUTER.value,
                resources.c.deleted_at.is_(None),
            )
            .group_by(resources.c.state)
        )
        found = [tuple(row) for row in rows]
        return WorkspaceStats(
            workspace=workspace,
            by_status={State(row[0]): row[1] for row in found},
            vcpus=sum(int(row[2]) for row in found),
            memory_mb=sum(int(row[3]) for row in found),
            disk_gb=sum(int(row[4]) for row in found),
        )

    async def delete(self, workspace_id: str, now: datetime) -> None:
        gone = {"deleted_at": now}
        await self._connection.execute(sa.update(workspaces).where(workspaces.c.id == workspace_id).values(gone))
        # Only its default project can be left in an empty workspace.
        left = (projects.c.workspace_id == workspace_id, projects.c.deleted_at.is_(None))
        await self._connection.execute(sa.update(projects).where(*left).values(gone))

    async def _find(self, *where: sa.ColumnElement[bool]) -> Workspace | None:
        oldest = self._living(*where).order_by(workspaces.c.created_at, workspaces.c.id).limit(1)
        row = await self._one(self._locked(oldest, workspaces))
        return None if row is None else _read(row)

    def _living(self, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
        return sa.select(*_columns, _computers.label("computer_count")).where(workspaces.c.deleted_at.is_(None), *where)


def _read(row: sa.Row[Any]) -> Workspace:
    return Workspace(**named(row))
