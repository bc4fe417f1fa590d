"""Advisory locks: what only one transaction at a time may do on PostgreSQL. SQLite has one writer anyway."""

import sqlalchemy as sa

from router.store.connection import Connection

# Any numbers that nothing else in the database locks: "miosa", and some after it.
_OUTBOX = 0x6D696F7361
_NAMES = _OUTBOX + 1
_SIGNING_KEYS = _OUTBOX + 2
_ATTEMPTS = _OUTBOX + 3
_WAKES = _OUTBOX + 10


async def lock_outbox(connection: Connection) -> None:
    """Wait until no other transaction that changes routing records is under way.

    The outbox is read by position, so its ids must become visible in order; and two transactions that raise the same
    versions in different order would block each other.
    """
    await _hold(connection, _OUTBOX)


async def hold_names(connection: Connection) -> None:
    """Wait until no other transaction that registers names is under way.

    No constraint can say that a name must not lie under another tenant's, so a service checks it first, and no other may
    register between the check and the commit. To be taken before any row is locked: a transaction that waits here must not
    hold what others wait for.
    """
    await _hold(connection, _NAMES)


async def hold_signing_keys(connection: Connection) -> None:
    """Wait until no other transaction that makes or deletes signing keys is under way: of several nodes one makes each."""
    await _hold(connection, _SIGNING_KEYS)


async def hold_attempts(connection: Connection) -> None:
    """Wait until no other transaction that counts attempts and opens one is under way: no budget is spent twice."""
    await _hold(connection, _ATTEMPTS)


async def hold_wakes(connection: Connection) -> None:
    """Wait until no other transaction that decides about wakes is under way: of several nodes one takes each."""
    await _hold(connection, _WAKES)


async def _hold(connection: Connection, number: int) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
