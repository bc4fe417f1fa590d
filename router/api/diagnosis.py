"""What is wrong with a domain, in plain words: of custom domains, in each place where they are, and of preview domains."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from router.api.authorization import authorize, authorize_place, tenant_of
from router.api.models import HostName, Instant, Out, Query
from router.api.operations import Call, Data, Handlers, operation
from router.api.principal import Access, Principal
from router.base.paging import Window
from router.domains.custom_domains import CustomDomains
from router.domains.diagnosis.diagnoser import Diagnoses, Diagnosis
from router.domains.diagnosis.findings import Action, Severity
from router.domains.preview_domains import PreviewDomains
from router.errors import FORBIDDEN, NOT_FOUND, VALIDATION_FAILED, RouterError
from router.hostname import InvalidNameError, canonical_name, default_host, sandbox_host
from router.routes.records import Kind, Scope
from router.tenancy.projects import Projects
from router.tenancy.resource_service import Resources
from router.tenancy.resources import ResourceFilter
from router.tenancy.workspaces import Workspaces

_SAMPLE = Window(limit=4)  # resources whose hosts are checked


class RemedyOut(Out):
    """One thing to do at the DNS provider: `host` is what to type as the name there, `name` the same in full. `value` is
    what the record must say, or what the one to delete says."""

    action: Action
    type: str
    name: str
    host: str
    value: str


class FindingOut(Out):
    """One thing that was found out. `error`: it does not work; `warning`: it may not go on working; `info`: good to know."""

    code: str
    severity: Severity
    message: str
    records: list[RemedyOut]
    docs_url: str


class DiagnosisOut(Out):
    """`findings` begin with what to do first. `healthy` is whether none of them is an error or a warning."""

    domain: str
    status: str | None
    healthy: bool
    checked_at: Instant
    findings: list[FindingOut]


class ZoneQuery(Query):
    host: Annotated[
        HostName | None,
        Field(description="A host under the domain to look at. Else some that exist are looked at."),
    ] = None


class _DiagnosisHandlers(Handlers):
    """What the handlers of all diagnoses share."""

    def __init__(
        self,
        *,
        doctor: Diagnoses,
        domains: CustomDomains,
        machines: Resources,
        previews: PreviewDomains,
        workspaces: Workspaces,
        projects: Projects,
    ) -> None:
        self._doctor = doctor
        self._domains = domains
        self._machines = machines
        self._previews = previews
        self._workspaces = workspaces
        self._projects = projects

    async def _of_custom(self, principal: Principal, domain_id: str, resource_id: str | None = None) -> DiagnosisOut:
        domain = await self._domains.get(domain_id)
        authorize(principal, domain, "domain")
        if resource_id not in {None, domain.resource_id}:
            raise RouterError(NOT_FOUND, "domain not found")
        return _shown(await self._doctor.custom_domain(domain.id))

    async def _held(self, call: Call[Any, Any], kind: Kind) -> DiagnosisOut:
        machine = await self._machines.get(call.ids["id"], kind)
        authorize(call.principal, machine, kind.value)
        return await self._of_custom(call.principal, call.ids["domain_id"], machine.id)

    async def _of_preview(self, scope: Scope, scope_id: str, host: str | None, where: ResourceFilter) -> DiagnosisOut:
        preview = await self._previews.get(scope, scope_id)
        if preview is None:
            raise RouterError(NOT_FOUND, f"this {scope} has no preview domain")
        hosts = [_under(preview.domain, host)] if host is not None else await self._sample(preview.domain, where)
        return _shown(await self._doctor.preview_domain(scope, scope_id, hosts))

    async def _sample(self, domain: str, where: ResourceFilter) -> list[str]:
        """Hosts of resources that are in the scope."""
        hosts = []
        # Of each kind, as the lists have them in order.
        newest = [
            machine
            for kind in Kind
            for machine in (await self._machines.list(replace(where, kind=kind), _SAMPLE)).items
        ]
        newest.sort(key=lambda machine: machine.created_at, reverse=True)
        for machine in newest[: _SAMPLE.limit]:
            port = min(machine.exposed_ports, default=None)
            hosts += [default_host(machine.slug, domain), sandbox_host(machine.slug, domain, port)]
        return hosts


def _shown(diagnosis: Diagnosis) -> DiagnosisOut:
    return DiagnosisOut(
        domain=diagnosis.domain,
        status=diagnosis.status,
        healthy=diagnosis.healthy,
        checked_at=diagnosis.checked_at,
        findings=[
            FindingOut(
                code=finding.code,
                severity=finding.severity,
                message=finding.message,
                records=[RemedyOut.model_validate(record) for record in finding.records],
                docs_url=diagnosis.docs(finding),
            )
            for finding in diagnosis.findings
        ],
    )


def _under(domain: str, host: str) -> str:
    """A host under a domain. Raises RouterError VALIDATION_FAILED."""
    try:
        name = canonical_name(host)
    except InvalidNameError as error:
        raise RouterError(VALIDATION_FAILED, fields={"host": [str(error)]}) from None
    if not name.endswith(f".{domain}"):
        raise RouterError(VALIDATION_FAILED, fields={"host": [f"must end with .{domain}"]})
    return name


class FlatDiagnosis(_DiagnosisHandlers):
    tag = "Custom domains"

    @operation("GET", "/custom-domains/{id}/diagnose", "Say what is wrong with a custom domain")
    async def diagnose(self, call: Call) -> Data[DiagnosisOut]:
        """Looks at DNS now, and changes nothing. Once in 10 s for each domain."""
        return Data(await self._of_custom(call.principal, call.ids["id"]))


class ComputerDiagnosis(_DiagnosisHandlers):
    tag = "Computer domains"

    @operation("GET", "/computers/{id}/domains/{domain_id}/diagnose", "Say what is wrong with a domain of a computer")
    async def diagnose(self, call: Call) -> Data[DiagnosisOut]:
        """Looks at DNS now, and changes nothing. Once in 10 s for each domain."""
        return Data(await self._held(call, Kind.COMPUTER))


class DeploymentDiagnosis(_DiagnosisHandlers):
    tag = "Deployment domains"

    @operation(
        "GET", "/deployments/{id}/domains/{domain_id}/diagnose", "Say what is wrong with a domain of a deployment"
    )
    async def diagnose(self, call: Call) -> Data[DiagnosisOut]:
        """Looks at DNS now, and changes nothing. Once in 10 s for each domain."""
        return Data(await self._held(call, Kind.DEPLOYMENT))


class TenantZoneDiagnosis(_DiagnosisHandlers):
    tag = "Tenant preview domain"

    @operation(
        "GET",
        "/tenant/preview-domain/diagnose",
        "Say what is wrong with the tenant's preview domain",
        access=Access.TENANT,
        problems=(NOT_FOUND,),
    )
    async def diagnose(self, call: Call[None, ZoneQuery]) -> Data[DiagnosisOut]:
        """Looks at DNS now, and changes nothing. Once in 10 s for each domain."""
        tenant_id = tenant_of(call.principal)
        where = ResourceFilter(tenant_id=tenant_id)
        return Data(await self._of_preview(Scope.TENANT, tenant_id, call.query.host, where))


class WorkspaceZoneDiagnosis(_DiagnosisHandlers):
    tag = "Workspace preview domain"

    @operation(
        "GET",
        "/workspaces/{id}/preview-domain/diagnose",
        "Say what is wrong with a workspace's preview domain",
        access=Access.WORKSPACE,
    )
    async def diagnose(self, call: Call[None, ZoneQuery]) -> Data[DiagnosisOut]:
        """Looks at DNS now, and changes nothing. Once in 10 s for each domain."""
        workspace = await self._workspaces.get(call.ids["id"])
        if not call.principal.covers(workspace.tenant_id, workspace.id):
            raise RouterError(FORBIDDEN)
        where = ResourceFilter(tenant_id=workspace.tenant_id, workspace_id=workspace.id)
        return Data(await self._of_preview(Scope.WORKSPACE, workspace.id, call.query.host, where))


class ProjectZoneDiagnosis(_DiagnosisHandlers):
    tag = "Project preview domain"

    @operation("GET", "/projects/{id}/preview-domain/diagnose", "Say what is wrong with a project's preview domain")
    async def diagnose(self, call: Call[None, ZoneQuery]) -> Data[DiagnosisOut]:
        """Looks at DNS now, and changes nothing. Once in 10 s for each domain."""
        project = await self._projects.get(call.ids["id"])
        authorize_place(call.principal, "project", project.tenant_id, project.workspace_id, project.id)
        where = ResourceFilter(tenant_id=project.tenant_id, project_id=project.id)
        return Data(await self._of_preview(Scope.PROJECT, project.id, call.query.host, where))


HANDLERS = (
    FlatDiagnosis,
    ComputerDiagnosis,
    DeploymentDiagnosis,
    TenantZoneDiagnosis,
    WorkspaceZoneDiagnosis,
    ProjectZoneDiagnosis,
)
