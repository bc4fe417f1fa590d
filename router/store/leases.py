"""Leases in SQL. The database's clock decides, in each statement anew."""

from collections.abc import Collection

import sqlalchemy as sa

from router.errors import StoreUnavailableError
from router.leases import Lease
from router.store.connection import Connection, Engine
from router.store.failures import translated
from router.store.journal_tables import leases
from router.store.types import DatabaseTime
from router.store.upsert import Upsert

_now = DatabaseTime()
_running = leases.c.expires_at > _now
_ours = leases.c.holder == sa.bindparam("by")
_SEED = Upsert(leases, None)
_TAKE = (
    sa.update(leases)
    .where(leases.c.name == sa.bindparam("of"), sa.or_(~_running, _ours))
    .values(
        token=leases.c.token + sa.case((sa.and_(_running, _ours), 0), else_=1),
        holder=sa.bindparam("by"),
        expires_at=_now + sa.bindparam("seconds", type_=sa.Float),
    )
    .returning(leases.c.token)
)


class SqlLeases:
    """leases.Leases"""

    def __init__(self, reader: Engine, writer: Engine) -> None:
        self._reader = reader
        self._writer = writer

    async def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        with translated():
            async with self._writer.begin() as connection:
                await connection.execute(
                    _SEED.on(connection), {"name": name, "holder": "", "token": 0, "expires_at": 0.0}
                )
                token = await connection.scalar(_TAKE, {"of": name, "by": holder, "seconds": seconds})
        return None if token is None else Lease(name, holder, token)

    async def free(self, names: Collection[str]) -> Collection[str]:
        select = sa.select(leases.c.name).where(leases.c.name.in_(sorted(names)), _running)
        with translated():
            async with self._reader.connect() as connection:
                held = set(await connection.scalars(select))
        return [name for name in names if name not in held]

    async def release(self, lease: Lease) -> None:
        with translated():
            async with self._writer.begin() as connection:
                await connection.execute(sa.update(leases).where(*_place(lease)).values(expires_at=0.0))


async def guard(connection: Connection, lease: Lease) -> None:
    """Let this transaction go on only if the lease is still held, and let nobody else have it before the commit.

    Raises StoreUnavailableError where another has it.
    """
    held = await connection.scalar(sa.select(leases.c.token).where(*_place(lease)).with_for_update(read=True))
    if held is None:
        raise StoreUnavailableError(f"the lease of {lease.name!r} was lost")


def _place(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return leases.c.name == lease.name, leases.c.holder == lease.holder, leases.c.token == lease.token
