"""Webhooks: the URL to which a customer's events are sent, their types, and the secret that signs them.

A webhook receives events of what lies in its project, its workspace, or anywhere in its tenant. The secret is shown once, when it is
made; the one before it stays good for a day, so that receivers can be changed one after the other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.tenancy.deliveries import Delivery, DeliveryState
from router.tenancy.destinations import MAX_URL, Destinations
from router.tenancy.events import Event
from router.tenancy.signatures import GRACE, good_secrets, new_secret
from router.tenancy.transaction import Tx
from router.tenancy.validation import BLANK, Fields, invalid

ALL = "*"  # every event
TEST = "webhook.test"
MAX_WEBHOOKS = 50  # webhooks of a tenant
MAX_TYPES = 50

OFF = "the webhook was switched off"

TYPE = r"\*|[a-z][a-z_]{0,38}\.([a-z][a-z_]{0,38}|\*)"  # what may be asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One of a tenant's. With a `project_id` it hears of that project alone, else with a `workspace_id` of that workspace.

    `event_types` are exact, as in `domain.verified`, all of a kind, as in `domain.*`, or ALL.
    """

    id: str
    tenant_id: str
    workspace_id: str | None = None
    project_id: str | None = None
    url: str
    event_types: tuple[str, ...]
    description: str = ""
    enabled: bool = True
    secret: str = field(repr=False)
    old_secret: str | None = field(default=None, repr=False)
    old_secret_until: datetime | None = None
    created_at: datetime
    updated_at: datetime

    def secrets(self, now: datetime) -> tuple[str, ...]:
        """Those that are good now, the current one first."""
        return good_secrets(self.secret, self.old_secret, self.old_secret_until, now)


class WebhookRows(Protocol):
    """Stored webhooks."""

    async def add(self, webhook: Webhook) -> None: ...

    async def get(self, webhook_id: str) -> Webhook | None: ...

    async def list(
        self, window: Window, *, tenant_id: str, workspace_id: str | None = None, project_id: str | None = None
    ) -> Listing[Webhook]:
        """The oldest first; each condition that is given narrows."""

    async def save(self, webhook: Webhook) -> None:
        """Store every field."""

    async def delete(self, webhook_id: str) -> None:
        """With its deliveries."""


class Webhooks:
    """The service of webhooks. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, destinations: Destinations) -> None:
        self._store = store
        self._clock = clock
        self._destinations = destinations

    async def create(
        self,
        tenant_id: str,
        *,
        url: str,
        event_types: Sequence[str],
        description: str = "",
        enabled: bool = True,
        workspace_id: str | None = None,
        project_id: str | None = None,
    ) -> Webhook:
        """A new one, with its secret.

        Raises RouterError: VALIDATION_FAILED (`url`, `event_types`, `description`, `workspace_id`, `project_id`), CONFLICT
        where the tenant has as many as it may.
        """
        types = self._checked(url, event_types, description)
        now = self._clock.now()
        async with self._store.begin() as tx:
            place = await _place(tx, tenant_id, workspace_id, project_id)
            if (await tx.webhooks.list(Window(limit=0), tenant_id=tenant_id)).total >= MAX_WEBHOOKS:
                raise RouterError(CONFLICT, f"An organization has at most {MAX_WEBHOOKS} webhooks.")
            webhook = Webhook(
                id=new_id(),
                tenant_id=tenant_id,
                workspace_id=place[0],
                project_id=place[1],
                url=url,
                event_types=types,
                description=description,
                enabled=enabled,
                secret=new_secret(),
                created_at=now,
                updated_at=now,
            )
            await tx.webhooks.add(webhook)
            return webhook

    async def get(self, webhook_id: str) -> Webhook:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return _found(await tx.webhooks.get(webhook_id))

    async def list(
        self,
        window: Window = FIRST,
        *,
        tenant_id: str,
        workspace_id: str | None = None,
        project_id: str | None = None,
    ) -> Listing[Webhook]:
        """The oldest first; each condition that is given narrows."""
        async with self._store.read() as tx:
            return await tx.webhooks.list(window, tenant_id=tenant_id, workspace_id=workspace_id, project_id=project_id)

    async def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        event_types: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Change what is given. Switching it off gives up its pending deliveries.

        Raises RouterError: NOT_FOUND, VALIDATION_FAILED as `create`.
        """
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = _found(await tx.webhooks.get(webhook_id))
            new = replace(
                old,
                url=old.url if url is None else url,
                event_types=old.event_types if event_types is None else tuple(event_types),
                description=old.description if description is None else description,
                enabled=old.enabled if enabled is None else enabled,
                updated_at=now,
            )
            types = self._checked(new.url, new.event_types, new.description)
            new = replace(new, event_types=types)
            await tx.webhooks.save(new)
            if old.enabled and not new.enabled:
                await tx.deliveries.give_up(webhook_id, OFF, now)
            return new

    async def rotate(self, webhook_id: str) -> Webhook:
        """Give it a new secret; the old one is good for GRACE. Raises RouterError: NOT_FOUND."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            old = _found(await tx.webhooks.get(webhook_id))
            new = replace(old, secret=new_secret(), old_secret=old.secret, old_secret_until=now + GRACE, updated_at=now)
            await tx.webhooks.save(new)
            return new

    async def delete(self, webhook_id: str) -> Webhook:
        """With its deliveries, those that are pending too. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            webhook = _found(await tx.webhooks.get(webhook_id))
            await tx.webhooks.delete(webhook_id)
            return webhook

    async def test(self, webhook_id: str) -> Delivery:
        """File an event `webhook.test` for it alone. Raises RouterError: NOT_FOUND, CONFLICT where it is switched off."""
        now = self._clock.now()
        async with self._store.begin() as tx:
            webhook = _found(await tx.webhooks.get(webhook_id))
            if not webhook.enabled:
                raise RouterError(CONFLICT, "The webhook is switched off.")
            event = Event(
                id=new_id(),
                type=TEST,
                tenant_id=webhook.tenant_id,
                workspace_id=webhook.workspace_id,
                project_id=webhook.project_id,
                data={"webhook_id": webhook.id},
                created_at=now,
            )
            return await tx.deliveries.file(webhook.id, event)

    async def replay(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Deliver an event once more. Raises RouterError: NOT_FOUND, CONFLICT where the webhook is switched off, or the
        delivery is still being tried."""
        async with self._store.begin() as tx:
            webhook = _found(await tx.webhooks.get(webhook_id))
            old = await tx.deliveries.get(delivery_id)
            if old is None or old.webhook_id != webhook.id:
                raise RouterError(NOT_FOUND, "delivery not found")
            if not webhook.enabled:
                raise RouterError(CONFLICT, "The webhook is switched off.")
            if old.state is DeliveryState.PENDING:
                raise RouterError(CONFLICT, "This delivery is still being tried.")
            return await tx.deliveries.replay(old.id, self._clock.now())

    async def deliveries(
        self, webhook_id: str, window: Window = FIRST, *, state: DeliveryState | None = None
    ) -> Listing[Delivery]:
        """The newest first."""
        async with self._store.read() as tx:
            return await tx.deliveries.list(webhook_id, window, state=state)

    def _checked(self, url: str, event_types: Sequence[str], description: str) -> tuple[str, ...]:
        """The types, each once. Raises RouterError VALIDATION_FAILED."""
        fields = Fields()
        fields.text("url", url, max_length=MAX_URL, required=True)
        refusal = self._destinations.refusal_of(url) if url.strip() else None
        if refusal is not None:
            fields.add("url", refusal)
        fields.text("description", description, max_length=255)
        types = tuple(dict.fromkeys(event_types))
        if not types:
            fields.add("event_types", BLANK)
        if len(types) > MAX_TYPES:
            fields.add("event_types", f"should have at most {MAX_TYPES} item(s)")
        for text in types:
            if not is_type(text):
                fields.add("event_types", f"{text[:80]!r} is no type, such as domain.verified or domain.*")
        fields.check()
        return types


def is_type(text: str) -> bool:
    """Whether a webhook may ask for it."""
    return re.fullmatch(TYPE, text) is not None


def _found(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise RouterError(NOT_FOUND, "webhook not found")
    return webhook


async def _place(
    tx: Tx, tenant_id: str, workspace_id: str | None, project_id: str | None
) -> tuple[str | None, str | None]:
    """The workspace and the project that it hears of. Raises RouterError VALIDATION_FAILED."""
    if project_id is not None:
        project = await tx.projects.get(project_id)
        if project is None or project.tenant_id != tenant_id:
            raise invalid("project_id", "does not exist")
        if workspace_id not in {None, project.workspace_id}:
            raise invalid("workspace_id", "is not the project's")
        return project.workspace_id, project.id
    if workspace_id is not None:
        workspace = await tx.workspaces.get(workspace_id)
        if workspace is None or workspace.tenant_id != tenant_id:
            raise invalid("workspace_id", "does not exist")
    return workspace_id, None
