"""Stored sessions: hashes of what their holders have, never that itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.paging import Listing, Window
from router.routes.records import session_key
from router.store.changes import chunks
from router.store.login_tables import sessions
from router.store.rows import Rows, conditions, fields_of, named
from router.tenancy.logins import ConsoleRole
from router.tenancy.sessions import Session

_row = sessions.c


class SqlSessions(Rows):
    """tenancy.sessions.SessionRows"""

    async def add(self, session: Session) -> None:
        await self._connection.execute(sa.insert(sessions).values(fields_of(session)))
        self._changes.record(session_key(session.id))

    async def get(self, session_id: str) -> Session | None:
        row = await self._one(sa.select(sessions).where(_row.id == session_id))
        return None if row is None else _read(row)

    async def by_digest(self, digest: str) -> Session | None:
        row = await self._one(sa.select(sessions).where(_row.digest == digest))
        return None if row is None else _read(row)

    async def list(
        self, tenant_id: str, now: datetime, window: Window, *, after: tuple[datetime, str] | None = None
    ) -> Listing[Session]:
        select = sa.select(sessions).where(_row.tenant_id == tenant_id, *_living(now))
        behind = None
        if after is not None:
            at, session_id = after
            behind = sa.or_(_row.created_at < at, sa.and_(_row.created_at == at, _row.id < session_id))
        return await self._listing(select, window, (_row.created_at.desc(), _row.id.desc()), _read, after=behind)

    async def revoke(self, session_id: str, now: datetime) -> None:
        await self._revoke(_row.id == session_id, now=now)

    async def revoke_all(self, tenant_id: str, now: datetime) -> int:
        return await self._revoke(_row.tenant_id == tenant_id, now=now)

    async def revoke_console(self, now: datetime) -> int:
        return await self._revoke(_row.console_role.is_not(None), now=now)

    async def give_token(self, session_id: str, digest: str, now: datetime) -> bool:
        given = sa.update(sessions).where(_row.id == session_id, *_living(now)).values(digest=digest, last_used_at=now)
        return (await self._connection.execute(given.returning(_row.id))).one_or_none() is not None

    async def make_room(self, tenant_id: str, most: int, *, subject: str | None = None) -> None:
        these = conditions(sessions, tenant_id=tenant_id, subject=subject)
        number = await self._connection.scalar(sa.select(sa.func.count()).select_from(sessions).where(*these))
        if number <= most:
            return
        order = (_row.revoked_at.is_(None), _row.created_at, _row.id)
        ids = sa.select(_row.id).where(*these).order_by(*order).limit(number - most)
        await self._delete(list(await self._connection.scalars(ids)))

    async def used(self, session_id: str, at: datetime) -> None:
        later = sa.or_(_row.last_used_at.is_(None), _row.last_used_at < at)
        await self._connection.execute(sa.update(sessions).where(_row.id == session_id, later).values(last_used_at=at))

    async def _revoke(self, *which: sa.ColumnElement[bool], now: datetime) -> int:
        revoke = sa.update(sessions).where(*which, *_living(now)).values(revoked_at=now).returning(_row.id)
        ids = list(await self._connection.scalars(revoke))
        self._changes.record(*map(session_key, ids))
        return len(ids)

    async def _delete(self, ids: Sequence[str]) -> None:
        for chunk in chunks(ids):
            await self._connection.execute(sa.delete(sessions).where(_row.id.in_(chunk)))
        self._changes.record(*map(session_key, ids))


def _living(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (_row.revoked_at.is_(None), _row.expires_at > now)


def _read(row: sa.Row[Any]) -> Session:
    role = None if row.console_role is None else ConsoleRole(row.console_role)
    return Session(**{**named(row), "groups": tuple(row.groups), "console_role": role})
