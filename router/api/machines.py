"""What sandboxes and computers share: the fields of their requests and responses, how they are authorized and shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from router.api.authorization import authorize
from router.api.blocked import BlockedOut, blocked
from router.api.links import LinkOut, Links, shown
from router.api.models import (
    MAX_TAG,
    MAX_TAGS,
    Choice,
    Exact,
    ExternalId,
    HostSlug,
    Instant,
    Metadata,
    Name,
    Out,
    Port,
    Tags,
)
from router.api.operations import Call
from router.api.ownership_fields import OwnershipBody, OwnershipQuery
from router.api.principal import Principal
from router.routes.policies import Visibility
from router.routes.records import Kind, State
from router.routes.wakes import Wake
from router.tenancy.blocks import Blocks
from router.tenancy.resource_service import MAX_SECONDS, Resources
from router.tenancy.resources import LastUse, Place, Resource, ResourceDetails, ResourceFilter
from router.tenancy.sizes import SIZES

_TAG_LIST = rf"^[^,\u0000]{{1,{MAX_TAG}}}(,[^,\u0000]{{1,{MAX_TAG}}}){{0,{MAX_TAGS - 1}}}$"

SizeName = Annotated[str, Field(max_length=20, json_schema_extra={"enum": list(SIZES)})]
Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS, description="0 is never.")]
DefaultPort = Annotated[
    Port,
    Field(description="What hosts without a port lead to; where there is none, to the port that was exposed first."),
]

MachineVisibility = Annotated[
    Choice[Visibility],
    Field(
        description=(
            "Who gets into its ports that say nothing else; null is the organization's `default_visibility`. Previews say "
            "what each word means."
        )
    ),
]

MachineWake = Annotated[
    Choice[Wake],
    Field(
        description=(
            "Whose request wakes it while it is paused or stopped: nobody's (`off`), everybody's who may open the port (`any`), "
            "or only of who had to show that they may (`authorised`), so never one for a public port. Null is the "
            "organization's `default_wake`."
        )
    ),
]
KeepsAwake = Annotated[
    bool,
    Field(
        description=(
            "Whether its traffic counts as use, which keeps it from being stopped. Null is the organization's "
            "`default_keeps_awake`."
        )
    ),
]
Identity = Annotated[
    bool,
    Field(
        description=(
            "Whether the program is told who each visitor is, by `X-Miosa-Identity`: a JSON Web Token that it can verify "
            "with the keys at `/.well-known/jwks.json`."
        )
    ),
]


def _tags(value: str) -> str:
    tags = value.split(",")
    if len(tags) > MAX_TAGS or not all(0 < len(tag) <= MAX_TAG for tag in tags):
        raise ValueError("is invalid")
    return value


TagList = Annotated[str, AfterValidator(_tags), Field(json_schema_extra={"pattern": _TAG_LIST})]


class CreateMachine(OwnershipBody):
    """What both creates take beside the ownership fields."""

    name: Name | None = None
    slug: Annotated[HostSlug | None, Field(description="One is made where none is given.")] = None
    size: SizeName | None = None
    default_port: DefaultPort | None = None
    visibility: MachineVisibility | None = None
    wake: MachineWake | None = None
    keeps_awake: KeepsAwake | None = None
    identity: Identity = False
    tags: Tags = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=dict)

    def common(self) -> ResourceDetails:
        """These fields as `Resources` takes them."""
        return {
            "name": self.name,
            "size": self.size,
            "default_port": self.default_port,
            "visibility": self.visibility,
            "wake": self.wake,
            "keeps_awake": self.keeps_awake,
            "identity": self.identity,
            "tags": tuple(dict.fromkeys(self.tags)),
            "metadata": self.metadata,
        }


class PatchMachine(Exact):
    """What both updates take. What is not sent keeps its value; null clears it."""

    name: Name | None = None
    slug: HostSlug | None = None
    default_port: DefaultPort | None = None
    visibility: MachineVisibility | None = None
    wake: MachineWake | None = None
    keeps_awake: KeepsAwake | None = None
    identity: Identity | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None
    external_workspace_id: ExternalId | None = None
    external_user_id: ExternalId | None = None
    external_project_id: ExternalId | None = None

    def common(self) -> ResourceDetails:
        """Those of these fields that were sent, as `Resources` takes them."""
        given: Any = {name: value for name, value in self.given().items() if name in PatchMachine.model_fields}
        given.pop("slug", None)
        if "tags" in given:
            given["tags"] = tuple(dict.fromkeys(self.tags or ()))
        if "identity" in given:
            given["identity"] = self.identity is True
        if "metadata" in given:
            given["metadata"] = self.metadata or {}
        details: ResourceDetails = given
        return details


class MachineQuery(OwnershipQuery):
    """`status` and `state` are two names of the same condition."""

    status: State | None = None
    state: State | None = None
    name: Name | None = None
    tags: Annotated[TagList | None, Field(description="All of them, between commas.")] = None

    def where(self, principal: Principal, kind: Kind) -> ResourceFilter:
        """What was asked for, inside what the caller may see. Raises RouterError FORBIDDEN."""
        return ResourceFilter(
            **self.conditions(principal),
            kind=kind,
            state=self.state or self.status,
            name=self.name,
            tags=tuple(self.tags.split(",")) if self.tags else (),
        )


class MachineOut(Out):
    """What both answers show."""

    id: str
    name: str | None
    slug: str
    status: State
    state: State
    size: str | None
    tenant_id: str
    workspace_id: str
    workspace_slug: str | None
    workspace_name: str | None
    project_id: str
    project_slug: str | None
    project_name: str | None
    external_workspace_id: str | None
    external_user_id: str | None
    external_project_id: str | None
    cpu_count: int | None
    memory_mb: int | None
    default_port: int | None
    visibility: Annotated[Visibility | None, Field(description="Null is the organization's `default_visibility`.")]
    wake: Annotated[Wake | None, Field(description="Null is the organization's `default_wake`.")]
    keeps_awake: Annotated[bool | None, Field(description="Null is the organization's `default_keeps_awake`.")]
    identity: Annotated[bool, Field(description="That of its ports that say nothing else.")]
    exposed_ports: list[int]
    tags: list[str]
    metadata: Metadata
    blocked: BlockedOut | None
    preview_url: str
    fallback_url: str
    preview_domain: str
    url_class: str
    stable_for_embedding: bool
    recommended_next_action: str
    url_info: LinkOut
    last_activity_at: Annotated[
        Instant | None,
        Field(
            description="When it was last used, some seconds late; null where it never was, or its traffic does not count."
        ),
    ]
    last_uncounted_activity_at: Annotated[
        Instant | None,
        Field(description="The same where `keeps_awake` is false: traffic that does not keep it running."),
    ]
    created_at: Instant
    updated_at: Instant
    destroyed_at: Instant | None


async def authorized_machine(resources: Resources, call: Call[Any, Any], kind: Kind) -> Resource:
    """The machine of the path. Raises RouterError: NOT_FOUND, FORBIDDEN."""
    resource = await resources.get(call.ids["id"], kind)
    authorize(call.principal, resource, kind.value)
    return resource


class Presenter:
    """Shows machines: each with the names of where it lies and the URL at which it is reached."""

    def __init__(self, *, resources: Resources, blocks: Blocks, links: Links) -> None:
        self._resources = resources
        self._blocks = blocks
        self._links = links

    async def fields(self, resources: Sequence[Resource]) -> list[dict[str, Any]]:
        """The fields of `MachineOut` of each. All belong to one tenant."""
        places = await self._resources.places(resources)
        links = await self._links.of(resources)
        ids = [resource.id for resource in resources]
        blocks = await self._blocks.of_resources(ids)
        used = await self._resources.last_used(ids)
        return [
            _fields(resource, places.get(resource.project_id), shown(link))
            | {"blocked": blocked(blocks.get(resource.id))}
            | _last_use(used.get(resource.id))
            for resource, link in zip(resources, links, strict=True)
        ]


def _last_use(use: LastUse | None) -> dict[str, datetime | None]:
    at, counted = (None, True) if use is None else (use.at, use.counted)
    return {"last_activity_at": at if counted else None, "last_uncounted_activity_at": None if counted else at}


def _fields(resource: Resource, place: Place | None, link: LinkOut) -> dict[str, Any]:
    return {
        "id": resource.id,
        "name": resource.name,
        "slug": resource.slug,
        "status": resource.state,
        "state": resource.state,
        "size": resource.size,
        "tenant_id": resource.tenant_id,
        "workspace_id": resource.workspace_id,
        "workspace_slug": place and place.workspace_slug,
        "workspace_name": place and place.workspace_name,
        "project_id": resource.project_id,
        "project_slug": place and place.project_slug,
        "project_name": place and place.project_name,
        "external_workspace_id": resource.external_workspace_id,
        "external_user_id": resource.external_user_id,
        "external_project_id": resource.external_project_id,
        "cpu_count": resource.vcpus,
        "memory_mb": resource.memory_mb,
        "default_port": resource.default_port,
        "visibility": resource.visibility,
        "wake": resource.wake,
        "keeps_awake": resource.keeps_awake,
        "identity": resource.identity,
        "exposed_ports": sorted(resource.exposed_ports),
        "tags": list(resource.tags),
        "metadata": dict(resource.metadata),
        "preview_url": link.url,
        **{name: getattr(link, name) for name in LinkOut.model_fields if name != "url"},
        "url_info": link,
        "created_at": resource.created_at,
        "updated_at": resource.updated_at,
        "destroyed_at": resource.deleted_at,
    }
