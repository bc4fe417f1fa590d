"""Publishing: from a sandbox to a version of a deployment, by the deployment's path or by the sandbox's.

A response waits for the build, so that a 201 means that it has ended and `promoted` says how; hosts show the new version
when it arrives. With `wait: false`, or where it takes too long, the response is a 202 and the build goes on.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from router.api.authorization import authorize, bounds_of
from router.api.deployments import Command, DeploymentOut, DeploymentPresenter, authorized_deployment
from router.api.models import Body, ExternalId, HostName, Id, Name, Out, Port
from router.api.operations import Call, Data, Handlers, operation
from router.api.versions import (
    BuildOut,
    Environment,
    ReleaseOut,
    VersionOut,
    shown_build,
    shown_release,
    shown_version,
)
from router.base.paging import Window
from router.domains.custom_domains import CustomDomains
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import Kind
from router.tenancy.deployments import Deployment, Deployments
from router.tenancy.ownership import Ownership
from router.tenancy.publishing import PATH, Plan, Publishing, plan_of
from router.tenancy.releases import Releases
from router.tenancy.resource_service import Resources
from router.tenancy.resources import Resource
from router.tenancy.versions import PRODUCTION, VersionKind

LONGEST_WAIT = 45.0  # seconds; a handler has 60, and so does the official client

HealthCheckPath = Annotated[
    str,
    Field(
        pattern=f"^{PATH}$",
        description="A GET of it must be answered with a status below 400. Without it the port must take connections.",
    ),
]


class PublishOptions(Body):
    """Commands, paths and services are kept for the platform; nothing here acts on them. `kind` auto follows the source.

    `port` is the sandbox's default port where none is given, or the one that was exposed first; visitors of the
    deployment reach that one.
    """

    kind: Literal["auto", "static", "dynamic", "sandbox_backed"] | None = None
    environment: Environment | None = None
    promote: Annotated[bool | None, Field(description="Whether it goes on air once it is ready; yes by default.")] = (
        None
    )
    wait: Annotated[bool | None, Field(description="Whether to answer when the build has ended; yes by default.")] = (
        None
    )
    output_path: Command | None = None
    entrypoint: Command | None = None
    source_snapshot_path: Command | None = None
    build_command: Command | None = None
    run_command: Command | None = None
    start_command: Annotated[Command | None, Field(description="Another name of `run_command`.")] = None
    port: Port | None = None
    health_check_path: HealthCheckPath | None = None
    data_services: Annotated[list[ExternalId], Field(max_length=50)] | None = None
    external_workspace_id: ExternalId | None = None
    external_user_id: ExternalId | None = None
    external_project_id: ExternalId | None = None

    def plan(self, sandbox_id: str) -> Plan:
        """As `Publishing` takes it."""
        return Plan(
            source_sandbox_id=sandbox_id,
            kind=VersionKind(self.kind) if self.kind not in {None, "auto"} else None,
            environment=self.environment or PRODUCTION,
            promote=self.promote is not False,
            output_path=self.output_path,
            entrypoint=self.entrypoint,
            source_snapshot_path=self.source_snapshot_path,
            build_command=self.build_command,
            run_command=self.run_command or self.start_command,
            port=self.port,
            health_check_path=self.health_check_path,
            data_services=tuple(self.data_services or ()),
            external_workspace_id=self.external_workspace_id,
            external_user_id=self.external_user_id,
            external_project_id=self.external_project_id,
        )

    def attribution(self) -> dict[str, str]:
        """The external ids that were given."""
        names = ("external_workspace_id", "external_user_id", "external_project_id")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Publish(PublishOptions):
    source_sandbox_id: Id


class DeploySandbox(PublishOptions):
    """To the deployment of `deployment_id`; else to the one that this sandbox was published to before, of that `name`
    where one is given; else to a new one in the sandbox's project. `domain` and `custom_domain` mean the same."""

    deployment_id: Id | None = None
    name: Name | None = None
    domain: Annotated[HostName | None, Field(description="A custom domain to register for the deployment.")] = None
    custom_domain: Annotated[HostName | None, Field(description="The same.")] = None


class PublishedOut(Out):
    """`promoted` is whether the environment points at this version now; `release` is what pointed it there."""

    deployment_id: str
    url: str
    promoted: bool
    deployment: DeploymentOut
    version: VersionOut
    build: BuildOut
    release: ReleaseOut | None
    services: Annotated[list[Any], Field(max_length=0)] = Field(default_factory=list)


class PublishingApi(Handlers):
    tag = "Publishing"

    def __init__(
        self,
        *,
        deployments: Deployments,
        publishing: Publishing,
        outcome: Releases,
        sandboxes: Resources,
        domains: CustomDomains,
        presenter: DeploymentPresenter,
    ) -> None:
        self._deployments = deployments
        self._publishing = publishing
        self._outcome = outcome
        self._sandboxes = sandboxes
        self._domains = domains
        self._presenter = presenter

    @operation(
        "POST",
        "/deployments/{id}/publish",
        "Publish a sandbox to a deployment",
        status=201,
        also=(202,),
        problems=(CONFLICT,),
    )
    async def publish(self, call: Call[Publish]) -> Data[PublishedOut]:
        """The sandbox's program is checked, then hosts lead to it. Where the check fails, what is live stays so, the
        version is `failed` and its build says why.
        """
        deployment = await authorized_deployment(self._deployments, call)
        sandbox = await self._sandbox(call, call.body.source_sandbox_id)
        return await self._publish(call, deployment, sandbox, call.body)

    @operation(
        "POST",
        "/sandboxes/{id}/deploy",
        "Publish a sandbox",
        status=201,
        also=(202,),
        problems=(CONFLICT,),
    )
    async def deploy(self, call: Call[DeploySandbox]) -> Data[PublishedOut]:
        """As above, by the sandbox's path. A new deployment is called like the sandbox unless `name` says otherwise."""
        body, principal = call.body, call.principal
        sandbox = await self._sandbox(call, call.ids["id"])
        if body.deployment_id is not None:
            deployment: Deployment | None = await self._deployments.get(body.deployment_id)
        else:
            deployment = await self._deployments.of_sandbox(sandbox, body.name)
        if deployment is not None:
            authorize(principal, deployment.resource, "deployment")
        domain = body.domain if body.domain is not None else body.custom_domain
        wanted = domain is not None and await self._domains.check(
            domain, sandbox.tenant_id, deployment.id if deployment is not None else None
        )
        if deployment is None:
            deployment = await self._deployments.create(
                sandbox.tenant_id,
                body.name or sandbox.name or sandbox.slug,
                ownership=Ownership(project_id=sandbox.project_id, bounds=bounds_of(principal)),
                **{**_attributed(sandbox), **body.attribution()},
            )
        if domain is not None and wanted:
            await self._domains.register(deployment.id, domain)
        return await self._publish(call, deployment, sandbox, body)

    @operation(
        "POST",
        "/deployments/{id}/redeploy",
        "Run the last build of a deployment again",
        also=(202,),
        problems=(CONFLICT,),
    )
    async def redeploy(self, call: Call) -> Data[DeploymentOut]:
        """A new version, made as the newest one was; it goes on air once it is ready. Where the check fails, what is live
        stays so. 202 where the build takes longer than the answer waits.
        """
        deployment = await authorized_deployment(self._deployments, call)
        versions = (await self._outcome.versions(deployment.id, window=Window(limit=1))).items
        if not versions or versions[0].source_sandbox_id is None:
            raise RouterError(
                CONFLICT, "Nothing has been published from a sandbox yet, so there is no build to run again."
            )
        try:
            sandbox = await self._sandbox(call, versions[0].source_sandbox_id)
        except RouterError as error:
            if error.problem is not NOT_FOUND:
                raise
            words = f"The sandbox that version {versions[0].number} was published from has been deleted."
            raise RouterError(CONFLICT, words) from None
        version = await self._publishing.start(deployment.id, plan_of(versions[0], sandbox.id), by=call.principal.id)
        ended = await self._publishing.wait(version.id, LONGEST_WAIT)
        (shown,) = await self._presenter.show(await self._deployments.get(deployment.id))
        return Data(shown, 200 if ended else 202)

    async def _sandbox(self, call: Call[Any, Any], sandbox_id: str) -> Resource:
        """A sandbox that the caller may reach. Raises RouterError: NOT_FOUND, FORBIDDEN."""
        sandbox = await self._sandboxes.get(sandbox_id, Kind.SANDBOX)
        authorize(call.principal, sandbox, "sandbox")
        return sandbox

    async def _publish(
        self, call: Call[Any, Any], deployment: Deployment, sandbox: Resource, body: PublishOptions
    ) -> Data[PublishedOut]:
        version = await self._publishing.start(deployment.id, body.plan(sandbox.id), by=call.principal.id)
        ended = body.wait is not False and await self._publishing.wait(version.id, LONGEST_WAIT)
        deployment = await self._deployments.get(deployment.id)
        version = await self._outcome.version(deployment.id, version.id)
        build = await self._outcome.build(deployment.id, version.build_id or "")
        current = await self._outcome.current(deployment.id, version.environment)
        promoted = current is not None and current.version_id == version.id
        (shown,) = await self._presenter.show(deployment)
        published = PublishedOut(
            deployment_id=deployment.id,
            url=shown.url,
            promoted=promoted,
            deployment=shown,
            version=shown_version(deployment, version),
            build=shown_build(build),
            release=shown_release(deployment, current, version) if current is not None and promoted else None,
        )
        return Data(published, 201 if ended else 202)


def _attributed(sandbox: Resource) -> dict[str, Any]:
    return {
        "external_workspace_id": sandbox.external_workspace_id,
        "external_user_id": sandbox.external_user_id,
        "external_project_id": sandbox.external_project_id,
    }
