"""Resources: the sandboxes, computers and deployments that hosts lead to; their values and what is stored of them.

The platform runs them, and says what exists (`resource_service.py`), in which state (`lifecycle.py`) and where it listens
(`endpoints.py`). A deleted resource leaves a tombstone under its slug, and so does one that is given another slug: the
old hosts answer 410, and only the same tenant may use the slug again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypedDict

from router.base.paging import Listing, Window
from router.errors import NOT_FOUND, RouterError
from router.hostname import InvalidNameError, canonical_name
from router.routes.policies import Visibility
from router.routes.records import AUTO, H2C, HTTP1, LOCALHOST, PRESERVE, Kind, ListeningSocket, State
from router.routes.wakes import Wake
from router.tenancy.validation import Fields

MAX_PORTS = 256  # exposed ports of one resource
SCHEMES = ("http", "https")
PROTOCOLS = (HTTP1, H2C)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource. `host_modes` maps a port to `auto`, `preserve`, `localhost` or a custom Host, `schemes` one to `https`
    where its program speaks TLS, `protocols` one to `h2c` where it speaks HTTP/2 only; `first_byte` is in seconds.
    `visibility` is that of its ports that have none of their own, `wake` says whose requests wake it, `keeps_awake` whether its
    traffic counts as use; None is the tenant's of each. `identity` is whether the programs on those that say nothing else are
    told who their visitors are. The headers and bodies of its exchanges are captured until `capture_until`, which `capture_by`, a
    principal's id, wanted at `capture_since`; None where they are not.

    `auto_stop_seconds` 0 is never. It and `options` say what the customer asks of the platform; nothing here acts on
    them.
    """

    id: str
    kind: Kind
    slug: str
    tenant_id: str
    workspace_id: str
    project_id: str
    name: str | None = None
    state: State = State.PROVISIONING
    suspended: bool = False
    default_port: int | None = None
    exposed_ports: frozenset[int] = frozenset()
    host_modes: Mapping[int, str] = field(default_factory=dict)
    schemes: Mapping[int, str] = field(default_factory=dict)
    protocols: Mapping[int, str] = field(default_factory=dict)
    first_byte: float | None = None
    visibility: Visibility | None = None
    wake: Wake | None = None
    keeps_awake: bool | None = None
    identity: bool = False
    capture_since: datetime | None = None
    capture_until: datetime | None = None
    capture_by: str | None = None
    size: str | None = None
    template_type: str | None = None
    vcpus: int | None = None
    memory_mb: int | None = None
    disk_gb: int | None = None
    auto_stop_seconds: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


class ResourceDetails(TypedDict, total=False):
    """What callers say about a resource beside what it is and whose; absent keys stay as they are."""

    name: str | None
    default_port: int | None
    exposed_ports: frozenset[int]
    host_modes: Mapping[int, str]
    schemes: Mapping[int, str]
    protocols: Mapping[int, str]
    first_byte: float | None
    visibility: Visibility | None
    wake: Wake | None
    keeps_awake: bool | None
    identity: bool
    size: str | None
    template_type: str | None
    vcpus: int | None
    memory_mb: int | None
    disk_gb: int | None
    auto_stop_seconds: int | None
    options: Mapping[str, Any]
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceFilter:
    """Conditions of a list; None and nothing are no condition. Of `tags` a resource must have every one, of `states` be in
    one. `after` leaves out the resource of that `created_at` and id, and those that come before it.
    """

    kind: Kind | None = None
    tenant_id: str | None = None
    workspace_id: str | None = None
    project_id: str | None = None
    state: State | None = None
    states: tuple[State, ...] = ()
    name: str | None = None
    tags: tuple[str, ...] = ()
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None
    after: tuple[datetime, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How the workspace and the project that a resource lies in are called."""

    workspace_slug: str
    workspace_name: str
    project_slug: str
    project_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A slug that a resource had before it was deleted, or before it was given another one."""

    slug: str
    resource_id: str
    tenant_id: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEndpoint:
    """Where a resource, or one version of a deployment, listens now. `state` is the resource's."""

    resource_id: str
    version_id: str | None = None
    address: str
    generation: str
    ports: Mapping[int, int] = field(default_factory=dict)
    listening: tuple[ListeningSocket, ...] | None = None
    state: State
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class LastUse:
    """When a resource last answered, and whether its traffic counts as use."""

    at: datetime
    counted: bool


@dataclass(frozen=True, slots=True)
class UsedBy:
    """Use of the resource `by` is use of the resource `id`: the same one, or a sandbox that a deployment is served from."""

    id: str
    by: str
    counted: bool


class ResourceRows(Protocol):
    """Stored resources. What changes one of them counts as a change of its records."""

    async def add(self, resource: Resource) -> None: ...

    async def get(self, resource_id: str) -> Resource | None:
        """A deleted one too: it has `deleted_at`."""

    async def get_many(self, ids: Collection[str]) -> Mapping[str, Resource]:
        """Those that exist, by id, deleted ones too."""

    async def by_slug(self, slug: str) -> Resource | None:
        """Never a deleted one."""

    async def list(self, where: ResourceFilter, window: Window) -> Listing[Resource]:
        """The newest first. The total leaves `after` aside."""

    async def save(self, old: Resource, new: Resource) -> None:
        """Store every field of `new`; `old` is what was read before."""

    async def enter(self, ids: Collection[str], state: State, now: datetime) -> None:
        """Store the state of each."""

    async def places(self, project_ids: Collection[str]) -> Mapping[str, Place]:
        """By the id of the project."""

    async def slug_taken(self, slug: str) -> bool:
        """Whether a resource or a tombstone has it."""

    async def add_tombstone(self, tombstone: Tombstone) -> None: ...

    async def remove_tombstone(self, slug: str) -> None: ...

    async def tombstone(self, slug: str) -> Tombstone | None: ...

    async def endpoints(self, resource_id: str) -> Sequence[StoredEndpoint]:
        """The resource's own first, then its versions'."""

    async def put_endpoints(self, endpoints: Sequence[StoredEndpoint]) -> None:
        """Store each in the place of the one that the resource or the version had."""

    async def drop_endpoint(self, resource_id: str, version_id: str | None) -> bool:
        """Delete the resource's own endpoint or one version's; whether there was one."""

    async def drop_endpoints(self, resource_id: str) -> None:
        """Delete all of them."""

    async def drop_previews(self, resource_id: str) -> None:
        """Delete its previews, and all secrets that open its ports."""

    async def version_exists(self, resource_id: str, version_id: str) -> bool:
        """Whether the deployment has that version."""

    async def seen(self, seen: Mapping[str, datetime]) -> None:
        """Store when each was last used; ids that do not exist are ignored."""

    async def activity(self, since: datetime | None, *, counted: bool) -> Mapping[str, datetime]:
        """Of those whose traffic counts as use now, or of the others."""

    async def last_used(self, ids: Collection[str]) -> Mapping[str, LastUse]:
        """Those of these that were ever used."""

    async def not_seen(self, seen: Mapping[str, datetime]) -> Collection[str]:
        """Those of these resources that exist and of which an earlier use is stored, or none."""

    async def uses_by(self, ids: Collection[str]) -> Sequence[UsedBy]:
        """Which resources are in use where these are used."""

    async def uses_of(self, ids: Collection[str]) -> Sequence[UsedBy]:
        """By whose use these resources are in use."""


def live(resource: Resource | None, kind: Kind | None = None) -> Resource:
    """The resource, where it exists now. Raises RouterError NOT_FOUND."""
    if resource is None or resource.deleted_at is not None or kind not in (None, resource.kind):
        raise RouterError(NOT_FOUND, f"{kind or 'resource'} not found")
    return resource


def check_port(fields: Fields, name: str, port: int, reserved: Collection[int]) -> None:
    """A port that may be reached from outside: the platform's agents inside a machine never are."""
    fields.port(name, port)
    if port in reserved:
        fields.add(name, "is reserved by the platform")


def check_host_mode(fields: Fields, name: str, mode: str) -> None:
    """`auto`, `preserve`, `localhost`, or a host name that the backend is to see."""
    if mode in (AUTO, PRESERVE, LOCALHOST):
        return
    try:
        canonical_name(mode)
    except InvalidNameError:
        fields.add(name, "must be auto, preserve, localhost or a host name")


def check_scheme(fields: Fields, name: str, scheme: str) -> None:
    """What the program on a port speaks: `http`, or `https` where it terminates TLS by itself."""
    if scheme not in SCHEMES:
        fields.add(name, f"must be one of {', '.join(SCHEMES)}")


def check_protocol(fields: Fields, name: str, protocol: str) -> None:
    """What the program on a port takes: `http1`, or `h2c` where it takes nothing but HTTP/2."""
    if protocol not in PROTOCOLS:
        fields.add(name, f"must be one of {', '.join(PROTOCOLS)}")
