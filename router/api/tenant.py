"""/tenant: the caller's own tenant, its plan and its branding of our pages. Its preview domain is `preview_domains.py`'s."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from router.api.authorization import tenant_of
from router.api.models import NOT_BLANK, Choice, Deleted, Exact, Instant, Name, Out, stripped
from router.api.operations import Bare, Call, Data, Handlers, operation
from router.api.principal import Access
from router.routes.policies import Visibility
from router.routes.wakes import Wake
from router.settings import Limits, Rates
from router.tenancy.tenants import Tenant, Tenants

# An address as it may stand in a page: a plain host, and nothing that ends an attribute.
_ADDRESS = r"https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?([/?#][!#-&(-;=?-\[\]-~]*)?"
_IMAGE = r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}"

ProductName = Annotated[
    str, StringConstraints(min_length=1, max_length=60), AfterValidator(stripped), Field(json_schema_extra=NOT_BLANK)
]
Address = Annotated[str, Field(max_length=2048, pattern=f"^{_ADDRESS}$", examples=["https://help.example.com"])]
Email = Annotated[str, Field(pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$")]
Image = Annotated[str, Field(max_length=65536, pattern=f"^({_IMAGE}|{_ADDRESS})$")]
Colour = Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$", examples=["#4338ca"])]


class Marks(Exact):  # the branding; its name and MarksOut's stand in the OpenAPI document
    """What is absent or null is the platform's own."""

    product_name: ProductName | None = None
    logo_url: Annotated[
        Image | None, Field(description="A data: URI of an image shows on our pages, an https address does not.")
    ] = None
    support_url: Address | None = None
    support_email: Email | None = None
    primary_color: Colour | None = None
    primary_color_dark: Colour | None = None
    background_color: Colour | None = None


class PutBranding(Exact):
    branding: Marks


class PatchTenant(Exact):
    """What is not sent keeps its value."""

    name: Name = Field(default_factory=str)
    default_visibility: Annotated[
        Choice[Visibility],
        Field(
            default=Visibility.PUBLIC,
            description="Who gets into what says nothing else: machines, deployments and previews without a `visibility`.",
        ),
    ]
    default_wake: Annotated[
        Choice[Wake],
        Field(
            default=Wake.OFF,
            description="Whose request wakes a sandbox or computer that is paused or stopped and has no `wake` of its own.",
        ),
    ]
    default_keeps_awake: Annotated[
        bool,
        Field(
            default=True,
            description="Whether the traffic of a sandbox or computer without a `keeps_awake` of its own counts as use.",
        ),
    ]
    pings_keep_awake: Annotated[
        bool,
        Field(
            default=True,
            description=(
                "Whether an open WebSocket is use while nothing but pings and pongs passes. One that is open already follows "
                "when it connects anew."
            ),
        ),
    ]
    auto_expose: Annotated[
        bool, Field(default_factory=bool, description="Every port of every resource is routable without being exposed.")
    ]


class MarksOut(Out):
    product_name: str | None = None
    logo_url: str | None = None
    support_url: str | None = None
    support_email: str | None = None
    primary_color: str | None = None
    primary_color_dark: str | None = None
    background_color: str | None = None


class TenantOut(Out):
    id: str
    slug: str
    name: str
    plan: str
    auto_expose: bool
    default_visibility: Visibility
    default_wake: Wake
    default_keeps_awake: bool
    pings_keep_awake: bool
    suspended: bool
    created_at: Instant
    updated_at: Instant


class LimitsOut(Out):
    requests_per_minute: int
    exchanges_per_resource: int


class HoldingsOut(Out):
    workspaces: int
    projects: int
    sandboxes: int
    computers: int
    deployments: int
    custom_domains: int


class PlanOut(Out):
    tenant_id: str
    name: str
    plan: str
    limits: LimitsOut
    usage: HoldingsOut


class TenantApi(Handlers):
    tag = "Tenant"
    prefix = "/api/v1/tenant"

    def __init__(self, tenants: Tenants, *, limits: Limits, rates: Rates) -> None:
        self._tenants = tenants
        self._limits = LimitsOut(
            requests_per_minute=rates.workspace, exchanges_per_resource=limits.exchanges_per_resource
        )

    @operation("GET", "", "Get the tenant", access=Access.TENANT)
    async def get(self, call: Call) -> Data[TenantOut]:
        return Data(TenantOut.model_validate(await self._tenants.get(tenant_of(call.principal))))

    @operation("PATCH", "", "Update the tenant", access=Access.TENANT)
    async def update(self, call: Call[PatchTenant]) -> Data[TenantOut]:
        """`auto_expose` and the defaults hold for every resource when this answers."""
        tenant = await self._tenants.update(tenant_of(call.principal), **call.body.given())
        return Data(TenantOut.model_validate(tenant))

    @operation("GET", "/plan", "Get the tenant's plan, limits and what it has", access=Access.TENANT)
    async def plan(self, call: Call) -> Data[PlanOut]:
        """Requests count per workspace, exchanges per resource and proxy process."""
        tenant = await self._tenants.get(tenant_of(call.principal))
        usage = HoldingsOut.model_validate(await self._tenants.holdings(tenant.id))
        return Data(PlanOut(tenant_id=tenant.id, name=tenant.name, plan=tenant.plan, limits=self._limits, usage=usage))

    @operation("GET", "/branding", "Get the tenant's marks", access=Access.TENANT)
    async def branding(self, call: Call) -> Data[MarksOut]:
        return Data(_branding(await self._tenants.get(tenant_of(call.principal))))

    @operation("PUT", "/branding", "Set the tenant's marks", access=Access.TENANT)
    async def put_branding(self, call: Call[PutBranding]) -> Data[MarksOut]:
        """In the place of those that were set. Pages about its previews show them when this answers."""
        branding = call.body.branding.model_dump(exclude_none=True)
        return Data(_branding(await self._tenants.update(tenant_of(call.principal), branding=branding)))

    @operation("DELETE", "/branding", "Clear the tenant's marks", access=Access.TENANT)
    async def delete_branding(self, call: Call) -> Bare[Deleted]:
        await self._tenants.update(tenant_of(call.principal), branding={})
        return Bare(Deleted(deleted=True))


def _branding(tenant: Tenant) -> MarksOut:
    return MarksOut(**tenant.branding)
