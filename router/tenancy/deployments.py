"""Deployments: the stable object behind a production address. Its versions come and go; its hosts stay.

A deployment is a resource like any other, with a few fields beside it and the version that is live. One that the
platform registered without them has their defaults.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypedDict, cast

from router.base.clock import Clock
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, RouterError
from router.routes.records import Kind, State
from router.tenancy import lifecycle
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.ownership import NOTHING, Ownership
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource, ResourceDetails, ResourceFilter, live
from router.tenancy.transaction import Tx
from router.tenancy.validation import BLANK, Fields


class DeploymentState(enum.StrEnum):
    """What customers read of a deployment's state."""

    PENDING = "pending"
    BUILDING = "building"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def states(self) -> tuple[State, ...]:
        """The states of the resource that it stands for."""
        return tuple(state for state, shown in _SHOWN.items() if shown is self)


_SHOWN = {
    State.PROVISIONING: DeploymentState.PENDING,
    State.STARTING: DeploymentState.BUILDING,
    State.RUNNING: DeploymentState.RUNNING,
    State.PAUSED: DeploymentState.STOPPED,
    State.STOPPING: DeploymentState.STOPPED,
    State.STOPPED: DeploymentState.STOPPED,
    State.DESTROYED: DeploymentState.STOPPED,
    State.ERROR: DeploymentState.FAILED,
}


class SourceType(enum.StrEnum):
    REPO = "repo"
    GIT = "git"
    SANDBOX = "sandbox"
    UPLOAD = "upload"
    FORGE = "forge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment: its resource, and what it has beside that.

    `active_version_id` is what production points at, `active_release_id` what pointed it there. `custom_domain_id` is
    the oldest of its custom domains that routes.
    """

    resource: Resource
    source_type: SourceType | None = None
    repo_url: str | None = None
    branch: str | None = None
    build_command: str | None = None
    run_command: str | None = None
    auto_deploy: bool = True
    active_version_id: str | None = None
    active_release_id: str | None = None
    current_build_id: str | None = None
    custom_domain_id: str | None = None

    @property
    def id(self) -> str:
        return self.resource.id

    @property
    def state(self) -> DeploymentState:
        return _SHOWN[self.resource.state]


class Source(TypedDict, total=False):
    """What a deployment is made from; absent keys stay as they are."""

    source_type: SourceType | None
    repo_url: str | None
    branch: str | None
    build_command: str | None
    run_command: str | None
    auto_deploy: bool


class DeploymentRows(Protocol):
    """What is stored of deployments beside their resource. A change of the active version changes their records."""

    async def of(self, resources: Sequence[Resource]) -> Sequence[Deployment]:
        """The deployments that these resources are, in the same order."""

    async def save(self, deployment: Deployment) -> None:
        """Store the source and the active version; the resource is another row."""

    async def published_from(self, sandbox_id: str, project_id: str, name: str | None) -> str | None:
        """The id of the newest live deployment of the project that has a version from that sandbox, and that name."""


class Deployments:
    """The service of deployments. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, resources: Resources) -> None:
        self._store = store
        self._clock = clock
        self._resources = resources

    @retry_on_deadlock
    async def create(
        self,
        tenant_id: str,
        name: str,
        *,
        ownership: Ownership = NOTHING,
        slug: str | None = None,
        source: Source | None = None,
        **details: Any,
    ) -> Deployment:
        """A new deployment in the state `pending`: nothing is published yet. `details` are ResourceDetails.

        Raises RouterError as `Resources.create`.
        """
        source = source or {}
        given = cast("ResourceDetails", {**details, "name": name})
        fields = Fields()
        _check(fields, given, source)
        self._resources.check(fields, given, ownership=ownership, slug=slug)
        fields.check()
        async with self._store.begin() as tx:
            resource = await self._resources.add(
                tx, Kind.DEPLOYMENT, tenant_id, ownership=ownership, slug=slug, details=given
            )
            deployment = Deployment(resource=resource, **source)
            await tx.deployments.save(deployment)
            return deployment

    async def get(self, deployment_id: str) -> Deployment:
        """Raises RouterError NOT_FOUND."""
        async with self._store.read() as tx:
            return await found_deployment(tx, deployment_id)

    async def list(self, where: ResourceFilter, window: Window = FIRST) -> Listing[Deployment]:
        """The newest first; each condition of `where` narrows."""
        async with self._store.read() as tx:
            found = await tx.resources.list(replace(where, kind=Kind.DEPLOYMENT), window)
            return Listing(tuple(await tx.deployments.of(found.items)), found.total)

    @retry_on_deadlock
    async def update(
        self, deployment_id: str, *, slug: str | None = None, source: Source | None = None, **details: Any
    ) -> Deployment:
        """Change what is given. Raises RouterError: NOT_FOUND, VALIDATION_FAILED."""
        source = source or {}
        given = cast("ResourceDetails", details)
        fields = Fields()
        _check(fields, given, source)
        self._resources.check(fields, given, slug=slug)
        fields.check()
        async with self._store.begin() as tx:
            old = await found_deployment(tx, deployment_id)
            resource = await self._resources.change(tx, old.resource, slug=slug, details=given)
            new = replace(old, resource=resource, **source)
            await tx.deployments.save(new)
            return new

    @retry_on_deadlock
    async def stop(self, deployment_id: str) -> Deployment:
        """Take what is published off the air: its hosts answer that it is stopped, until a version is put on air again.
        Doing it again changes nothing. Raises RouterError: NOT_FOUND, CONFLICT where nothing is published."""
        async with self._store.begin() as tx:
            deployment = await found_deployment(tx, deployment_id)
            if deployment.active_version_id is None:
                raise RouterError(CONFLICT, "Nothing is published yet, so there is nothing to stop.")
            resource = await lifecycle.enter(tx, deployment.resource, State.STOPPED, self._clock.now())
            return replace(deployment, resource=resource)

    @retry_on_deadlock
    async def delete(self, deployment_id: str) -> Deployment:
        """For good: its hosts answer 410 from now on. Raises RouterError NOT_FOUND."""
        async with self._store.begin() as tx:
            deployment = await found_deployment(tx, deployment_id)
            resource = await lifecycle.destroy(tx, deployment.resource, self._clock.now())
            return replace(deployment, resource=resource)

    async def of_sandbox(self, sandbox: Resource, name: str | None) -> Deployment | None:
        """The deployment that this sandbox was published to before, in its own project; of that name, where one is
        given."""
        async with self._store.read() as tx:
            found = await tx.deployments.published_from(sandbox.id, sandbox.project_id, name)
            return await found_deployment(tx, found) if found is not None else None


async def found_deployment(tx: Tx, deployment_id: str) -> Deployment:
    """The deployment, where it exists now. Raises RouterError NOT_FOUND."""
    resource = live(await tx.resources.get(deployment_id), Kind.DEPLOYMENT)
    return (await tx.deployments.of([resource]))[0]


def _check(fields: Fields, details: ResourceDetails, source: Source) -> None:
    if "name" in details and not (details["name"] or "").strip():
        fields.add("name", BLANK)
    lengths: Mapping[str, int] = {"repo_url": 2000, "branch": 255, "build_command": 2000, "run_command": 2000}
    for name, max_length in lengths.items():
        fields.text(name, cast("str | None", source.get(name)), max_length=max_length)
