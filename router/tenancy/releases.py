"""Releases: which version is live. Promoting and rolling back point an environment at a version that is ready; nothing
is built or checked again.

The switch is one transaction: version, release, port and state change together, and the proxy sees all of it or none.
Requests under way stay on the connection that they are on, and so finish where they started.
"""

from dataclasses import replace
from datetime import datetime

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import State
from router.tenancy import lifecycle
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.deployments import Deployment, found_deployment
from router.tenancy.env import check_environment
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields
from router.tenancy.versions import (
    PRODUCTION,
    Build,
    Release,
    ReleaseAction,
    Version,
    VersionFilter,
    VersionState,
    found_version,
)


class Releases:
    """The service of versions, once they exist. Every method may raise StoreUnavailableError.

    Each raises RouterError NOT_FOUND where the deployment, or what is asked of it, is not there.
    """

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def version(self, deployment_id: str, version_id: str) -> Version:
        async with self._store.read() as tx:
            await found_deployment(tx, deployment_id)
            return found_version(await tx.versions.get(version_id), deployment_id)

    async def versions(
        self, deployment_id: str, where: VersionFilter | None = None, window: Window = FIRST
    ) -> Listing[Version]:
        """The newest first."""
        async with self._store.read() as tx:
            await found_deployment(tx, deployment_id)
            return await tx.versions.list(deployment_id, where or VersionFilter(), window)

    async def build(self, deployment_id: str, build_id: str) -> Build:
        async with self._store.read() as tx:
            await found_deployment(tx, deployment_id)
            build = await tx.builds.get(build_id)
            if build is None or build.resource_id != deployment_id:
                raise RouterError(NOT_FOUND, "build not found")
            return build

    async def builds(self, deployment_id: str, window: Window = FIRST) -> Listing[Build]:
        """The newest first."""
        async with self._store.read() as tx:
            await found_deployment(tx, deployment_id)
            return await tx.builds.list(deployment_id, window)

    async def release(self, deployment_id: str, release_id: str) -> tuple[Release, Version]:
        """With the version that it put on air."""
        async with self._store.read() as tx:
            await found_deployment(tx, deployment_id)
            release = _found(await tx.releases.get(release_id), deployment_id)
            return release, found_version(await tx.versions.get(release.version_id), deployment_id)

    async def releases(self, deployment_id: str, window: Window = FIRST) -> Listing[tuple[Release, Version]]:
        """The newest first, each with its version."""
        async with self._store.read() as tx:
            await found_deployment(tx, deployment_id)
            found = await tx.releases.list(deployment_id, window)
            versions = await tx.versions.of({release.version_id for release in found.items})
            return Listing(tuple((release, versions[release.version_id]) for release in found.items), found.total)

    async def current(self, deployment_id: str, environment: str) -> Release | None:
        """What an environment points at."""
        async with self._store.read() as tx:
            await found_deployment(tx, deployment_id)
            return await tx.releases.current(deployment_id, environment)

    async def promote(self, deployment_id: str, version_id: str, environment: str = PRODUCTION) -> Deployment:
        """Point an environment at a ready version. Raises RouterError: CONFLICT (not ready, or nothing runs it any
        more), VALIDATION_FAILED (`environment`)."""
        return await self._switch(deployment_id, version_id, environment, ReleaseAction.PROMOTE)

    async def promote_release(self, deployment_id: str, release_id: str) -> Deployment:
        """Point the environment of a release at its version again. Raises RouterError CONFLICT."""
        release, version = await self.release(deployment_id, release_id)
        return await self._switch(deployment_id, version.id, release.environment, ReleaseAction.PROMOTE)

    async def roll_back(
        self, deployment_id: str, version_id: str | None = None, environment: str = PRODUCTION
    ) -> Deployment:
        """Point an environment at an older ready version: without one, at the newest that was live before.

        Raises RouterError: CONFLICT (nothing is live, or nothing was before; not ready; live already),
        VALIDATION_FAILED.
        """
        return await self._switch(deployment_id, version_id, environment, ReleaseAction.ROLLBACK)

    @retry_on_deadlock
    async def _switch(
        self, deployment_id: str, version_id: str | None, environment: str, action: ReleaseAction
    ) -> Deployment:
        fields = Fields()
        check_environment(fields, environment)
        fields.check()
        async with self._store.begin() as tx:
            deployment = await found_deployment(tx, deployment_id)
            if version_id is None:
                version = await _previous(tx, deployment_id, environment)
            else:
                version = found_version(await tx.versions.get(version_id), deployment_id)
            current = await tx.releases.current(deployment_id, environment)
            if action is ReleaseAction.ROLLBACK and current is not None and current.version_id == version.id:
                raise RouterError(CONFLICT, f"version {version.number} is live in {environment} already")
            await _check_serves(tx, deployment, version)
            await point(tx, deployment, version, environment, action, self._clock.now())
            return await found_deployment(tx, deployment_id)


async def point(
    tx: Tx, deployment: Deployment, version: Version, environment: str, action: ReleaseAction, now: datetime
) -> Release:
    """Point an environment at a version, and with `production` the deployment's hosts. Saying it again changes no
    release, but what was stopped is on air again."""
    current = await tx.releases.current(deployment.id, environment)
    if current is None or current.version_id != version.id:
        release = Release(
            id=new_id(),
            resource_id=deployment.id,
            version_id=version.id,
            number=await tx.releases.next_number(deployment.id),
            previous_version_id=current.version_id if current is not None else None,
            environment=environment,
            action=action,
            created_at=now,
        )
        await tx.releases.add(release)
        await tx.versions.save(replace(version, promoted_at=now, updated_at=now))
        await _emit_event(tx, deployment, version, release, now)
        current = release
    if environment == PRODUCTION:
        resource = deployment.resource
        moved = replace(resource, default_port=version.port or resource.default_port, updated_at=now)
        await tx.resources.save(resource, moved)
        moved = await lifecycle.enter(tx, moved, State.RUNNING, now)
        await tx.deployments.save(replace(deployment, resource=moved, active_version_id=version.id))
    return current


async def _previous(tx: Tx, deployment_id: str, environment: str) -> Version:
    current = await tx.releases.current(deployment_id, environment)
    live = await tx.versions.get(current.version_id) if current is not None else None
    if live is None:
        raise RouterError(CONFLICT, f"no version is live in {environment}")
    version = await tx.versions.live_before(deployment_id, environment, live.number)
    if version is None:
        raise RouterError(CONFLICT, f"no version before version {live.number} was live in {environment}")
    return version


async def _check_serves(tx: Tx, deployment: Deployment, version: Version) -> None:
    """Raises RouterError CONFLICT where the version can't go on air: it is not ready, or nothing runs it any more."""
    if version.state is not VersionState.READY:
        raise RouterError(CONFLICT, f"version {version.number} is {version.state}, not ready")
    if await tx.blocks.feeds_blocked(version.source_sandbox_id or "", deployment.id):
        raise RouterError(
            CONFLICT, f"another deployment of what version {version.number} was made from has been blocked"
        )
    listening = {endpoint.version_id for endpoint in await tx.resources.endpoints(deployment.id)}
    if listening & {version.id, None} or version.source_sandbox_id is None:
        return
    sandbox = await tx.resources.get(version.source_sandbox_id)
    if sandbox is None or sandbox.deleted_at is not None:
        raise RouterError(CONFLICT, f"nothing runs version {version.number} any more: its sandbox has been deleted")


async def _emit_event(tx: Tx, deployment: Deployment, version: Version, release: Release, now: datetime) -> None:
    resource = deployment.resource
    await tx.events.emit(
        "deployment.released",
        now,
        tenant_id=resource.tenant_id,
        workspace_id=resource.workspace_id,
        project_id=resource.project_id,
        resource_id=resource.id,
        data={
            "environment": release.environment,
            "action": release.action,
            "version_id": version.id,
            "previous_version_id": release.previous_version_id,
        },
    )


def _found(release: Release | None, deployment_id: str) -> Release:
    if release is None or release.resource_id != deployment_id:
        raise RouterError(NOT_FOUND, "release not found")
    return release
