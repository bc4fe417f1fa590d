"""Who calls, and how far that reaches."""

import enum
from dataclasses import dataclass


class Reach(enum.IntEnum):
    """How much a key sees and changes; a wider reach includes the narrower ones."""

    PROJECT = 1
    WORKSPACE = 2
    TENANT = 3
    PLATFORM = 4


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a valid key or token stands for.

    `id` is unique among principals and goes into logs and idempotency records, never a secret. A project's key knows
    its workspace too. The platform with its internal token has no tenant.
    """

    id: str
    reach: Reach
    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None

    def covers(self, tenant_id: str, workspace_id: str | None = None, project_id: str | None = None) -> bool:
        """Whether what lies in that tenant, workspace and project is within its reach."""
        match self.reach:
            case Reach.PLATFORM:
                return True
            case Reach.TENANT:
                return tenant_id == self.tenant_id
            case Reach.WORKSPACE:
                return tenant_id == self.tenant_id and workspace_id == self.workspace_id
            case Reach.PROJECT:
                return tenant_id == self.tenant_id and project_id == self.project_id


PLATFORM = Principal(id="internal", reach=Reach.PLATFORM)
ANYBODY = Principal(id="anonymous", reach=Reach.PROJECT)
