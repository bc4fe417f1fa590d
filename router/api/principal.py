"""Who calls, and how much the caller may access."""

import enum
from dataclasses import dataclass, field
from datetime import datetime

from router.audit.entry import Actor, ActorType


class Access(enum.IntEnum):
    """How much a key sees and changes; a wider access includes the narrower ones."""

    PROJECT = 1
    WORKSPACE = 2
    TENANT = 3
    PLATFORM = 4


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller that a valid key or token stands for.

    `id` is unique among principals and goes into logs and idempotency records, never a secret. A project's key knows
    its workspace too. The platform with its internal token has no tenant. `actor` is how the audit log calls it. Whoever `only_reads` may call nothing that changes something. `until` is when
    it ends, where that is soon.
    """

    id: str
    access: Access
    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    actor: Actor | None = field(default=None, compare=False)
    only_reads: bool = False
    until: datetime | None = None

    def covers(self, tenant_id: str, workspace_id: str | None = None, project_id: str | None = None) -> bool:
        """Whether what lies in that tenant, workspace and project is within its access."""
        match self.access:
            case Access.PLATFORM:
                return True
            case Access.TENANT:
                return tenant_id == self.tenant_id
            case Access.WORKSPACE:
                return tenant_id == self.tenant_id and workspace_id == self.workspace_id
            case Access.PROJECT:
                return tenant_id == self.tenant_id and project_id == self.project_id


PLATFORM = Principal(
    id="internal", access=Access.PLATFORM, actor=Actor(type=ActorType.PLATFORM, id="internal", scope="platform")
)
ANYBODY = Principal(id="anonymous", access=Access.PROJECT)
