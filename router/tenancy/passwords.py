"""Passwords of previews: one of a preview, or one of a resource as a whole, for the ports that have none of their own.

A password is one of the preview's secrets: who knows it gets a cookie that ends with it. A new one takes the place of the old
one, and who came in by that is out. Only its hash is kept, and no record has that: so it is compared where the store is.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from router.base.clock import Clock
from router.base.ids import new_id
from router.base.transactions import Transactions
from router.errors import CONFLICT, RouterError
from router.routes.policies import SecretKind, Visibility
from router.tenancy.access_events import tell_of_secrets
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.password_hashes import MAX_LENGTH, MIN_LENGTH, PasswordHashes, normal
from router.tenancy.preview_secrets import PreviewSecret, check_room, too_many_dead
from router.tenancy.previews import Preview, check_takes_password, preview_of
from router.tenancy.resources import Resource, live
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields

_PUBLIC = "What is public opens without a password. Set visibility to private or tenant first."


class Passwords:
    """The service of passwords. Every method may raise StoreUnavailableError. `preview_id` None stands for the resource."""

    def __init__(self, store: Transactions[Tx], clock: Clock, hashes: PasswordHashes | None = None) -> None:
        self._store = store
        self._clock = clock
        self._hashes = hashes or PasswordHashes()

    async def put(
        self, resource_id: str, preview_id: str | None, password: str, *, expires_at: datetime | None = None
    ) -> PreviewSecret:
        """Set the password, in the place of the one that is there.

        Raises RouterError: NOT_FOUND; VALIDATION_FAILED (`password`, `expires_at`); CONFLICT where nobody could come in by it.
        """
        fields = Fields()
        _check(fields, password)
        if expires_at is not None and expires_at <= self._clock.now():
            fields.add("expires_at", "must be in the future")
        fields.check()
        async with self._store.read() as tx:  # before the hash is made, which costs something
            resource, _ = await _check_place(tx, resource_id, preview_id)
        password_hash = await self._hashes.make(password, tenant_id=resource.tenant_id)
        return await self._put(resource_id, preview_id, password_hash, expires_at)

    @retry_on_deadlock
    async def _put(
        self, resource_id: str, preview_id: str | None, password_hash: str, expires_at: datetime | None
    ) -> PreviewSecret:
        now = self._clock.now()
        secret = PreviewSecret(
            id=new_id(),
            resource_id=resource_id,
            preview_id=preview_id,
            kind=SecretKind.PASSWORD,
            prefix="",
            digest=secrets.token_hex(32),  # of nothing: no token is this secret
            password_hash=password_hash,
            created_at=now,
            expires_at=expires_at,
        )
        async with self._store.begin() as tx:
            resource, preview = await _check_place(tx, resource_id, preview_id)
            there = await _end(tx, resource, preview, now)
            check_room(there, preview_id, now)
            await tx.preview_secrets.add(secret)
            await tell_of_secrets(tx, resource, preview, [secret], "created", now)
        return secret

    @retry_on_deadlock
    async def remove(self, resource_id: str, preview_id: str | None) -> None:
        """From now on no password opens it, and who came in by one is out. Raises RouterError: NOT_FOUND (no such preview)."""
        async with self._store.begin() as tx:
            resource, preview = await _place(tx, resource_id, preview_id)
            await _end(tx, resource, preview, self._clock.now())

    async def of_resource(self, resource_id: str) -> Mapping[str | None, PreviewSecret]:
        """The passwords that are set, also those that have expired: by preview, and the resource's own under None."""
        async with self._store.read() as tx:
            there = await tx.preview_secrets.of_resource(resource_id)
        return {one.preview_id: one for one in there if _is_set(one)}

    async def get(self, secret_id: str) -> tuple[PreviewSecret, str] | None:
        """The password with this id, where it opens something now, and the id of its tenant."""
        async with self._store.read() as tx:
            found = await tx.preview_secrets.get(secret_id)
            resource = None if found is None else await tx.resources.get(found.resource_id)
        if found is None or found.kind is not SecretKind.PASSWORD or not found.opens(self._clock.now()):
            return None
        return None if resource is None else (found, resource.tenant_id)

    async def matches(self, secret: PreviewSecret, tenant_id: str, password: str) -> bool:
        """Whether that is the password of `get`."""
        known = secret.password_hash
        if known is None or not await self._hashes.match(known, password, tenant_id=tenant_id):
            return False
        if self._hashes.is_outdated(known):
            made = await self._hashes.make(password, tenant_id=tenant_id)
            async with self._store.begin() as tx:
                await tx.preview_secrets.rehash(secret.id, known, made)
        return True


async def _place(tx: Tx, resource_id: str, preview_id: str | None) -> tuple[Resource, Preview | None]:
    """What the password opens. Raises RouterError NOT_FOUND."""
    resource = live(await tx.resources.get(resource_id))
    return resource, None if preview_id is None else preview_of(await tx.previews.get(preview_id), resource_id)


async def _check_place(tx: Tx, resource_id: str, preview_id: str | None) -> tuple[Resource, Preview | None]:
    """As `_place`. Raises RouterError: NOT_FOUND; CONFLICT where a password could let nobody in."""
    resource, preview = await _place(tx, resource_id, preview_id)
    visibility = (preview and preview.visibility) or resource.visibility
    if visibility is None:
        tenant = await tx.tenants.get(resource.tenant_id)
        visibility = Visibility.PRIVATE if tenant is None else tenant.default_visibility
    check_takes_password(visibility, hide=preview is not None and preview.hide)
    if visibility is Visibility.PUBLIC:
        raise RouterError(CONFLICT, _PUBLIC)
    return resource, preview


async def _end(tx: Tx, resource: Resource, preview: Preview | None, now: datetime) -> Sequence[PreviewSecret]:
    """Revoke the password that is set; all secrets of the resource as they are then."""
    there = await tx.preview_secrets.of_resource(resource.id)
    preview_id = None if preview is None else preview.id
    ending = [one for one in there if _is_set(one) and one.preview_id == preview_id]
    if not ending:
        return there
    ends = {one.id for one in ending}
    await tx.preview_secrets.revoke(resource.id, ends, now)
    await tell_of_secrets(tx, resource, preview, ending, "revoked", now)
    after = [replace(one, revoked_at=now) if one.id in ends else one for one in there]
    await tx.preview_secrets.delete(too_many_dead(after, now))
    return after


def _is_set(secret: PreviewSecret) -> bool:
    return secret.kind is SecretKind.PASSWORD and secret.revoked_at is None


def _check(fields: Fields, password: str) -> None:
    try:
        length = len(normal(password))
        password.encode()
    except UnicodeEncodeError:
        fields.add("password", "is no text that a form can send")
        return
    if length < MIN_LENGTH:
        fields.add("password", f"should be at least {MIN_LENGTH} character(s)")
    if max(length, len(password)) > MAX_LENGTH:
        fields.add("password", f"should be at most {MAX_LENGTH} character(s)")
