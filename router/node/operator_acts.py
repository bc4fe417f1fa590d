"""What operators do at the node's sockets, into the audit log: with whose traffic or sessions it is about, so that the tenant sees it.

A store that is away keeps no operator from acting, least of all then: the log line says it, and the entry waits.
"""

import pwd
from collections.abc import Mapping
from typing import Any, Final

import structlog

from router.audit.act import operator
from router.audit.entry import Actor, Via
from router.audit.log import AuditLog
from router.errors import StoreUnavailableError
from router.hostname import host_meanings
from router.operator.server import Peer, log_act
from router.store import Store
from router.store.transaction import Transaction
from router.tenancy.blocks import BlockKind, Owner

# What an act is called in the audit log; any other is `node.<act>`.
ACTIONS: Final[Mapping[str, str]] = {
    "tap": "traffic.tap",
    "cut": "session.cut",
    "log_level": "log_level.set",
}

OF_TENANTS: Final = frozenset({"tap", "cut"})  # acts about a host, resource or tenant

_log = structlog.get_logger("router.node")


class OperatorActs:
    """`server.OnAct`, with the audit log behind it."""

    def __init__(self, audit: AuditLog, store: Store, platform_domain: str) -> None:
        self._audit = audit
        self._store = store
        self._platform = platform_domain

    async def __call__(self, peer: Peer, act: str, subject: str, details: Mapping[str, Any]) -> None:
        """Say who did what: in the log, and in the audit log."""
        await log_act(peer, act, subject, details)
        owner = None
        if subject and act in OF_TENANTS:
            try:
                owner = await self._owner(subject)
            except StoreUnavailableError as error:
                _log.warning("owner of what an operator acts on is not known", subject=subject, error=str(error))
        await self._audit.add(
            _actor(peer),
            ACTIONS.get(act, f"node.{act.replace('-', '_')}"),
            via=Via.SOCKET,
            tenant_id=None if owner is None else owner.tenant_id,
            workspace_id=None if owner is None else owner.workspace_id,
            project_id=None if owner is None else owner.project_id,
            resource_id=None if owner is None else owner.resource_id or owner.tenant_id,
            resource_name=subject or None,
            wait=True,
        )

    async def _owner(self, subject: str) -> Owner | None:
        """Whose it is: a host, or the id or slug of a resource or tenant."""
        async with self._store.read() as tx:
            if "." not in subject:
                return await _named(tx, subject, BlockKind.TENANT) or await _named(tx, subject, BlockKind.RESOURCE)
            if (owner := await tx.blocks.owner(BlockKind.HOST, subject)) is not None:
                return owner
            for meaning in host_meanings(subject):
                owner = await _named(tx, meaning.slug, BlockKind.RESOURCE)
                # In a zone of others the name means nothing of theirs.
                if owner is not None and (
                    meaning.zone == self._platform
                    or any(zone.tenant_id == owner.tenant_id for zone in await tx.preview_domains.at([meaning.zone]))
                ):
                    return owner
        return None


async def _named(tx: Transaction, name: str, kind: BlockKind) -> Owner | None:
    identity = await tx.blocks.subject_of(kind, name)
    return None if identity is None else await tx.blocks.owner(kind, identity)


def _actor(peer: Peer) -> Actor:
    try:
        return operator(peer.uid, pwd.getpwuid(peer.uid).pw_name)
    except KeyError:  # no name for this number, as in many containers
        return operator(peer.uid, f"user {peer.uid}")
