"""Stored versions, builds and releases of deployments."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.store.changes import chunks
from router.store.connection import Connection
from router.store.deployment_tables import builds, deployment_versions, releases
from router.store.rows import Rows, conditions, fields_of, named
from router.tenancy.versions import (
    Build,
    BuildState,
    Release,
    ReleaseAction,
    Version,
    VersionFilter,
    VersionKind,
    VersionState,
)

_OF_BUILD = ("build_id", "created_by")  # joined, not copied
_OVERDUE = 50  # builds looked at in one go

_versions = sa.select(
    deployment_versions, builds.c.id.label("build_id"), builds.c.triggered_by.label("created_by")
).outerjoin(builds, builds.c.version_id == deployment_versions.c.id)

_later = releases.alias("later")
_releases = sa.select(
    releases,
    ~sa.exists()
    .where(
        _later.c.resource_id == releases.c.resource_id,
        _later.c.environment == releases.c.environment,
        _later.c.number > releases.c.number,
    )
    .correlate(releases)
    .label("current"),
)


class SqlVersions(Rows):
    """tenancy.versions.VersionRows"""

    async def add(self, version: Version) -> None:
        values = fields_of(version, *_OF_BUILD)
        values["data_services"] = list(version.data_services)
        await self._connection.execute(sa.insert(deployment_versions).values(values))

    async def get(self, version_id: str) -> Version | None:
        row = await self._one(
            self._locked(_versions.where(deployment_versions.c.id == version_id), deployment_versions)
        )
        return None if row is None else _read_version(row)

    async def of(self, version_ids: Collection[str]) -> Mapping[str, Version]:
        found: dict[str, Version] = {}
        for chunk in chunks(sorted(version_ids)):
            rows = await self._connection.execute(_versions.where(deployment_versions.c.id.in_(chunk)))
            found |= {row.id: _read_version(row) for row in rows}
        return found

    async def list(self, resource_id: str, where: VersionFilter, window: Window) -> Listing[Version]:
        wanted = conditions(deployment_versions, resource_id=resource_id, **fields_of(where, "before"))
        number = deployment_versions.c.number
        before = number < where.before if where.before is not None else None
        key, which = deployment_versions.c.id, sa.select(deployment_versions.c.id).where(*wanted)
        return await self._listing(_versions, window, (number.desc(),), _read_version, before, key, which)

    async def next_number(self, resource_id: str) -> int:
        return await _next(self._connection, deployment_versions, resource_id)

    async def live_before(self, resource_id: str, environment: str, number: int) -> Version | None:
        released = sa.select(releases.c.version_id).where(
            releases.c.resource_id == resource_id, releases.c.environment == environment
        )
        was_live = (
            deployment_versions.c.id.in_(released),
            deployment_versions.c.number < number,
            deployment_versions.c.state == VersionState.READY.value,
        )
        newest = _versions.where(*was_live).order_by(deployment_versions.c.number.desc()).limit(1)
        row = await self._one(newest)
        return None if row is None else _read_version(row)

    async def save(self, version: Version) -> None:
        changed = {name: getattr(version, name) for name in ("state", "promoted_at", "updated_at")}
        await self._connection.execute(
            sa.update(deployment_versions).where(deployment_versions.c.id == version.id).values(changed)
        )


class SqlBuilds(Rows):
    """tenancy.versions.BuildRows"""

    async def add(self, build: Build) -> None:
        await self._connection.execute(sa.insert(builds).values(fields_of(build)))

    async def get(self, build_id: str) -> Build | None:
        row = await self._one(self._locked(sa.select(builds).where(builds.c.id == build_id), builds))
        return None if row is None else _read_build(row)

    async def list(self, resource_id: str, window: Window) -> Listing[Build]:
        select = sa.select(builds).where(builds.c.resource_id == resource_id)
        return await self._listing(select, window, (builds.c.number.desc(),), _read_build)

    async def overdue(self, now: datetime) -> Sequence[Build]:
        late = sa.select(builds).where(builds.c.deadline_at < now).order_by(builds.c.deadline_at).limit(_OVERDUE)
        return [_read_build(row) for row in await self._connection.execute(late)]

    async def save(self, build: Build) -> None:
        await self._connection.execute(
            sa.update(builds).where(builds.c.id == build.id).values(fields_of(build, "id", "created_at"))
        )


class SqlReleases(Rows):
    """tenancy.versions.ReleaseRows"""

    async def add(self, release: Release) -> None:
        await self._connection.execute(sa.insert(releases).values(fields_of(release, "current")))

    async def get(self, release_id: str) -> Release | None:
        row = await self._one(_releases.where(releases.c.id == release_id))
        return None if row is None else _read_release(row)

    async def list(self, resource_id: str, window: Window) -> Listing[Release]:
        select = _releases.where(releases.c.resource_id == resource_id)
        return await self._listing(select, window, (releases.c.number.desc(),), _read_release)

    async def current(self, resource_id: str, environment: str) -> Release | None:
        where = (releases.c.resource_id == resource_id, releases.c.environment == environment)
        row = await self._one(_releases.where(*where).order_by(releases.c.number.desc()).limit(1))
        return None if row is None else _read_release(row)

    async def next_number(self, resource_id: str) -> int:
        return await _next(self._connection, releases, resource_id)


async def _next(connection: Connection, table: sa.Table, resource_id: str) -> int:
    """Numbers start at 1. The caller has locked the resource's row, so no other transaction gets the same."""
    highest = await connection.scalar(sa.select(sa.func.max(table.c.number)).where(table.c.resource_id == resource_id))
    return (highest or 0) + 1


def _read_version(row: sa.Row[Any]) -> Version:
    return Version(
        **{
            **named(row),
            "kind": VersionKind(row.kind),
            "state": VersionState(row.state),
            "data_services": tuple(row.data_services or ()),
        }
    )


def _read_build(row: sa.Row[Any]) -> Build:
    return Build(**{**named(row), "state": BuildState(row.state)})


def _read_release(row: sa.Row[Any]) -> Release:
    return Release(**{**named(row), "action": ReleaseAction(row.action), "current": bool(row.current)})
