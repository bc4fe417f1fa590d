"""Events of who may open previews, in the transaction of the change. None has a secret, its beginning or its hash.

    preview.share_created, preview.share_revoked     a link for people
    preview.token_created, preview.token_revoked     a named token for programs
    preview.password_created, preview.password_revoked   a password for people
    preview.visibility_changed                       of one port

`lifecycle.py` tells of a whole resource's visibility, `tenants.py` of a tenant's.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from router.base.clock import iso
from router.base.ids import new_id
from router.routes.policies import SecretKind, Visibility
from router.tenancy.events import Event
from router.tenancy.resources import Resource
from router.tenancy.transaction import Tx

if TYPE_CHECKING:
    from router.tenancy.preview_secrets import PreviewSecret
    from router.tenancy.previews import Preview

_NOUNS: Final = {
    SecretKind.PROGRAM: "token",
    SecretKind.LINK: "share",
    SecretKind.ONCE: "share",
    SecretKind.PASSWORD: "password",
}


async def tell_of_secrets(
    tx: Tx,
    resource: Resource,
    preview: "Preview | None",
    secrets: "Iterable[PreviewSecret]",
    happened: str,
    now: datetime,
) -> None:
    """Of secrets of a preview, or of the resource as a whole; `happened` is `created` or `revoked`."""
    events = []
    for secret in secrets:
        noun = _NOUNS[secret.kind]
        data = {
            f"{noun}_id": secret.id,
            **(
                {}
                if secret.kind is SecretKind.PASSWORD
                else {"name": secret.name, "once": secret.kind is SecretKind.ONCE}
            ),
            "expires_at": None if secret.expires_at is None else iso(secret.expires_at),
        }
        events.append(_event(resource, preview, f"{noun}_{happened}", now, data))
    if events:
        await tx.events.add(events)


async def tell_of_visibility(
    tx: Tx, resource: Resource, preview: "Preview", was: Visibility | None, now: datetime
) -> None:
    """Where it has changed; None is as its resource says."""
    if preview.visibility != was:
        data = {"visibility": preview.visibility, "was": was}
        await tx.events.add([_event(resource, preview, "visibility_changed", now, data)])


def _event(resource: Resource, preview: "Preview | None", happened: str, now: datetime, data: dict[str, Any]) -> Event:
    port = None if preview is None else preview.port
    return Event(
        id=new_id(),
        type=f"preview.{happened}",
        tenant_id=resource.tenant_id,
        workspace_id=resource.workspace_id,
        project_id=resource.project_id,
        resource_id=resource.id,
        data={"preview_id": None if preview is None else preview.id, "port": port, **data},
        created_at=now,
    )
