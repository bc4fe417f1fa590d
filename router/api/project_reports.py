"""What a project holds, counted."""

from router.api.authorization import authorize_place
from router.api.models import Out
from router.api.operations import Call, Data, Handlers, operation
from router.api.projects import ProjectOut
from router.base.paging import Window
from router.domains.custom import DomainFilter
from router.domains.custom_domains import CustomDomains
from router.routes.records import Kind, State
from router.tenancy.projects import Project, Projects
from router.tenancy.resource_service import Resources
from router.tenancy.resources import ResourceFilter

_NONE = Window(limit=0)  # the total is all that is asked for


class CountOut(Out):
    total: int
    running: int


class SummaryOut(ProjectOut):
    """The project, and how many of each kind lie in it."""

    project_id: str
    sandboxes: CountOut
    computers: CountOut
    deployments: CountOut
    custom_domains: int


class ProjectReportsApi(Handlers):
    tag = "Projects"

    def __init__(self, *, projects: Projects, resources: Resources, domains: CustomDomains) -> None:
        self._projects = projects
        self._resources = resources
        self._domains = domains

    @operation("GET", "/projects/{id}/summary", "Count what a project holds")
    async def summary(self, call: Call) -> Data[SummaryOut]:
        """As of now."""
        project = await self._projects.get(call.ids["id"])
        authorize_place(call.principal, "project", project.tenant_id, project.workspace_id, project.id)
        counts = {kind: await self._count(project, kind) for kind in Kind}
        domains = await self._domains.list(DomainFilter(tenant_id=project.tenant_id, project_id=project.id), _NONE)
        return Data(
            SummaryOut(
                **ProjectOut.model_validate(project).model_dump(),
                project_id=project.id,
                sandboxes=counts[Kind.SANDBOX],
                computers=counts[Kind.COMPUTER],
                deployments=counts[Kind.DEPLOYMENT],
                custom_domains=domains.total,
            )
        )

    async def _count(self, project: Project, kind: Kind) -> CountOut:
        where = ResourceFilter(tenant_id=project.tenant_id, project_id=project.id, kind=kind)
        running = ResourceFilter(tenant_id=project.tenant_id, project_id=project.id, kind=kind, state=State.RUNNING)
        found, up = [await self._resources.list(each, _NONE) for each in (where, running)]
        return CountOut(total=found.total, running=up.total)
