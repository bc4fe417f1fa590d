"""Leases in SQL. Each statement reads the database's clock, which alone decides.

What a node does again and again is one call in SQLite's thread, not one for each statement: a node at rest does little else.
"""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from router.base.leases import LONGEST, Lease
from router.errors import StoreUnavailableError
from router.store.connection import Connection, Engine
from router.store.failures import translated
from router.store.journal_tables import leases
from router.store.types import DatabaseTime
from router.store.upsert import Upsert

_now = DatabaseTime()
_running = sa.and_(leases.c.expires_at > _now, leases.c.expires_at <= _now + LONGEST)
_ours = leases.c.holder == sa.bindparam("by")
_SEED = Upsert(leases, None)
_TAKE = (
    sa.update(leases)
    .where(leases.c.name == sa.bindparam("of"), sa.or_(~_running, _ours))
    .values(
        token=leases.c.token + sa.case((sa.and_(_running, _ours), 0), else_=1),
        holder=sa.bindparam("by"),
        expires_at=_now + sa.bindparam("seconds", type_=sa.Float),
        ran_at=sa.func.coalesce(_now - sa.bindparam("ran", type_=sa.Float), leases.c.ran_at),
    )
    .returning(leases.c.token)
)
_RENEW = (
    sa.update(leases)
    .where(leases.c.name == sa.bindparam("of"), leases.c.token == sa.bindparam("number"), _ours, _running)
    .values(
        expires_at=_now + sa.bindparam("seconds", type_=sa.Float),
        ran_at=sa.func.coalesce(_now - sa.bindparam("ran", type_=sa.Float), leases.c.ran_at),
    )
)
_HELD = sa.select(leases.c.name, leases.c.token).where(_ours, _running)
PRESENT = "present/"  # before the holder, in the names of leases that only say that it is there
_GONE = 3600.0  # seconds after which a process that was present is forgotten
_present = leases.c.name.startswith(PRESENT)
_COUNT = sa.select(
    sa.func.count().filter(_running).label("running"),
    sa.func.count().filter(leases.c.expires_at < _now - _GONE).label("gone"),
).where(_present)
_names: sa.BindParameter[list[str]] = sa.bindparam("names", expanding=True)
_TAKEN = sa.select(leases.c.name).where(leases.c.name.in_(_names), _running)
# A job that was done in the future was dated by a clock that was ahead: when it was done is not known.
_RAN = sa.select(leases.c.name, (_now - leases.c.ran_at).label("ago")).where(
    leases.c.name.in_(_names), leases.c.ran_at <= _now
)


class SqlLeases:
    """leases.Leases"""

    def __init__(self, reader: Engine, writer: Engine) -> None:
        self._reader = reader
        self._writer = writer

    async def acquire(self, name: str, holder: str, seconds: float, ran: float | None = None) -> Lease | None:
        token = await self._writer.change(lambda connection: _take(connection, name, holder, seconds, ran))
        return None if token is None else Lease(name, holder, token)

    async def renew(self, ran: Mapping[Lease, float | None], seconds: float) -> Collection[Lease]:
        if not ran:
            return []
        until = min(seconds, LONGEST)
        rows = [
            {"of": lease.name, "by": lease.holder, "number": lease.token, "seconds": until, "ran": ago}
            for lease, ago in ran.items()
        ]

        def renewed(connection: sa.Connection) -> Collection[tuple[str, int]]:
            connection.execute(_RENEW, rows)
            return {(row.name, row.token) for row in connection.execute(_HELD, {"by": rows[0]["by"]})}

        still = await self._writer.change(renewed)
        return [lease for lease in ran if (lease.name, lease.token) in still]

    async def free(self, names: Collection[str]) -> Collection[str]:
        asked = {"names": sorted(names)}
        held = await self._reader.run(lambda connection: {row.name for row in connection.execute(_TAKEN, asked)})
        return [name for name in names if name not in held]

    async def release(self, lease: Lease) -> None:
        with translated():
            async with self._writer.begin() as connection:
                await connection.execute(sa.update(leases).where(*_place(lease)).values(expires_at=0.0))

    async def ran(self, names: Collection[str]) -> Mapping[str, float]:
        asked = {"names": sorted(names)}
        return await self._reader.run(lambda connection: {row.name: row.ago for row in connection.execute(_RAN, asked)})

    async def present(self, holder: str, seconds: float) -> int:
        def noted(connection: sa.Connection) -> int:
            _take(connection, PRESENT + holder, holder, seconds, None)
            (row,) = connection.execute(_COUNT)
            if row.gone:
                connection.execute(sa.delete(leases).where(_present, leases.c.expires_at < _now - _GONE))
            return int(row.running)

        return await self._writer.change(noted)

    async def leave(self, holder: str) -> None:
        with translated():
            async with self._writer.begin() as connection:
                await connection.execute(sa.delete(leases).where(leases.c.name == PRESENT + holder))


def _take(connection: sa.Connection, name: str, holder: str, seconds: float, ran: float | None) -> int | None:
    """The token, None where another process has it."""
    asked = {"of": name, "by": holder, "seconds": min(seconds, LONGEST), "ran": ran}
    token: int | None = connection.scalar(_TAKE, asked)
    if token is None:  # another has it, or there is no row of that name yet
        connection.execute(_SEED.on(connection), {"name": name, "holder": "", "token": 0, "expires_at": 0.0})
        token = connection.scalar(_TAKE, asked)
    return token


async def guard(connection: Connection, lease: Lease) -> None:
    """Continue this transaction only if the lease is still held, and lock it until the commit.

    Raises StoreUnavailableError where another process has it.
    """
    held = await connection.scalar(sa.select(leases.c.token).where(*_place(lease)).with_for_update(read=True))
    if held is None:
        raise StoreUnavailableError(f"the lease of {lease.name!r} was lost")


def _place(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return leases.c.name == lease.name, leases.c.holder == lease.holder, leases.c.token == lease.token
