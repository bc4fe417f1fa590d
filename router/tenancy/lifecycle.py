"""The life of a resource: every change of state, owner or size goes through here, so that usage and events follow.

    (nothing) → provisioning → starting → running ⇄ paused, stopping → stopped → starting …, error
    any → destroyed: for good

The platform decides which state a resource is in, in whatever order its calls arrive; only `destroyed` is final.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from router.base.ids import new_id
from router.routes.records import State
from router.tenancy.events import Event
from router.tenancy.resources import Resource, Tombstone
from router.tenancy.transaction import Tx


async def begin(tx: Tx, resource: Resource) -> None:
    """Store a new resource."""
    await tx.resources.add(resource)
    await tx.usage.record([resource], resource.created_at)
    await _emit_event(tx, resource, "created", resource.created_at, state=resource.state)


async def change(tx: Tx, old: Resource, new: Resource, now: datetime) -> None:
    """Store a change of details, owner or slug; the state stays.

    Visitors of an old link must not reach the next resource with that slug, so it becomes a tombstone.
    """
    await tx.resources.save(old, new)
    if old.slug != new.slug:
        await tx.resources.add_tombstone(
            Tombstone(slug=old.slug, resource_id=old.id, tenant_id=old.tenant_id, deleted_at=now)
        )
        await _emit_event(tx, new, "renamed", now, was=old.slug)
    if old.visibility != new.visibility:
        await _emit_event(tx, new, "visibility_changed", now, visibility=new.visibility, was=old.visibility)
    moved = (old.workspace_id, old.project_id) != (new.workspace_id, new.project_id)
    if moved or old.size != new.size:
        await tx.usage.record([new], now)
    if moved:
        await _emit_event(tx, new, "moved", now, from_workspace_id=old.workspace_id, from_project_id=old.project_id)


async def enter(tx: Tx, resource: Resource, state: State, now: datetime) -> Resource:
    """The resource in another state; `destroyed` is `destroy`'s."""
    if state is resource.state:
        return resource
    (new,) = await enter_all(tx, [resource], state, now)
    return new


async def enter_all(tx: Tx, resources: Sequence[Resource], state: State, now: datetime) -> Sequence[Resource]:
    """Several resources in another state than each is in."""
    new = [replace(resource, state=state, updated_at=now) for resource in resources]
    ids = [resource.id for resource in new]
    await tx.resources.enter(ids, state, now)
    if state is State.RUNNING:
        await tx.wakes.running(ids)
    await tx.usage.record(new, now)
    await tx.events.add([_event(old, "state_changed", now, state=state, was=old.state) for old in resources])
    return new


async def destroy(tx: Tx, resource: Resource, now: datetime) -> Resource:
    """The end: endpoints, previews and exposed ports go, the slug becomes a tombstone, its custom domains are removed."""
    new = replace(resource, state=State.DESTROYED, exposed_ports=frozenset(), updated_at=now, deleted_at=now)
    await tx.resources.drop_endpoints(resource.id)
    await tx.resources.drop_previews(resource.id)
    await tx.resources.save(resource, new)
    await tx.resources.add_tombstone(
        Tombstone(slug=resource.slug, resource_id=resource.id, tenant_id=resource.tenant_id, deleted_at=now)
    )
    removed = await tx.custom_domains.remove_of(resource.id, now)
    await tx.usage.record([new], now)
    await _emit_event(tx, new, "deleted", now, was=resource.state)
    await tx.events.add([_removed(new, domain_id, fqdn, now) for domain_id, fqdn in removed])
    return new


async def expose(tx: Tx, resource: Resource, port: int, now: datetime) -> Resource:
    """The resource with that port routable."""
    if port in resource.exposed_ports:
        return resource
    new = replace(resource, exposed_ports=resource.exposed_ports | {port}, updated_at=now)
    await tx.resources.save(resource, new)
    await _emit_event(tx, new, "port_exposed", now, port=port)
    return new


async def unexpose(tx: Tx, resource: Resource, port: int, now: datetime) -> Resource:
    """The resource without that port."""
    if port not in resource.exposed_ports:
        return resource
    new = replace(resource, exposed_ports=resource.exposed_ports - {port}, updated_at=now)
    await tx.resources.save(resource, new)
    await _emit_event(tx, new, "port_unexposed", now, port=port)
    return new


async def _emit_event(tx: Tx, resource: Resource, happened: str, now: datetime, **data: Any) -> None:
    await tx.events.add([_event(resource, happened, now, **data)])


def _event(resource: Resource, happened: str, now: datetime, **data: Any) -> Event:
    return Event(
        id=new_id(),
        type=f"{resource.kind}.{happened}",
        tenant_id=resource.tenant_id,
        workspace_id=resource.workspace_id,
        project_id=resource.project_id,
        resource_id=resource.id,
        data=data,
        created_at=now,
    )


def _removed(resource: Resource, domain_id: str, fqdn: str, now: datetime) -> Event:
    """As `domains.custom` tells of a domain that is removed."""
    data = {"domain_id": domain_id, "fqdn": fqdn, "reason": "resource_deleted"}
    return replace(_event(resource, "deleted", now, **data), type="domain.removed")
