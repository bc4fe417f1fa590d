"""What a deployment was and is: its versions, the builds that made them, the releases that put them on air."""

from typing import Annotated, Any

from pydantic import Field

from router.api.cursors import CursorPaging, NumberCursor
from router.api.deployments import DeploymentOut, DeploymentPresenter, authorized_deployment
from router.api.models import Exact, ExternalId, Id, Instant, Metadata, Out, Paging
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.errors import CONFLICT
from router.tenancy.deployments import Deployment, Deployments
from router.tenancy.env import ENVIRONMENT
from router.tenancy.releases import Releases
from router.tenancy.versions import (
    PRODUCTION,
    Build,
    BuildState,
    Release,
    ReleaseAction,
    Version,
    VersionFilter,
    VersionKind,
    VersionState,
)

Environment = Annotated[
    str, Field(pattern=f"^{ENVIRONMENT}$", description="Hosts lead to what `production` points at.")
]


class Promote(Exact):
    environment: Environment | None = None


class RollBack(Exact):
    """Without `version_id` it goes to the newest ready version that was live before."""

    version_id: Id | None = None
    environment: Environment | None = None


class VersionQuery(CursorPaging):
    state: VersionState | None = None
    external_workspace_id: ExternalId | None = None
    external_user_id: ExternalId | None = None
    external_project_id: ExternalId | None = None
    cursor: NumberCursor | None = None

    @property
    def where(self) -> VersionFilter:
        return VersionFilter(
            state=self.state,
            external_workspace_id=self.external_workspace_id,
            external_user_id=self.external_user_id,
            external_project_id=self.external_project_id,
            before=int(self.cursor) if self.cursor is not None else None,
        )


class _Made(Out):
    """What versions and releases share, each said of the version. What only the platform knows is null."""

    deployment_id: str
    tenant_id: str
    workspace_id: str
    project_id: str
    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None
    source_sandbox_id: str | None
    build_id: str | None
    kind: VersionKind
    environment: str
    artifact_uri: None = None
    artifact_sha256: None = None
    artifact_manifest: Annotated[dict[str, str], Field(description="Which files of the sandbox were published.")]
    health_check_path: str | None
    build_log_uri: Annotated[str | None, Field(description="The path of the build, with its log.")]
    metadata: Metadata
    archived_at: None = None
    created_at: Instant
    updated_at: Instant


class VersionOut(_Made):
    """A version. What it is never changes; `state` does once, and `promoted_at` when it goes on air."""

    id: str
    version_number: int
    state: VersionState
    created_by: str | None
    output_path: str | None
    build_command: str | None
    run_command: str | None
    runtime_command: str | None
    runtime_image: None = None
    runtime_port: int | None
    data_services: list[str]
    promoted_at: Instant | None


class ReleaseOut(_Made):
    """That an environment was pointed at a version: `active` while it is, `superseded` afterwards."""

    id: str
    deployment_version_id: str
    version_number: int
    previous_version_id: str | None
    environment_id: None = None
    service_id: None = None
    action: ReleaseAction
    state: str
    storage_backend: None = None
    storage_uri: None = None
    sha256: None = None
    size_bytes: None = None
    start_command: str | None
    port: int | None
    ready_at: Instant


class BuildOut(Out):
    """One try to make a version. `log` is its lines; `error_message` says why it failed."""

    id: str
    deployment_id: str
    version_id: str
    version_number: int
    state: BuildState
    status: BuildState
    triggered_by: str | None
    commit_sha: None = None
    commit_message: None = None
    image_digest: None = None
    log: str
    log_url: None = None
    error_message: str | None
    duration_ms: int | None
    started_at: Instant
    finished_at: Instant | None
    created_at: Instant


class VersionsApi(Handlers):
    tag = "Deployment versions"
    prefix = "/api/v1/deployments/{id}"

    def __init__(self, *, deployments: Deployments, releases: Releases, presenter: DeploymentPresenter) -> None:
        self._deployments = deployments
        self._releases = releases
        self._presenter = presenter

    @operation("GET", "/versions", "List the versions of a deployment")
    async def versions(self, call: Call[None, VersionQuery]) -> Paged[VersionOut]:
        """The newest first; each condition narrows."""
        deployment, query = await authorized_deployment(self._deployments, call), call.query
        found = await self._releases.versions(
            deployment.id, query.where, query.part(from_cursor=query.cursor is not None)
        )
        page, following = query.cut(found.items, lambda version: str(version.number))
        return Paged([shown_version(deployment, version) for version in page], found.total, following)

    @operation("GET", "/versions/{version_id}", "Get a version of a deployment")
    async def version(self, call: Call) -> Data[VersionOut]:
        deployment = await authorized_deployment(self._deployments, call)
        version = await self._releases.version(deployment.id, call.ids["version_id"])
        return Data(shown_version(deployment, version))

    @operation("POST", "/versions/{version_id}/promote", "Put a version on air", problems=(CONFLICT,))
    async def promote(self, call: Call[Promote]) -> Data[DeploymentOut]:
        """Nothing is built anew. Requests under way finish where they are, new ones go to this version."""
        deployment = await authorized_deployment(self._deployments, call)
        environment = call.body.environment or PRODUCTION
        return await self._presenter.response(
            await self._releases.promote(deployment.id, call.ids["version_id"], environment)
        )

    @operation("POST", "/rollback", "Put an older version on air", problems=(CONFLICT,))
    async def roll_back(self, call: Call[RollBack]) -> Data[DeploymentOut]:
        """409 where no version was live before, or the one that is named is not ready."""
        deployment = await authorized_deployment(self._deployments, call)
        environment = call.body.environment or PRODUCTION
        return await self._presenter.response(
            await self._releases.roll_back(deployment.id, call.body.version_id, environment)
        )

    @operation("GET", "/releases", "List the releases of a deployment")
    async def releases(self, call: Call[None, Paging]) -> Paged[ReleaseOut]:
        """The newest first."""
        deployment = await authorized_deployment(self._deployments, call)
        found = await self._releases.releases(deployment.id, call.query.window)
        return Paged([shown_release(deployment, *item) for item in found.items], found.total)

    @operation("GET", "/releases/{release_id}", "Get a release of a deployment")
    async def release(self, call: Call) -> Data[ReleaseOut]:
        deployment = await authorized_deployment(self._deployments, call)
        return Data(shown_release(deployment, *await self._releases.release(deployment.id, call.ids["release_id"])))

    @operation("POST", "/releases/{release_id}/promote", "Put a release's version on air again", problems=(CONFLICT,))
    async def promote_release(self, call: Call) -> Data[DeploymentOut]:
        """In the environment of that release."""
        deployment = await authorized_deployment(self._deployments, call)
        return await self._presenter.response(
            await self._releases.promote_release(deployment.id, call.ids["release_id"])
        )

    @operation("GET", "/builds", "List the builds of a deployment")
    async def builds(self, call: Call[None, Paging]) -> Paged[BuildOut]:
        """The newest first."""
        deployment = await authorized_deployment(self._deployments, call)
        found = await self._releases.builds(deployment.id, call.query.window)
        return Paged([shown_build(build) for build in found.items], found.total)

    @operation("GET", "/builds/{build_id}", "Get a build of a deployment")
    async def build(self, call: Call) -> Data[BuildOut]:
        deployment = await authorized_deployment(self._deployments, call)
        return Data(shown_build(await self._releases.build(deployment.id, call.ids["build_id"])))


def shown_version(deployment: Deployment, version: Version) -> VersionOut:
    """A version as a response shows it."""
    names = ("id", "state", "created_by", "output_path", "build_command", "run_command", "promoted_at")
    return VersionOut(
        **_made(deployment, version),
        **{name: getattr(version, name) for name in names},
        version_number=version.number,
        runtime_command=version.run_command,
        runtime_port=version.port,
        data_services=list(version.data_services),
        created_at=version.created_at,
        updated_at=version.updated_at,
        environment=version.environment,
    )


def shown_release(deployment: Deployment, release: Release, version: Version) -> ReleaseOut:
    """A release as a response shows it."""
    return ReleaseOut(
        **_made(deployment, version),
        id=release.id,
        deployment_version_id=version.id,
        version_number=version.number,
        previous_version_id=release.previous_version_id,
        environment=release.environment,
        action=release.action,
        state="active" if release.current else "superseded",
        start_command=version.run_command,
        port=version.port,
        ready_at=release.created_at,
        created_at=release.created_at,
        updated_at=release.created_at,
    )


def shown_build(build: Build) -> BuildOut:
    """A build as a response shows it."""
    took = build.finished_at - build.started_at if build.finished_at is not None else None
    return BuildOut(
        id=build.id,
        deployment_id=build.resource_id,
        version_id=build.version_id,
        version_number=build.number,
        state=build.state,
        status=build.state,
        triggered_by=build.triggered_by,
        log=build.log,
        error_message=build.error_message,
        duration_ms=round(took.total_seconds() * 1000) if took is not None else None,
        started_at=build.started_at,
        finished_at=build.finished_at,
        created_at=build.created_at,
    )


def _made(deployment: Deployment, version: Version) -> dict[str, Any]:
    resource = deployment.resource
    files = {name: getattr(version, name) for name in ("output_path", "entrypoint", "source_snapshot_path")}
    return {
        "deployment_id": resource.id,
        "tenant_id": resource.tenant_id,
        "workspace_id": resource.workspace_id,
        "project_id": resource.project_id,
        "external_workspace_id": version.external_workspace_id,
        "external_user_id": version.external_user_id,
        "external_project_id": version.external_project_id,
        "source_sandbox_id": version.source_sandbox_id,
        "build_id": version.build_id,
        "kind": version.kind,
        "artifact_manifest": {name: path for name, path in files.items() if path is not None},
        "health_check_path": version.health_check_path,
        "build_log_uri": f"/api/v1/deployments/{resource.id}/builds/{version.build_id}" if version.build_id else None,
        "metadata": dict(version.metadata),
    }
