"""One entry of the audit log, and what is asked of those that are kept."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from router.base.paging import Window

FAMILY: Final = ".*"  # behind a noun: whatever was done to it
MAX_NAME: Final = 255  # characters of a name or an id
MAX_USER_AGENT: Final = 200


class ActorType(enum.StrEnum):
    """Whose act it is."""

    API_KEY = "api_key"
    JWT = "jwt"
    PERSON = "person"
    PLATFORM = "platform"
    OPERATOR = "operator"
    SYSTEM = "system"


PLATFORMS: Final = frozenset({ActorType.PLATFORM, ActorType.OPERATOR})
PLATFORM_SCOPE: Final = "platform"  # of a key


class Via(enum.StrEnum):
    """By which way."""

    API = "api"
    CLI = "cli"
    SOCKET = "socket"
    JOB = "job"


class Outcome(enum.StrEnum):
    """What became of it. `failed`: a fault of ours; it may have changed something where a later step failed."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"

    @classmethod
    def of(cls, status: int) -> "Outcome":
        """The outcome that a status of HTTP says."""
        if status < 400:
            return cls.OK
        return cls.REFUSED if status < 500 else cls.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """`id` and `name` by type: of a key its id and name; of a JSON Web Token its subject and issuer; of a person in the
    console the subject and e-mail address of their tenant's login; `internal` of the platform's
    token; of an operator the number and name of the user of the operating system; of the system what it was doing."""

    type: ActorType
    id: str
    name: str | None = None
    scope: str | None = None


SYSTEM: Final = Actor(type=ActorType.SYSTEM, id="router")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`tenant_id` None: an act of the platform that is about no single tenant. `changes` has a field's name, and under it `old` and
    `new` where the values may be kept, else None. `count`: for how many equal refusals it stands."""

    id: str
    created_at: datetime
    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    actor_type: ActorType
    actor_id: str
    actor_name: str | None = None
    actor_scope: str | None = None
    via: Via
    action: str
    resource_type: str
    resource_id: str | None = None
    resource_name: str | None = None
    outcome: Outcome = Outcome.OK
    status: int | None = None
    code: str | None = None
    address: str | None = None
    request_id: str | None = None
    user_agent: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    count: int = 1

    @property
    def by_platform(self) -> bool:
        """Whether it is an act of the platform's own people, of whom a tenant sees no name."""
        return self.actor_type in PLATFORMS or self.actor_scope == PLATFORM_SCOPE


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Conditions of a list; None is no condition. `action` may end with FAMILY. `after` leaves out the entry of that `created_at`
    and id, and those that come before it in the list. `not_by_platform` leaves out acts of the platform's people."""

    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    actor_type: ActorType | None = None
    actor_id: str | None = None
    action: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    outcome: Outcome | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, str] | None = None
    not_by_platform: bool = False


class AuditRows(Protocol):
    """Stored entries. Nothing changes one but the end of its own act; nothing deletes one but retention."""

    async def put(self, entries: Sequence[Entry]) -> None:
        """Store entries; one that is there by its id gets what it says now."""

    async def get(self, entry_id: str) -> Entry | None: ...

    async def list(self, where: EntryFilter, window: Window) -> Sequence[Entry]:
        """The newest first."""

    async def count(self, where: EntryFilter) -> int:
        """How many there are; `after` is left aside."""

    async def over(self, most: int) -> Mapping[str | None, int]:
        """Tenants with more than `most` entries, and by how many."""

    async def trim(self, tenant_id: str | None, number: int) -> int:
        """Delete so many of a tenant: those of refused acts first, of each the oldest first; how many they were."""


class AuditTx(Protocol):
    """What the audit log needs of a transaction."""

    @property
    def audit(self) -> AuditRows: ...
