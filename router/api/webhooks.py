"""/webhooks: the URLs to which a customer's events are sent. A secret is shown once, when it is made."""

from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field

from router.api.authorization import authorize, authorize_place, list_conditions
from router.api.models import Exact, Id, Instant, Out, Paging
from router.api.operations import Call, Data, Handlers, Paged, operation
from router.api.principal import Access, Principal
from router.errors import CONFLICT, NOT_FOUND
from router.tenancy.deliveries import DeliveryState
from router.tenancy.destinations import MAX_URL
from router.tenancy.projects import Projects
from router.tenancy.webhooks import MAX_TYPES, TYPE, Webhook, Webhooks, is_type
from router.tenancy.workspaces import Workspaces


def _type(text: str) -> str:
    if not is_type(text):
        raise ValueError("must be a type, such as domain.verified, or domain.* for all of a kind, or *")
    return text


EventType = Annotated[str, AfterValidator(_type), Field(json_schema_extra={"pattern": f"^({TYPE})$"})]
_EITHER_NAME = Field(validation_alias=AliasChoices("event_types", "events"))
EventTypes = Annotated[
    list[EventType],
    Field(
        min_length=1,
        max_length=MAX_TYPES,
        description="Which events: exact types, `domain.*` for all of a kind, `*` for all. The clients send `events` for "
        "`event_types`.",
        examples=[["domain.*", "certificate.failed"]],
    ),
]
Url = Annotated[
    str,
    Field(
        max_length=MAX_URL,
        description="Where to POST them: https, at a public address.",
        json_schema_extra={"format": "uri"},
        examples=["https://hooks.example.com/miosa"],
    ),
]
Words = Annotated[str, Field(max_length=255, description="What it is for.")]


class CreateWebhook(Exact):
    """Without `workspace_id` and `project_id` it hears of everything that the key reaches."""

    url: Url
    event_types: Annotated[EventTypes, _EITHER_NAME]
    description: Words = ""
    enabled: bool = True
    workspace_id: Annotated[Id | None, Field(description="Hear of this workspace alone.")] = None
    project_id: Annotated[Id | None, Field(description="Hear of this project alone.")] = None


class PatchWebhook(Exact):
    """What is not sent keeps its value."""

    url: Url | None = None
    event_types: Annotated[EventTypes | None, _EITHER_NAME] = None
    description: Words | None = None
    enabled: bool | None = None


class WebhookQuery(Paging):
    workspace_id: Id | None = None
    project_id: Id | None = None


class DeliveryQuery(Paging):
    state: DeliveryState | None = None


class WebhookOut(Out):
    """`workspace_id` and `project_id` are null where it hears of more than one."""

    id: str
    tenant_id: str
    workspace_id: str | None
    project_id: str | None
    url: str
    event_types: list[str]
    events: Annotated[list[str], Field(description="The same.")]
    description: str
    enabled: bool
    created_at: Instant
    updated_at: Instant


class NewWebhookOut(WebhookOut):
    secret: Annotated[
        str | None, Field(description="What we sign with, this once; null where the answer is a replayed one.")
    ]


class DeliveryOut(Out):
    """One event on its way: `pending` until it is `delivered`, or `given_up` after a day. The `last_…` are of the latest
    try; `last_answer` is how its answer began."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    state: DeliveryState
    attempts: int
    created_at: Instant
    next_at: Instant | None
    last_at: Instant | None
    last_status: int | None
    last_error: str | None
    last_answer: str | None


class WebhooksApi(Handlers):
    tag = "Webhooks"
    prefix = "/api/v1/webhooks"

    def __init__(self, *, webhooks: Webhooks, workspaces: Workspaces, projects: Projects) -> None:
        self._webhooks = webhooks
        self._workspaces = workspaces
        self._projects = projects

    @operation("GET", "", "List webhooks")
    async def list(self, call: Call[None, WebhookQuery]) -> Paged[WebhookOut]:
        """The oldest first; never their secrets."""
        query = call.query
        where = list_conditions(call.principal, query.workspace_id, query.project_id)
        if call.principal.access is Access.PROJECT:
            where["workspace_id"] = query.workspace_id  # a project that was moved keeps its webhooks
        found = await self._webhooks.list(query.window, **where)
        return Paged([_shown(webhook) for webhook in found.items], found.total)

    @operation("POST", "", "Create a webhook", status=201, problems=(CONFLICT, NOT_FOUND))
    async def create(self, call: Call[CreateWebhook]) -> Data[NewWebhookOut]:
        """The answer is the only time that the secret is shown. Each POST is signed: `Miosa-Signature: t=…,v1=…`, the
        HMAC-SHA256 under the secret of the time, a dot and the body, in hexadecimal digits; `X-MIOSA-Signature: sha256=…`,
        of the body alone; and `webhook-signature`, as the Standard Webhooks specification has it."""
        body = call.body
        if body.project_id is not None:
            project = await self._projects.get(body.project_id)
            authorize_place(call.principal, "project", project.tenant_id, project.workspace_id, project.id)
        if body.workspace_id is not None:
            workspace = await self._workspaces.get(body.workspace_id)
            authorize_place(call.principal, "workspace", workspace.tenant_id, workspace.id)
        place = list_conditions(call.principal, body.workspace_id, body.project_id)
        webhook = await self._webhooks.create(
            url=body.url,
            event_types=body.event_types,
            description=body.description,
            enabled=body.enabled,
            **place,
        )
        return _once(webhook)

    @operation("GET", "/{id}", "Get a webhook")
    async def get(self, call: Call) -> Data[WebhookOut]:
        return Data(_shown(await self._authorized(call.principal, call.ids["id"])))

    @operation("PATCH", "/{id}", "Change a webhook")
    async def patch(self, call: Call[PatchWebhook]) -> Data[WebhookOut]:
        """What it has still to deliver goes to the new URL; one that is switched off gives it up."""
        webhook = await self._authorized(call.principal, call.ids["id"])
        body = call.body
        return Data(
            _shown(
                await self._webhooks.update(
                    webhook.id,
                    url=body.url,
                    event_types=body.event_types,
                    description=body.description,
                    enabled=body.enabled,
                )
            )
        )

    @operation("DELETE", "/{id}", "Delete a webhook")
    async def delete(self, call: Call) -> Data[WebhookOut]:
        """With its deliveries, those that are pending too."""
        webhook = await self._authorized(call.principal, call.ids["id"])
        return Data(_shown(await self._webhooks.delete(webhook.id)))

    @operation("POST", "/{id}/rotate", "Give a webhook a new secret")
    async def rotate(self, call: Call) -> Data[NewWebhookOut]:
        """For a day we sign with the old one too, so that receivers can be changed one after the other."""
        webhook = await self._authorized(call.principal, call.ids["id"])
        return _once(await self._webhooks.rotate(webhook.id))

    @operation("POST", "/{id}/test", "Send a test event", status=202, problems=(CONFLICT,))
    async def test(self, call: Call) -> Data[DeliveryOut]:
        """An event `webhook.test`, to this webhook alone; what comes of it is in its deliveries."""
        webhook = await self._authorized(call.principal, call.ids["id"])
        return Data(DeliveryOut.model_validate(await self._webhooks.test(webhook.id)))

    @operation("GET", "/{id}/deliveries", "List the deliveries of a webhook")
    async def deliveries(self, call: Call[None, DeliveryQuery]) -> Paged[DeliveryOut]:
        """The newest first. They are kept as long as their events."""
        webhook = await self._authorized(call.principal, call.ids["id"])
        found = await self._webhooks.deliveries(webhook.id, call.query.window, state=call.query.state)
        return Paged([DeliveryOut.model_validate(delivery) for delivery in found.items], found.total)

    @operation(
        "POST", "/{id}/deliveries/{delivery_id}/replay", "Deliver an event again", status=202, problems=(CONFLICT,)
    )
    async def replay(self, call: Call) -> Data[DeliveryOut]:
        """As a delivery of its own, whatever came of the first; an Idempotency-Key keeps it from being queued twice."""
        webhook = await self._authorized(call.principal, call.ids["id"])
        return Data(DeliveryOut.model_validate(await self._webhooks.replay(webhook.id, call.ids["delivery_id"])))

    async def _authorized(self, principal: Principal, webhook_id: str) -> Webhook:
        webhook = await self._webhooks.get(webhook_id)
        authorize(principal, webhook, "webhook")
        return webhook


def _shown(webhook: Webhook) -> WebhookOut:
    return WebhookOut(
        **{name: getattr(webhook, name) for name in WebhookOut.model_fields if name not in {"event_types", "events"}},
        event_types=list(webhook.event_types),
        events=list(webhook.event_types),
    )


def _once(webhook: Webhook) -> Data[NewWebhookOut]:
    shown = _shown(webhook).model_dump()
    return Data(NewWebhookOut(**shown, secret=webhook.secret), kept=NewWebhookOut(**shown, secret=None))
