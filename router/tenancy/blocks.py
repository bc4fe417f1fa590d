"""Blocks: what the operator has taken off the air. A block is about a host, a resource or a tenant.

Only the operator lifts one, or its expiry; nothing that a customer can do does. So it holds on to what it is about:

    a tenant     all its resources and domains are blocked, those it makes later too
    a resource   it stays blocked whatever it is called and after it is deleted; its slug can not be used again, and no other
                 deployment can be published from a sandbox that it was published from. A domain that leaves it stays
                 blocked: a block of that host follows (`cause_id`), which ends with the one it came from
    a host       blocked for all tenants, registered or not, whatever zone covers it

What is blocked answers 451, gets no certificate, and loses its open connections.
"""

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import structlog

from router.base.clock import Clock
from router.base.ids import is_id, new_id
from router.base.paging import FIRST, Listing, Window
from router.base.transactions import Transactions
from router.errors import NOT_FOUND, RouterError
from router.hostname import InvalidNameError, canonical_name
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.events import Event
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields, invalid

PLATFORM = "platform"  # who blocks over the API, unless the call says
EXPIRED = "expiry"  # who lifts what has expired
MAX_REASON, MAX_PUBLIC_REASON, MAX_ACTOR = 2000, 500, 255

_MAX_EXPIRED = 100  # blocks that one transaction lifts

_log = structlog.get_logger("router.tenancy")


class BlockKind(enum.StrEnum):
    """What a block is about."""

    HOST = "host"
    RESOURCE = "resource"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block. `subject` is a host name, or an id. `reason` is for operators, `public_reason` for the owner.

    `actor` is who blocked. With `tenant_id` a host is blocked only while that tenant has it: it never led to what was
    blocked. `cause_id` is the block that it follows from. In force until `lifted_at`.
    """

    id: str
    kind: BlockKind
    subject: str
    reason: str
    public_reason: str | None = None
    actor: str
    tenant_id: str | None = None
    cause_id: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    lifted_at: datetime | None = None
    lifted_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator says of a block."""

    reason: str
    public_reason: str | None = None
    actor: str = PLATFORM
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFilter:
    """Conditions of a list; None is no condition. Lifted ones are left out unless `lifted`."""

    kind: BlockKind | None = None
    subject: str | None = None
    lifted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whom a block is about: the tenant who hears of it, and the noun of the event."""

    noun: str
    tenant_id: str
    workspace_id: str | None = None
    project_id: str | None = None
    resource_id: str | None = None
    domain_id: str | None = None


class BlockRows(Protocol):
    """Stored blocks."""

    async def put(self, block: Block) -> None:
        """Store it, in the place of the one of that id."""

    async def get(self, block_id: str) -> Block | None: ...

    async def in_force(self, kind: BlockKind, subject: str) -> Block | None: ...

    async def caused_by(self, block_id: str) -> Sequence[Block]:
        """Those in force that follow from it."""

    async def list(self, where: BlockFilter, window: Window) -> Listing[Block]:
        """The newest first."""

    async def expired(self, now: datetime, limit: int) -> Sequence[Block]:
        """Those in force whose time is over by this clock and by the database's, the longest ago first."""

    async def mark(self, kind: BlockKind, subject: str, *, blocked: bool) -> None:
        """Say it on the rows of what a block is about; their routing records count as changed."""

    async def subject_of(self, kind: BlockKind, named: str) -> str | None:
        """The id of the resource or tenant with that id or slug, deleted ones too."""

    async def owner(self, kind: BlockKind, subject: str) -> Owner | None:
        """None for a host that is no custom domain now."""

    async def of_resources(self, resource_ids: Collection[str]) -> Mapping[str, Block]:
        """What blocks each of them: its own block, its sandbox's where it is a deployment, else its tenant's."""

    async def of_domains(self, domain_ids: Collection[str]) -> Mapping[str, Block]:
        """What blocks each of these custom domains: its host's block, else its resource's."""

    async def feeds_blocked(self, sandbox_id: str, deployment_id: str) -> bool:
        """Whether another deployment that is blocked was published from this sandbox."""


class Blocks:
    """The service of blocks. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def block(self, kind: BlockKind, subject: str, order: Order) -> tuple[Block, bool]:
        """The block, and whether it is new: one that is in force already says what `order` says from now on.

        `subject` is a host, or the id or slug of a resource or tenant. Raises RouterError: NOT_FOUND (resource, tenant),
        VALIDATION_FAILED.
        """
        now = self._clock.now()
        _check(order, now)
        async with self._store.begin() as tx:
            found = await _subject(tx, kind, subject)
            old = await tx.blocks.in_force(kind, found)
            return await place(tx, kind, found, order, now), old is None

    @retry_on_deadlock
    async def unblock(self, kind: BlockKind, subject: str, *, actor: str = PLATFORM) -> Block:
        """Lift the block that is in force. Raises RouterError: NOT_FOUND, VALIDATION_FAILED (`subject`)."""
        async with self._store.begin() as tx:
            block = await tx.blocks.in_force(kind, await _subject(tx, kind, subject))
            if block is None:
                raise RouterError(NOT_FOUND, f"this {kind} is not blocked")
            return await lift(tx, block, actor, self._clock.now())

    @retry_on_deadlock
    async def lift(self, block_id: str, *, actor: str = PLATFORM) -> Block:
        """Lift a block by its id; one that is lifted stays as it is. Raises RouterError: NOT_FOUND."""
        async with self._store.begin() as tx:
            block = _found(await tx.blocks.get(block_id))
            return block if block.lifted_at is not None else await lift(tx, block, actor, self._clock.now())

    async def get(self, block_id: str) -> Block:
        """Raises RouterError: NOT_FOUND."""
        async with self._store.read() as tx:
            return _found(await tx.blocks.get(block_id))

    async def list(self, where: BlockFilter, window: Window = FIRST) -> Listing[Block]:
        """The newest first."""
        async with self._store.read() as tx:
            return await tx.blocks.list(where, window)

    async def of_resources(self, resource_ids: Collection[str]) -> Mapping[str, Block]:
        """What blocks each of these resources, by its id."""
        async with self._store.read() as tx:
            return await tx.blocks.of_resources(resource_ids)

    async def of_domains(self, domain_ids: Collection[str]) -> Mapping[str, Block]:
        """What blocks each of these custom domains, by its id."""
        async with self._store.read() as tx:
            return await tx.blocks.of_domains(domain_ids)

    async def end_expired(self) -> int:
        """Lift what has expired; how many."""
        now = self._clock.now()
        async with self._store.read() as tx:
            if not await tx.blocks.expired(now, 1):
                return 0
        async with self._store.begin() as tx:
            expired = await tx.blocks.expired(now, _MAX_EXPIRED)
            for block in expired:
                await lift(tx, block, EXPIRED, now)
            return len(expired)


async def place(tx: Tx, kind: BlockKind, subject: str, order: Order, now: datetime) -> Block:
    """Block what exists, or say anew why and until when it is blocked; inside a transaction."""
    old = await tx.blocks.in_force(kind, subject)
    said: dict[str, Any] = {
        "reason": order.reason,
        "public_reason": order.public_reason,
        "actor": order.actor,
        "expires_at": order.expires_at,
    }
    if old is None:
        block = Block(id=new_id(), kind=kind, subject=subject, created_at=now, **said)
    else:
        # What an operator says of a host himself holds for everybody, and no longer ends with another block.
        block = replace(old, tenant_id=None, cause_id=None, **said)
    await tx.blocks.put(block)
    await tx.blocks.mark(kind, subject, blocked=True)
    await _emit_event(tx, block, "suspended", now, order.actor)
    return block


async def lift(tx: Tx, block: Block, actor: str, now: datetime) -> Block:
    """End a block that is in force and those that follow from it; inside a transaction."""
    for one in (block, *await tx.blocks.caused_by(block.id)):
        await tx.blocks.put(replace(one, lifted_at=now, lifted_by=actor))
        await tx.blocks.mark(one.kind, one.subject, blocked=False)
        await _emit_event(tx, one, "resumed", now, actor)
    return replace(block, lifted_at=now, lifted_by=actor)


async def _emit_event(tx: Tx, block: Block, happened: str, now: datetime, actor: str) -> None:
    """A log line for operators, and an event for the owner, which has the public reason and no operator's name."""
    _log.info(
        f"{block.kind} {happened}",
        block=block.id,
        subject=block.subject,
        actor=actor,
        reason=block.reason,
        expires_at=block.expires_at,
    )
    owner = await tx.blocks.owner(block.kind, block.subject)
    if owner is None:
        return
    data: dict[str, Any] = {
        "block_id": block.id,
        "reason": block.public_reason,
        "expires_at": None if block.expires_at is None else block.expires_at.isoformat(),
    }
    if owner.domain_id is not None:
        data |= {"domain_id": owner.domain_id, "fqdn": block.subject}
    await tx.events.add(
        [
            Event(
                id=new_id(),
                type=f"{owner.noun}.{happened}",
                tenant_id=owner.tenant_id,
                workspace_id=owner.workspace_id,
                project_id=owner.project_id,
                resource_id=owner.resource_id,
                domain_id=owner.domain_id,
                data=data,
                created_at=now,
            )
        ]
    )


def _check(order: Order, now: datetime) -> None:
    fields = Fields()
    fields.text("reason", order.reason, max_length=MAX_REASON, required=True)
    fields.text("public_reason", order.public_reason, max_length=MAX_PUBLIC_REASON)
    fields.text("actor", order.actor, max_length=MAX_ACTOR, required=True)
    if order.expires_at is not None and order.expires_at <= now:
        fields.add("expires_at", "must be in the future")
    fields.check()


async def _subject(tx: Tx, kind: BlockKind, named: str) -> str:
    if kind is BlockKind.HOST:
        try:
            return canonical_name(named)
        except InvalidNameError as error:
            raise invalid("subject", str(error)) from None
    found = await tx.blocks.subject_of(kind, named.lower() if is_id(named.lower()) else named)
    if found is None:
        raise RouterError(NOT_FOUND, f"{kind} not found")
    return found


def _found(block: Block | None) -> Block:
    if block is None:
        raise RouterError(NOT_FOUND, "block not found")
    return block
