"""API keys: shown once, stored as a hash, revocable, each with a scope beyond which it sees nothing."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.key_scopes import NARROW, KeyScope
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.projects import Project
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields, invalid
from router.tenancy.workspaces import Workspace

PREFIX = "msk_live_"

_SHOWN = len(PREFIX) + 6  # characters of a key that lists show
_USE_NOTED = timedelta(minutes=1)  # `last_used_at` is written at most this often per key


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, without its secret. `scope_id` is the workspace's or project's id, else the tenant's.

    From `expires_at` on it opens nothing, as once it is revoked; None is never.
    """

    id: str
    tenant_id: str
    scope: KeyScope
    scope_id: str
    name: str
    prefix: str
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def scope_text(self) -> str:
        """As `read_scope` reads it."""
        return f"{self.scope}:{self.scope_id}" if self.scope in NARROW else str(self.scope)

    def opens(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolder:
    """Whom a valid key speaks for. A project's key has its workspace beside it; wider keys have None."""

    key_id: str
    tenant_id: str
    scope: KeyScope
    workspace_id: str | None = None
    project_id: str | None = None
    name: str = ""
    scope_text: str = ""


class KeyRows(Protocol):
    """Stored keys."""

    async def add(self, key: Key) -> None: ...

    async def get(self, key_id: str) -> Key | None: ...

    async def by_digest(self, digest: str) -> Key | None: ...

    async def list(
        self,
        window: Window,
        *,
        tenant_id: str | None = None,
        scope_id: str | None = None,
        without: KeyScope | None = None,
    ) -> Listing[Key]:
        """The oldest first, revoked ones included; those of the scope `without` are left out."""

    async def revoke(self, key_id: str, now: datetime) -> None: ...

    async def revoke_scope(self, scope_id: str, now: datetime) -> None:
        """Revoke the keys of a workspace or project that goes away."""

    async def used(self, key_id: str, now: datetime) -> None: ...

    async def used_by_digest(self, digest: str, at: datetime) -> None:
        """Store when it was used; an older instant than the stored one is ignored."""

    async def save(self, key: Key) -> None:
        """Store every field."""


class Keys:
    """The service of keys. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def create(
        self,
        tenant_id: str,
        *,
        scope: KeyScope = KeyScope.TENANT,
        scope_id: str | None = None,
        name: str = "default",
        expires_at: datetime | None = None,
    ) -> tuple[Key, str]:
        """A new key, and its plain text: the only time that it is seen.

        `scope_id` is the workspace's or project's id. Raises RouterError: VALIDATION_FAILED (`tenant_id`, `scope_id`,
        `name`, `expires_at`).
        """
        now = self._clock.now()
        fields = Fields()
        fields.text("name", name, max_length=120, required=True)
        if expires_at is not None and expires_at <= now:
            fields.add("expires_at", "must be in the future")
        fields.check()
        plain = _new()
        async with self._store.begin() as tx:
            if await tx.tenants.get(tenant_id) is None:
                raise invalid("tenant_id", "does not exist")
            if scope in (KeyScope.PLATFORM, KeyScope.TENANT):
                scope_id = tenant_id
            else:
                holder: Workspace | Project | None
                rows = tx.workspaces if scope is KeyScope.WORKSPACE else tx.projects
                holder = await rows.get(scope_id) if scope_id is not None else None
                if scope_id is None or holder is None or holder.tenant_id != tenant_id:
                    raise invalid("scope_id", f"is not a {scope} of this tenant")
            key = Key(
                id=new_id(),
                tenant_id=tenant_id,
                scope=scope,
                scope_id=scope_id,
                name=name,
                prefix=plain[:_SHOWN],
                digest=_digest(plain),
                created_at=now,
                expires_at=expires_at,
            )
            await tx.keys.add(key)
            return key, plain

    async def get(self, key_id: str) -> Key:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return _found(await tx.keys.get(key_id))

    async def list(
        self,
        window: Window = FIRST,
        *,
        tenant_id: str | None = None,
        scope_id: str | None = None,
        without: KeyScope | None = None,
    ) -> Listing[Key]:
        """The oldest first, revoked ones included; each condition that is given narrows."""
        async with self._store.read() as tx:
            return await tx.keys.list(window, tenant_id=tenant_id, scope_id=scope_id, without=without)

    @retry_on_deadlock
    async def revoke(self, key_id: str) -> Key:
        """From now on the key opens nothing; revoking twice changes nothing. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            if _found(await tx.keys.get(key_id)).revoked_at is None:
                await tx.keys.revoke(key_id, self._clock.now())
            return _found(await tx.keys.get(key_id))

    @retry_on_deadlock
    async def rename(self, key_id: str, name: str) -> Key:
        """Raises RouterError: NOT_FOUND, VALIDATION_FAILED (`name`)."""
        fields = Fields()
        fields.text("name", name, max_length=120, required=True)
        fields.check()
        async with self._store.begin() as tx:
            key = replace(_found(await tx.keys.get(key_id)), name=name)
            await tx.keys.save(key)
            return key

    @retry_on_deadlock
    async def rotate(self, key_id: str) -> tuple[Key, str]:
        """The key with a new plain text, which is seen this once; the one before opens nothing from now on.

        Raises RouterError: NOT_FOUND, CONFLICT where the key is revoked or expired: that end is not undone.
        """
        plain = _new()
        async with self._store.begin() as tx:
            old = _found(await tx.keys.get(key_id))
            if not old.opens(self._clock.now()):
                raise RouterError(CONFLICT, "The key is revoked or expired. Create a new one.")
            key = replace(old, prefix=plain[:_SHOWN], digest=_digest(plain), last_used_at=None)
            await tx.keys.save(key)
            return key, plain

    async def authenticate(self, plain: str) -> KeyHolder | None:
        """Whom a plain key speaks for; None where it is unknown, revoked or expired, or its scope is gone.

        The look-up is by hash, so its time tells nothing about a key that is almost right; the comparison that
        follows is in constant time.
        """
        if not plain.startswith("msk_") or len(plain) > 200:
            return None
        digest = _digest(plain)
        now = self._clock.now()
        async with self._store.read() as tx:
            key = await tx.keys.by_digest(digest)
            if key is None or not hmac.compare_digest(key.digest, digest) or not key.opens(now):
                return None
            holder = await _holder(tx, key)
        if holder is not None and (key.last_used_at is None or now - key.last_used_at >= _USE_NOTED):
            async with self._store.begin() as tx:
                await tx.keys.used(key.id, now)
        return holder

    async def note_uses(self, seen: Mapping[str, datetime]) -> None:
        """Store when keys last opened a preview, by their digests; unknown ones are ignored."""
        if seen:
            async with self._store.begin() as tx:
                for digest, at in sorted(seen.items()):
                    await tx.keys.used_by_digest(digest, at)


async def _holder(tx: Tx, key: Key) -> KeyHolder | None:
    workspace_id = project_id = None
    if key.scope is KeyScope.WORKSPACE:
        workspace = await tx.workspaces.get(key.scope_id)
        if workspace is None:
            return None
        workspace_id = workspace.id
    elif key.scope is KeyScope.PROJECT:
        project = await tx.projects.get(key.scope_id)
        if project is None:
            return None
        workspace_id, project_id = project.workspace_id, project.id
    return KeyHolder(
        key_id=key.id,
        tenant_id=key.tenant_id,
        scope=key.scope,
        workspace_id=workspace_id,
        project_id=project_id,
        name=key.name,
        scope_text=key.scope_text,
    )


def _new() -> str:
    return PREFIX + secrets.token_urlsafe(32).replace("-", "0").replace("_", "1")


def _digest(plain: str) -> str:
    # Plain SHA-256: the key is 256 random bits, which a slow hash would not protect any better.
    return hashlib.sha256(plain.encode()).hexdigest()


def _found(key: Key | None) -> Key:
    if key is None:
        raise RouterError(NOT_FOUND, "key not found")
    return key
