"""What is stored of deployments beside their resource."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from router.routes.records import DomainStatus, Kind
from router.store.changes import chunks
from router.store.deployment_tables import builds, deployment_versions, deployments, releases
from router.store.rows import Rows
from router.store.tables import custom_domains, resources
from router.store.upsert import Upsert, replacing
from router.tenancy.deployments import Deployment, SourceType
from router.tenancy.resources import Resource
from router.tenancy.versions import PRODUCTION

_SOURCE = ("repo_url", "branch", "build_command", "run_command", "auto_deploy", "active_version_id")
_KEPT = ("source_type", *_SOURCE)

_LATEST_BUILD = (
    sa.select(builds.c.id)
    .where(builds.c.resource_id == resources.c.id)
    .order_by(builds.c.number.desc())
    .limit(1)
    .scalar_subquery()
)
_LATEST_RELEASE = (
    sa.select(releases.c.id)
    .where(releases.c.resource_id == resources.c.id, releases.c.environment == PRODUCTION)
    .order_by(releases.c.number.desc())
    .limit(1)
    .scalar_subquery()
)
_FIRST_DOMAIN = (
    sa.select(custom_domains.c.id)
    .where(
        custom_domains.c.resource_id == resources.c.id,
        custom_domains.c.status.in_([status for status in DomainStatus if status.routes]),
        custom_domains.c.removed_at.is_(None),
    )
    .order_by(custom_domains.c.created_at, custom_domains.c.id)
    .limit(1)
    .scalar_subquery()
)
_SELECT = (
    sa.select(
        resources.c.id,
        *(deployments.c[name] for name in _KEPT),
        _LATEST_BUILD.label("current_build_id"),
        _LATEST_RELEASE.label("active_release_id"),
        _FIRST_DOMAIN.label("custom_domain_id"),
    )
    .outerjoin(deployments, deployments.c.resource_id == resources.c.id)
    .where(resources.c.id.in_(sa.bindparam("ids", expanding=True)))
)

_PUT = Upsert(deployments, replacing(*_KEPT))


class SqlDeployments(Rows):
    """tenancy.deployments.DeploymentRows"""

    async def of(self, found: Sequence[Resource]) -> Sequence[Deployment]:
        rows: dict[str, sa.Row[Any]] = {}
        for chunk in chunks([resource.id for resource in found]):
            rows |= {row.id: row for row in await self._connection.execute(_SELECT, {"ids": chunk})}
        return [_read(resource, rows[resource.id]) for resource in found]

    async def save(self, deployment: Deployment) -> None:
        values = {"resource_id": deployment.id, **{name: getattr(deployment, name) for name in _KEPT}}
        await self._connection.execute(_PUT.on(self._connection), values)
        self._changes.resource(deployment.id)

    async def published_from(self, sandbox_id: str, project_id: str, name: str | None) -> str | None:
        select = (
            sa.select(resources.c.id)
            .join(deployment_versions, deployment_versions.c.resource_id == resources.c.id)
            .where(
                deployment_versions.c.source_sandbox_id == sandbox_id,
                resources.c.project_id == project_id,
                resources.c.kind == Kind.DEPLOYMENT.value,
                resources.c.deleted_at.is_(None),
                *([resources.c.name == name] if name is not None else []),
            )
            .order_by(deployment_versions.c.created_at.desc(), deployment_versions.c.number.desc())
            .limit(1)
        )
        found: str | None = await self._connection.scalar(select)
        return found


def _read(resource: Resource, row: sa.Row[Any]) -> Deployment:
    later = {
        "current_build_id": row.current_build_id,
        "active_release_id": row.active_release_id,
        "custom_domain_id": row.custom_domain_id,
    }
    if row.auto_deploy is None:  # the platform registered it, and nothing more was ever said
        return Deployment(resource=resource, **later)
    source_type = SourceType(row.source_type) if row.source_type is not None else None
    return Deployment(
        resource=resource, source_type=source_type, **{name: getattr(row, name) for name in _SOURCE}, **later
    )
