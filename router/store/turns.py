"""Turns: what only one transaction at a time may do on PostgreSQL. On SQLite writers take turns anyway."""

import sqlalchemy as sa

from router.store.connection import Connection

# Any two numbers that nothing else in the database locks: "miosa", and the one after it.
_TURN = 0x6D696F7361
_NAMES = _TURN + 1


async def take_turn(connection: Connection) -> None:
    """Wait until no other transaction that changes routing records is under way.

    The outbox is read by position, so its ids must become visible in order; and two transactions that raise the same
    versions in different order would block each other.
    """
    await _hold(connection, _TURN)


async def hold_names(connection: Connection) -> None:
    """Wait until no other transaction that registers names is under way.

    That no name lies under another tenant's is nothing that a constraint can say, so it is looked for first, and nobody
    may come in between. To be taken before any row is locked: whoever waits here must not be waited for.
    """
    await _hold(connection, _NAMES)


async def _hold(connection: Connection, number: int) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
