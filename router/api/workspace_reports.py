"""What a workspace holds and used: counts, usage over time, and its projects."""

from router.api.models import Instant, Out, Paging, Query
from router.api.operations import Bare, Call, Counted, Handlers, operation
from router.api.principal import Access
from router.api.projects import ProjectOut, counted
from router.api.workspaces import SettingsOut, authorized_workspace
from router.routes.records import State
from router.tenancy.projects import ProjectFilter, Projects
from router.tenancy.usage import Granularity, Period, Usage
from router.tenancy.workspaces import Workspaces

# These are shown even where nothing is in them; the other states only where something is.
_ALWAYS = (State.RUNNING, State.STOPPED, State.PROVISIONING, State.ERROR)


class ReadUsage(Query):
    window: Period = Period.DAY
    granularity: Granularity = Granularity.HOUR


class ComputersOut(Out):
    total: int
    by_status: dict[str, int]


class FootprintOut(Out):
    total_vcpus: int
    total_memory_mb: int
    total_disk_gb: int


class StatsOut(Out):
    workspace_id: str
    computers: ComputersOut
    resources: FootprintOut
    settings: SettingsOut


class BucketOut(Out):
    ts: Instant
    credits_used: int
    compute_hours: float


class UsageOut(Out):
    workspace_id: str
    window: Period
    granularity: Granularity
    total_credits_used: int
    total_compute_hours: float
    series: list[BucketOut]


class WorkspaceReportsApi(Handlers):
    tag = "Workspaces"

    def __init__(self, *, workspaces: Workspaces, projects: Projects, usage: Usage) -> None:
        self._workspaces = workspaces
        self._projects = projects
        self._usage = usage

    @operation("GET", "/workspaces/{id}/stats", "Count a workspace's computers", access=Access.WORKSPACE)
    async def stats(self, call: Call) -> Bare[StatsOut]:
        """By status, with what they have together, as of now."""
        workspace = await authorized_workspace(self._workspaces, call)
        found = await self._workspaces.stats(workspace.id)
        counts = dict.fromkeys(_ALWAYS, 0) | dict(found.by_status)
        return Bare(
            StatsOut(
                workspace_id=workspace.id,
                computers=ComputersOut(total=found.total, by_status={str(state): n for state, n in counts.items()}),
                resources=FootprintOut(
                    total_vcpus=found.vcpus, total_memory_mb=found.memory_mb, total_disk_gb=found.disk_gb
                ),
                settings=SettingsOut(**workspace.caps),
            )
        )

    @operation("GET", "/workspaces/{id}/usage", "Read a workspace's usage over time", access=Access.WORKSPACE)
    async def usage(self, call: Call[None, ReadUsage]) -> Bare[UsageOut]:
        """Hours of running computers and sandboxes, and the credits for them. The last bucket is the current one."""
        workspace = await authorized_workspace(self._workspaces, call)
        query = call.query
        return Bare(
            UsageOut.model_validate(await self._usage.of_workspace(workspace.id, query.window, query.granularity))
        )

    @operation("GET", "/workspaces/{id}/projects", "List a workspace's projects", access=Access.WORKSPACE)
    async def projects(self, call: Call[None, Paging]) -> Counted[ProjectOut]:
        """The oldest first."""
        workspace = await authorized_workspace(self._workspaces, call)
        where = ProjectFilter(tenant_id=workspace.tenant_id, workspace_id=workspace.id)
        listing = await self._projects.list(where, call.query.window)
        return counted(listing)
