"""What opens a preview that is not public: share links for people, named tokens for programs; `passwords.py` has the third.

A secret opens one preview, or every port of a resource. It is shown once and kept as a hash. One that is revoked, or
whose time is over, is kept for a day, so that who still brings it can be told what became of it. Every change is one of the
resource's records: it holds everywhere when the call returns.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from router.base import preview_secrets
from router.base.clock import Clock
from router.base.ids import new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.policies import SecretKind
from router.tenancy.access_events import tell_of_secrets
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.previews import Preview, preview_of
from router.tenancy.resources import live
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields

MIN_TTL: Final = 30  # seconds that a link works
MAX_TTL: Final = 30 * 86400
TOKENS: Final = (SecretKind.PROGRAM,)
LINKS: Final = (SecretKind.LINK, SecretKind.ONCE)
KEPT: Final = timedelta(days=1)  # how long dead secrets are known

_MAX_OF_PREVIEW: Final = 50  # that live, of one preview or of the resource as a whole
_MAX_OF_RESOURCE: Final = 500  # that live, with those of its previews
_MAX_DEAD: Final = 50  # of a resource, the last ones that died
_MAX_NAME: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSecret:
    """One secret, without its plain text. It opens the preview, or every port of the resource where `preview_id` is None.
    A password has a slow hash, and a `digest` that no token has.

    From `expires_at` on it opens nothing, as once it is revoked; None is never. `used_at` is when a link that works once did.
    """

    id: str
    resource_id: str
    preview_id: str | None
    kind: SecretKind
    name: str | None = None
    prefix: str
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    password_hash: str | None = field(default=None, repr=False)

    def died_at(self, now: datetime) -> datetime | None:
        """When it ended for good; None where it has not yet."""
        ends = [at for at in (self.revoked_at, self.expires_at) if at is not None and at <= now]
        return min(ends, default=None)

    def opens(self, now: datetime) -> bool:
        """Whether it lets somebody in who was not yet."""
        return self.used_at is None and self.died_at(now) is None


class PreviewSecretRows(Protocol):
    """Stored secrets. What changes which of them open a port counts as a change of its resource's records."""

    async def add(self, secret: PreviewSecret) -> None: ...

    async def of_resource(self, resource_id: str) -> Sequence[PreviewSecret]:
        """All of them, with those of its previews; the oldest first."""

    async def get(self, secret_id: str) -> PreviewSecret | None: ...

    async def list(
        self,
        resource_id: str,
        preview_id: str | None,
        kinds: Collection[SecretKind],
        window: Window,
        *,
        opening: datetime | None = None,
    ) -> Listing[PreviewSecret]:
        """The oldest first. With `opening`, those alone that open something at that time."""

    async def newest_links(self, resource_id: str, now: datetime) -> Mapping[str, PreviewSecret]:
        """By preview, the link that was made last of those that open it."""

    async def revoke(self, resource_id: str, ids: Collection[str], now: datetime) -> None: ...

    async def delete(self, ids: Collection[str]) -> None:
        """Of dead ones: what opens what stays as it is."""

    async def use_up(self, secret_id: str, now: datetime) -> bool:
        """Note that a link that works once did, if it can; whether it could. Of several at the same time one can."""

    async def rehash(self, secret_id: str, old: str, new: str) -> None:
        """Keep another hash of the same password, where it has still the old one."""

    async def used(self, secret_id: str, at: datetime) -> None:
        """Store when it let somebody in; an older instant than the stored one is ignored."""


class PreviewSecrets:
    """The service of secrets. Every method may raise StoreUnavailableError.

    `preview_id` None stands for the resource as a whole: every port of it.
    """

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def create(
        self,
        resource_id: str,
        preview_id: str | None,
        kind: SecretKind,
        *,
        name: str | None = None,
        ttl: int | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[PreviewSecret, str]:
        """A new secret, and its plain text: the only time that it is seen.

        It works for `ttl` seconds, or until `expires_at`, or for ever. Raises RouterError: NOT_FOUND, VALIDATION_FAILED
        (`name`, `expires_at`), CONFLICT where there are as many as may be.
        """
        now = self._clock.now()
        fields = Fields()
        fields.text("name", name, max_length=_MAX_NAME, required=kind is SecretKind.PROGRAM)
        if expires_at is not None and expires_at <= now:
            fields.add("expires_at", "must be in the future")
        if expires_at is not None and ttl is not None:
            fields.add("ttl_seconds", "can't be given beside expires_at")
        fields.check()
        if ttl is not None:
            expires_at = now + timedelta(seconds=ttl)
        plain = preview_secrets.new_secret(kind)
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            preview = await _preview(tx, preview_id, resource_id)
            secret = PreviewSecret(
                id=new_id(),
                resource_id=resource_id,
                preview_id=preview_id,
                kind=kind,
                name=name,
                prefix=preview_secrets.shown(plain),
                digest=preview_secrets.digest(plain),
                created_at=now,
                expires_at=expires_at,
            )
            there = await tx.preview_secrets.of_resource(resource_id)
            check_room(there, preview_id, now)
            await tx.preview_secrets.delete(too_many_dead(there, now))
            await tx.preview_secrets.add(secret)
            await tell_of_secrets(tx, resource, preview, [secret], "created", now)
            return secret, plain

    async def list(
        self,
        resource_id: str,
        preview_id: str | None,
        kinds: Collection[SecretKind],
        window: Window = FIRST,
        *,
        only_opening: bool = False,
    ) -> Listing[PreviewSecret]:
        """The oldest first; with `only_opening` without those that are used up, expired or revoked."""
        opening = self._clock.now() if only_opening else None
        async with self._store.read() as tx:
            return await tx.preview_secrets.list(resource_id, preview_id, kinds, window, opening=opening)

    async def newest_links(self, resource_id: str) -> Mapping[str, PreviewSecret]:
        """By preview, the link that was made last of those that open it."""
        async with self._store.read() as tx:
            return await tx.preview_secrets.newest_links(resource_id, self._clock.now())

    @retry_on_deadlock
    async def revoke(
        self, resource_id: str, preview_id: str | None, secret_id: str, kinds: Collection[SecretKind]
    ) -> PreviewSecret:
        """From now on it opens nothing, and who came in by it is out; revoking twice changes nothing.

        Raises RouterError: NOT_FOUND, also for one of another preview or of none of these kinds.
        """
        now = self._clock.now()
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            preview = await _preview(tx, preview_id, resource_id)
            there = await tx.preview_secrets.of_resource(resource_id)
            found = next((one for one in there if one.id == secret_id), None)
            if found is None or found.preview_id != preview_id or found.kind not in kinds:
                raise RouterError(NOT_FOUND, f"{'token' if kinds == TOKENS else 'share'} not found")
            if found.revoked_at is None:
                await self._revoke(tx, there, [found], now)
                await tell_of_secrets(tx, resource, preview, [found], "revoked", now)
                found = replace(found, revoked_at=now)
            return found

    @retry_on_deadlock
    async def void(self, resource_id: str, preview_id: str) -> None:
        """End every link of a preview, and what was handed to those who came in by one. Its named tokens stay.

        Raises RouterError: NOT_FOUND.
        """
        now = self._clock.now()
        async with self._store.begin() as tx:
            resource = live(await tx.resources.get(resource_id))
            preview = preview_of(await tx.previews.get(preview_id), resource_id)
            there = await tx.preview_secrets.of_resource(resource_id)
            ends = [
                one for one in there if one.preview_id == preview_id and one.kind in LINKS and one.died_at(now) is None
            ]
            await self._revoke(tx, there, ends, now)
            await tx.previews.save(replace(preview, generation=preview.generation + 1, updated_at=now))
            await tell_of_secrets(tx, resource, preview, ends, "revoked", now)

    @retry_on_deadlock
    async def use_up(self, secret_id: str) -> bool:
        """Let one visitor in by a link that works once: True for the first who asks, on whatever node, False for all others.

        False too where it is revoked or expired, or no such link.
        """
        async with self._store.begin() as tx:
            return await tx.preview_secrets.use_up(secret_id, self._clock.now())

    async def note_uses(self, seen: Mapping[str, datetime]) -> None:
        """Store when secrets last let somebody in, by their ids; unknown ones are ignored."""
        if seen:
            async with self._store.begin() as tx:
                for secret_id, at in sorted(seen.items()):
                    await tx.preview_secrets.used(secret_id, at)

    async def _revoke(
        self, tx: Tx, there: Sequence[PreviewSecret], ends: Sequence[PreviewSecret], now: datetime
    ) -> None:
        ids = {one.id for one in ends}
        after = [replace(one, revoked_at=now) if one.id in ids else one for one in there]
        if ends:
            await tx.preview_secrets.revoke(ends[0].resource_id, ids, now)
        await tx.preview_secrets.delete(too_many_dead(after, now))


async def _preview(tx: Tx, preview_id: str | None, resource_id: str) -> Preview | None:
    """The preview; None for the resource as a whole. Raises RouterError NOT_FOUND."""
    return None if preview_id is None else preview_of(await tx.previews.get(preview_id), resource_id)


def check_room(there: Sequence[PreviewSecret], preview_id: str | None, now: datetime) -> None:
    """Raises RouterError CONFLICT where one more is too many."""
    living = [one for one in there if one.died_at(now) is None]
    of_preview = sum(one.preview_id == preview_id for one in living)
    if of_preview >= _MAX_OF_PREVIEW or len(living) >= _MAX_OF_RESOURCE:
        most = _MAX_OF_PREVIEW if of_preview >= _MAX_OF_PREVIEW else _MAX_OF_RESOURCE
        raise RouterError(
            CONFLICT,
            f"There are {most} tokens and links that still work here, which is the most there may be. Revoke those that "
            "nobody needs, or wait until one expires.",
        )


def too_many_dead(there: Sequence[PreviewSecret], now: datetime) -> list[str]:
    """The ids of dead ones that nobody need know any more."""
    dead = [(died_at, one.id) for one in there if (died_at := one.died_at(now)) is not None]
    return [secret_id for _, secret_id in sorted(dead, reverse=True)[_MAX_DEAD:]]
