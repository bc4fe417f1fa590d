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
from router.base.transactions import Transactions
from router.errors import StoreUnavailableError
from router.hostname import host_meanings
from router.operator.server import Peer, log_act
from router.tenancy.blocks import BlockKind, Owner
from router.tenancy.transaction import Tx

# What an act is called in the audit log; any other is `node.<act>`.
ACTIONS: Final[Mapping[str, str]] = {
    "tap": "traffic.tap",
    "cut": "session.cut",
    "log-level": "log_level.set",
    "log_level": "log_level.set",
}

_log = structlog.get_logger("router.node")


class OperatorActs:
    """`server.OnAct`, with the audit log behind it."""

    def __init__(self, audit: AuditLog, store: Transactions[Tx]) -> None:
        self._audit = audit
        self._store = store

    async def __call__(self, peer: Peer, act: str, subject: str, details: Mapping[str, Any]) -> None:
        """Say who did what: in the log, and in the audit log."""
        await log_act(peer, act, subject, details)
        owner = None
        try:
            owner = await self._owner(subject) if subject else None
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
                return await _named(tx, subject)
            found = await tx.blocks.owner(BlockKind.HOST, subject)
            for meaning in host_meanings(subject) if found is None else ():
                found = found or await _named(tx, meaning.slug, BlockKind.RESOURCE)
            return found


async def _named(tx: Tx, name: str, *kinds: BlockKind) -> Owner | None:
    for kind in kinds or (BlockKind.TENANT, BlockKind.RESOURCE):
        identity = await tx.blocks.subject_of(kind, name)
        if identity is not None:
            return await tx.blocks.owner(kind, identity)
    return None


def _actor(peer: Peer) -> Actor:
    try:
        return operator(peer.uid, pwd.getpwuid(peer.uid).pw_name)
    except KeyError:  # no name for this number, as in many containers
        return operator(peer.uid, f"user {peer.uid}")
