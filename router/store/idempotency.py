"""Used Idempotency-Keys in SQL: a key is taken by one statement, so of two at once exactly one gets it."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import sqlalchemy as sa

from router.base.idempotency import KEPT, LEASE, Claim, Claimed, Different, Replay, Running
from router.errors import IDEMPOTENCY_IN_PROGRESS, RouterError, StoreUnavailableError
from router.store.ambient import ambient_of
from router.store.connection import Connection, Engine, rows_changed
from router.store.failures import translated
from router.store.journal_tables import idempotency
from router.store.types import Instant
from router.store.upsert import Upsert, replacing

_TRIES = 3  # a row may vanish between losing it and looking at it; that it does so again and again is no chance


def _over(since: str, until: str) -> sa.ColumnElement[bool]:
    claimed_at = idempotency.c.claimed_at
    return sa.or_(claimed_at <= sa.bindparam(since, type_=Instant), claimed_at > sa.bindparam(until, type_=Instant))


_TAKE = Upsert(
    idempotency,
    replacing("fingerprint", "token", "claimed_at", "status", "body"),
    # One that is further ahead than it can last was claimed by a clock that was ahead.
    where=lambda _: sa.case(
        (idempotency.c.status.is_(None), _over("unanswered_since", "unanswered_until")),
        else_=_over("answered_since", "answered_until"),
    ),
    returning=[idempotency.c.token],
)


class SqlIdempotency:
    """idempotency.IdempotencyStore. Within an ambient transaction it works in that."""

    def __init__(self, writing: Engine) -> None:
        self._engine = writing

    async def claim(self, owner: str, key: str, fingerprint: str, now: datetime) -> Claim:
        token = uuid.uuid4().hex
        with translated():
            for _ in range(_TRIES):
                async with self._transaction() as connection:
                    if await self._take(connection, owner, key, fingerprint, token, now):
                        self._keep(owner, key, fingerprint, token, now)
                        return Claimed(owner, key, token)
                    row = (await connection.execute(sa.select(idempotency).where(*_place(owner, key)))).one_or_none()
                if row is None:
                    continue
                if row.fingerprint != fingerprint:
                    return Different()
                return Running() if row.status is None else Replay(row.status, row.body)
        raise StoreUnavailableError("the idempotency key was taken and freed again and again")

    async def _take(
        self, connection: Connection, owner: str, key: str, fingerprint: str, token: str, now: datetime
    ) -> bool:
        row = {"owner": owner, "key": key, "fingerprint": fingerprint, "token": token, "claimed_at": now}
        ends = {"unanswered_since": now - LEASE, "answered_since": now - KEPT}
        ends |= {"unanswered_until": now + LEASE, "answered_until": now + KEPT}
        taken = await connection.execute(_TAKE.on(connection), {**row, "status": None, "body": None, **ends})
        return taken.scalar_one_or_none() == token

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """The ambient one, which is committed later, or one of its own."""
        ambient = ambient_of(self._engine)
        if ambient is not None:
            try:
                yield await ambient.opened()
            except BaseException as error:
                await ambient.undo(error)
                raise
            return
        async with self._engine.begin() as connection:
            yield connection

    def _keep(self, owner: str, key: str, fingerprint: str, token: str, now: datetime) -> None:
        """The key stays claimed where the ambient transaction is undone and another follows."""
        ambient = ambient_of(self._engine)
        if ambient is None:
            return

        async def again(connection: Connection) -> None:
            if not await self._take(connection, owner, key, fingerprint, token, now):
                raise RouterError(IDEMPOTENCY_IN_PROGRESS)

        ambient.claims(again)

    async def finish(self, claimed: Claimed, status: int, body: bytes, now: datetime) -> None:
        await self._change(
            sa.update(idempotency).where(*_ours(claimed)).values(status=status, body=body, claimed_at=now)
        )

    async def release(self, claimed: Claimed) -> None:
        await self._change(sa.delete(idempotency).where(*_ours(claimed), idempotency.c.status.is_(None)))

    async def _change(self, statement: sa.Update | sa.Delete) -> int:
        with translated():
            async with self._transaction() as connection:
                return rows_changed(await connection.execute(statement))


def _place(owner: str, key: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return idempotency.c.owner == owner, idempotency.c.key == key


def _ours(claimed: Claimed) -> tuple[sa.ColumnElement[bool], ...]:
    return *_place(claimed.owner, claimed.key), idempotency.c.token == claimed.token
