"""Stored projects."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.store.holdings import held_within
from router.store.rows import Rows, conditions, fields_of, named
from router.store.tables import projects, resources
from router.store.webhook_tables import webhooks
from router.tenancy.projects import Project, ProjectFilter

_columns = [column for column in projects.columns if column.name != "deleted_at"]


class SqlProjects(Rows):
    """tenancy.projects.ProjectRows"""

    async def add(self, project: Project) -> None:
        await self._connection.execute(sa.insert(projects).values(fields_of(project)))

    async def get(self, project_id: str) -> Project | None:
        return await self._find(projects.c.id == project_id)

    async def workspace_of(self, project_id: str) -> str | None:
        found: str | None = await self._connection.scalar(
            sa.select(projects.c.workspace_id).where(projects.c.id == project_id, projects.c.deleted_at.is_(None))
        )
        return found

    async def by_slug(self, workspace_id: str, slug: str) -> Project | None:
        return await self._find(projects.c.workspace_id == workspace_id, projects.c.slug == slug)

    async def by_external_id(
        self, external_id: str, *, tenant_id: str | None = None, workspace_id: str | None = None
    ) -> Project | None:
        where = conditions(projects, external_project_id=external_id, tenant_id=tenant_id, workspace_id=workspace_id)
        return await self._find(*where)

    async def default(self, workspace_id: str) -> Project | None:
        return await self._find(projects.c.workspace_id == workspace_id, projects.c.is_default)

    async def list(self, where: ProjectFilter, window: Window) -> Listing[Project]:
        given = conditions(
            projects,
            tenant_id=where.tenant_id,
            workspace_id=where.workspace_id,
            id=where.project_id,
            external_workspace_id=where.external_workspace_id,
            external_project_id=where.external_project_id,
        )
        order, scopes = (projects.c.created_at, projects.c.id), (where.tenant_id, where.workspace_id)
        plain = where == ProjectFilter(tenant_id=where.tenant_id, workspace_id=where.workspace_id)
        total = held_within("project", tenant_id=scopes[0], workspace_id=scopes[1]) if plain else None
        return await self._listing(self._living(*given), window, order, _read, total=total)

    async def save(self, old: Project, new: Project) -> None:
        values = fields_of(new, "id", "created_at")
        await self._connection.execute(sa.update(projects).where(projects.c.id == new.id).values(values))
        if old.workspace_id == new.workspace_id:
            return
        attributed = resources.c.external_workspace_id
        follows = sa.case(
            (attributed == old.external_workspace_id, sa.literal(new.external_workspace_id, attributed.type)),
            else_=attributed,
        )
        inside = (resources.c.project_id == new.id, resources.c.deleted_at.is_(None))
        moved = await self._connection.execute(
            sa.update(resources)
            .where(*inside)
            .values(workspace_id=new.workspace_id, external_workspace_id=follows)
            .returning(resources.c.id)
        )
        for resource_id in moved.scalars():
            self._changes.resource(resource_id)
        # A webhook of the project follows it, so that managers of the old workspace no longer control it.
        await self._connection.execute(
            sa.update(webhooks).where(webhooks.c.project_id == new.id).values(workspace_id=new.workspace_id)
        )

    async def contents(self, project_id: str) -> Mapping[str, int]:
        inside = (resources.c.project_id == project_id, resources.c.deleted_at.is_(None))
        kinds = await self._connection.execute(
            sa.select(resources.c.kind, sa.func.count().label("held")).where(*inside).group_by(resources.c.kind)
        )
        return {row.kind: row.held for row in kinds}

    async def delete(self, project_id: str, now: datetime) -> None:
        await self._connection.execute(sa.update(projects).where(projects.c.id == project_id).values(deleted_at=now))

    async def _find(self, *where: sa.ColumnElement[bool]) -> Project | None:
        oldest = self._living(*where).order_by(projects.c.created_at, projects.c.id).limit(1)
        row = await self._one(self._locked(oldest, projects))
        return None if row is None else _read(row)

    def _living(self, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
        return sa.select(*_columns).where(projects.c.deleted_at.is_(None), *where)


def _read(row: sa.Row[Any]) -> Project:
    return Project(**named(row))
