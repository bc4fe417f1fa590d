"""Previews: the exposed ports of a resource, each with how it is served.

Exposing a port makes its preview, and a preview exposes its port; one that goes closes it, so that what was shown to
a few does not stay open to all. Ports that the platform exposes have none. The default port is always reachable, and
with the tenant's `auto_expose` every port is. Where a resource has no default port, the one that was exposed first and
still is stands for it: customers name ports by exposing them, and seldom in another way.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypedDict, Unpack

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.policies import Cors, SecretKind, Visibility
from router.routes.records import AUTO
from router.tenancy import lifecycle
from router.tenancy.access_events import tell_of_visibility
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.resources import (
    MAX_PORTS,
    Resource,
    check_host_mode,
    check_port,
    check_protocol,
    check_scheme,
    live,
)
from router.tenancy.transaction import Tx
from router.tenancy.validation import BLANK, Fields, invalid

MAX_NETWORKS = 64
MAX_ORIGINS = 32
_MAX_ORIGIN = 300  # characters; the longest host name has 253
ORIGIN = r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"  # as browsers send it: in small letters

_HIDDEN = (
    "A preview that is hidden shows strangers no page, so it can't ask them for a password. Set hide to false, or remove the "
    "password, and send this again."
)
_PROGRAMS = (
    "What is visible to key is for programs, which send tokens and API keys: no password opens it. Set visibility to private "
    "or tenant, or remove the password, and send this again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One port's preview. `host_mode` is `auto`, `preserve`, `localhost` or the Host that the backend is to see; `scheme`
    and `protocol` are what its program speaks.

    `visibility` None is the resource's. From `expires_at` on nobody gets in. `hide`: strangers are answered as if there were no
    such host. `networks` are those that visitors' addresses must lie in, empty for any. `cors_origins` are the list of
    `cors`. `identity`: its program is told who each visitor is; None is the resource's. `generation` grows when all that was handed out before becomes void.
    """

    id: str
    resource_id: str
    port: int
    visibility: Visibility | None = None
    host_mode: str = AUTO
    scheme: str = "http"
    protocol: str = "http1"
    name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    hide: bool = False
    identity: bool | None = None
    networks: tuple[str, ...] = ()
    cors: Cors = Cors.PASSTHROUGH
    cors_origins: tuple[str, ...] = ()
    generation: int = 0
    created_at: datetime
    updated_at: datetime


class PreviewChanges(TypedDict, total=False):
    """What callers say about a preview; absent keys stay as they are."""

    visibility: Visibility | None
    host_mode: str
    scheme: str
    protocol: str
    name: str | None
    metadata: Mapping[str, Any]
    expires_at: datetime | None
    hide: bool
    identity: bool
    networks: tuple[str, ...]
    cors: Cors
    cors_origins: tuple[str, ...]


class PreviewRows(Protocol):
    """Stored previews. What changes one counts as a change of its resource's records."""

    async def get(self, preview_id: str) -> Preview | None: ...

    async def of_port(self, resource_id: str, port: int) -> Preview | None: ...

    async def oldest(self, resource_id: str) -> Preview | None:
        """The first that was made of those that are there; of several at once the one of the lowest port."""

    async def list(self, resource_id: str, window: Window) -> Listing[Preview]:
        """By port."""

    async def add(self, preview: Preview) -> None: ...

    async def save(self, preview: Preview) -> None:
        """Store every field."""

    async def delete(self, preview: Preview) -> None:
        """With all secrets that open it alone."""


class Previews:
    """The service of previews. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock, *, reserved_ports: Collection[int] = ()) -> None:
        self._store = store
        self._clock = clock
        self._reserved_ports = frozenset(reserved_ports)

    @retry_on_deadlock
    async def put(
        self, resource_id: str, port: int | None = None, *, ttl: int | None = None, **changes: Unpack[PreviewChanges]
    ) -> tuple[Preview, bool]:
        """Expose a port, the default one where none is given: its new preview and True, or the one it has and False.

        `ttl` is in how many seconds it expires, for `expires_at`. Changes are made to either. Raises RouterError: NOT_FOUND, VALIDATION_FAILED, CONFLICT (no default port, or its
        password would let nobody in).
        """
        fields = Fields()
        if port is not None:
            check_port(fields, "port", port, self._reserved_ports)
        now = self._clock.now()
        if ttl is not None:
            if changes.get("expires_at") is not None:
                fields.add("ttl_seconds", "can't be given beside expires_at")
            changes = {**changes, "expires_at": now + timedelta(seconds=ttl)}
        _check(fields, changes, now)
        fields.check()
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            port = port or await main_port(tx, resource)
            if port is None:
                raise RouterError(CONFLICT, "there is no default port; say which one", fields={"port": [BLANK]})
            if port not in resource.exposed_ports and len(resource.exposed_ports) >= MAX_PORTS:
                raise invalid("port", f"is one more than the {MAX_PORTS} ports that may be exposed")
            await lifecycle.expose(tx, resource, port, now)
            old = await tx.previews.of_port(resource_id, port)
            if old is not None:
                return await _change(tx, resource, old, changes, now), False
            new = Preview(id=new_id(), resource_id=resource_id, port=port, created_at=now, updated_at=now)
            new = replace(new, **_normal(changes))
            await tx.previews.add(new)
            await tell_of_visibility(tx, resource, new, None, now)
            return new, True

    async def get(self, resource_id: str, preview_id: str) -> Preview:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return preview_of(await tx.previews.get(preview_id), resource_id)

    async def of_port(self, resource_id: str, port: int) -> Preview:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            found = await tx.previews.of_port(resource_id, port)
        if found is None:
            raise RouterError(NOT_FOUND, "port not found")
        return found

    def has_expired(self, preview: Preview) -> bool:
        """Whether nobody gets in any more."""
        return preview.expires_at is not None and preview.expires_at <= self._clock.now()

    async def list(self, resource_id: str, window: Window = FIRST) -> Listing[Preview]:
        """By port."""
        async with self._store.read() as tx:
            return await tx.previews.list(resource_id, window)

    async def reachable(self, resource_id: str) -> tuple[int, ...]:
        """The ports that customers know as exposed, in order: by name, by the platform, or as the default one."""
        async with self._store.read() as tx:
            resource = live(await tx.resources.get(resource_id))
        return tuple(sorted(resource.exposed_ports | {port for port in (resource.default_port,) if port is not None}))

    async def is_reachable(self, resource_id: str, port: int) -> bool:
        """Whether its hosts lead to that port."""
        async with self._store.read() as tx:
            resource = live(await tx.resources.get(resource_id))
            if port in self._reserved_ports:
                return False
            if port in resource.exposed_ports or port == resource.default_port:
                return True
            tenant = await tx.tenants.get(resource.tenant_id)
            return tenant is not None and tenant.auto_expose

    async def usual_visibility(self, resource: Resource) -> Visibility:
        """That of its ports that have none of their own: the resource's, else the tenant's."""
        if resource.visibility is not None:
            return resource.visibility
        async with self._store.read() as tx:
            tenant = await tx.tenants.get(resource.tenant_id)
        return Visibility.PRIVATE if tenant is None else tenant.default_visibility

    @retry_on_deadlock
    async def update(self, resource_id: str, port: int, **changes: Unpack[PreviewChanges]) -> Preview:
        """Change how a port is served. Raises RouterError: NOT_FOUND (no preview of that port), VALIDATION_FAILED,
        CONFLICT (its password would let nobody in)."""
        return await self._update(resource_id, port, changes)

    @retry_on_deadlock
    async def change(self, resource_id: str, preview_id: str, **changes: Unpack[PreviewChanges]) -> Preview:
        """As `update`, of the preview of that id."""
        return await self._update(resource_id, preview_id, changes)

    async def _update(self, resource_id: str, named: int | str, changes: PreviewChanges) -> Preview:
        """`named` is its port or its id."""
        fields = Fields()
        now = self._clock.now()
        _check(fields, changes, now)
        fields.check()
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            if isinstance(named, str):
                old = preview_of(await tx.previews.get(named), resource_id)
            elif (found := await tx.previews.of_port(resource_id, named)) is not None:
                old = found
            else:
                raise RouterError(NOT_FOUND, "port not found")
            return await _change(tx, resource, old, changes, now)

    @retry_on_deadlock
    async def delete(self, resource_id: str, preview_id: str) -> Preview:
        """Close the port of a preview. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            preview = preview_of(await tx.previews.get(preview_id), resource_id)
            await self._close(tx, resource, preview.port, preview)
            return preview

    @retry_on_deadlock
    async def close(self, resource_id: str, port: int) -> None:
        """Close a port, exposed by the platform or the customer. Raises RouterError: NOT_FOUND (it was not exposed)."""
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            preview = await tx.previews.of_port(resource_id, port)
            if preview is None and port not in resource.exposed_ports:
                raise RouterError(NOT_FOUND, "port not found")
            await self._close(tx, resource, port, preview)

    async def _close(self, tx: Tx, resource: Resource, port: int, preview: Preview | None) -> None:
        if preview is not None:
            await tx.previews.delete(preview)
        await lifecycle.unexpose(tx, resource, port, self._clock.now())


async def main_port(tx: Tx, resource: Resource) -> int | None:
    """Which port is meant where none is named."""
    if resource.default_port is not None:
        return resource.default_port
    first = await tx.previews.oldest(resource.id)
    return first.port if first is not None else None


def _check(fields: Fields, changes: PreviewChanges, now: datetime) -> None:
    fields.text("name", changes.get("name"), max_length=120)
    fields.object("metadata", changes.get("metadata"))
    if "host_mode" in changes:
        check_host_mode(fields, "host_mode", changes["host_mode"])
    if "scheme" in changes:
        check_scheme(fields, "scheme", changes["scheme"])
    if "protocol" in changes:
        check_protocol(fields, "protocol", changes["protocol"])
    if (expires_at := changes.get("expires_at")) is not None and expires_at <= now:
        fields.add("expires_at", "must be in the future")
    _check_networks(fields, changes.get("networks", ()))
    _check_origins(fields, changes.get("cors_origins", ()))


def _check_networks(fields: Fields, networks: Collection[str]) -> None:
    if len(networks) > MAX_NETWORKS:
        fields.add("networks", f"should have at most {MAX_NETWORKS} item(s)")
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            fields.add("networks", f"{network[:60]!r} is no network, as in 203.0.113.0/24 or 2001:db8::/32")


def is_origin(text: str) -> bool:
    """Whether a browser may say that as the origin of a page."""
    return re.fullmatch(ORIGIN, text) is not None


def no_origin(text: str) -> str:
    """What is wrong with an origin that is none, in the words of a field."""
    return f"{text[:60]!r} is no origin: write scheme and host without a path, as in https://app.example.com"


def _check_origins(fields: Fields, origins: Collection[str]) -> None:
    if len(origins) > MAX_ORIGINS:
        fields.add("cors_origins", f"should have at most {MAX_ORIGINS} item(s)")
    for origin in origins:
        if len(origin) > _MAX_ORIGIN or not is_origin(origin):
            fields.add("cors_origins", no_origin(origin))


def _normal(changes: PreviewChanges) -> PreviewChanges:
    """With networks as records have them: an address is a network of one."""
    if "networks" not in changes:
        return changes
    networks = dict.fromkeys(str(ipaddress.ip_network(network)) for network in changes["networks"])
    return {**changes, "networks": tuple(networks)}


async def _change(tx: Tx, resource: Resource, old: Preview, changes: PreviewChanges, now: datetime) -> Preview:
    if not changes:
        return old
    new = replace(old, **_normal(changes), updated_at=now)
    if (changes.get("hide") or changes.get("visibility") is Visibility.KEY) and await _has_password(tx, new):
        check_takes_password(new.visibility, hide=new.hide)
    await tx.previews.save(new)
    await tell_of_visibility(tx, resource, new, old.visibility, now)
    return new


def check_takes_password(visibility: Visibility | None, *, hide: bool) -> None:
    """Raises RouterError CONFLICT where a port like this asks nobody for a password."""
    if hide:
        raise RouterError(CONFLICT, _HIDDEN)
    if visibility is Visibility.KEY:
        raise RouterError(CONFLICT, _PROGRAMS)


async def _has_password(tx: Tx, preview: Preview) -> bool:
    there = await tx.preview_secrets.of_resource(preview.resource_id)
    return any(
        one.kind is SecretKind.PASSWORD and one.revoked_at is None and one.preview_id == preview.id for one in there
    )


def preview_of(preview: Preview | None, resource_id: str) -> Preview:
    """The preview, where it is one of that resource. Raises RouterError NOT_FOUND."""
    if preview is None or preview.resource_id != resource_id:
        raise RouterError(NOT_FOUND, "preview not found")
    return preview
