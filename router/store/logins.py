"""Stored logins of tenants."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from router.store.login_tables import logins
from router.store.rows import Rows, fields_of, named
from router.store.upsert import Upsert, replacing
from router.tenancy.logins import ConsoleRole, Login

_PUT = Upsert(logins, replacing(*(column.name for column in logins.columns if not column.primary_key)))


class SqlLogins(Rows):
    """tenancy.logins.LoginRows"""

    async def get(self, tenant_id: str) -> Login | None:
        row = await self._one(self._locked(sa.select(logins).where(logins.c.tenant_id == tenant_id), logins))
        return None if row is None else _read(row)

    async def put(self, login: Login) -> None:
        await self._connection.execute(_PUT.on(self._connection), fields_of(login))
        self._changes.tenant(login.tenant_id)

    async def delete(self, tenant_id: str) -> None:
        await self._connection.execute(sa.delete(logins).where(logins.c.tenant_id == tenant_id))
        self._changes.tenant(tenant_id)

    async def after(self, tenant_id: str, limit: int) -> Sequence[Login]:
        select = sa.select(logins).where(logins.c.tenant_id > tenant_id).order_by(logins.c.tenant_id).limit(limit)
        return [_read(row) for row in await self._connection.execute(select)]

    async def reseal(self, login_id: str, before: str, after: str) -> None:
        same = (logins.c.id == login_id, logins.c.client_secret == before)
        await self._connection.execute(sa.update(logins).where(*same).values(client_secret=after))


def _read(row: sa.Row[Any]) -> Login:
    fields = named(row)
    return Login(
        **{
            **fields,
            "email_domains": tuple(row.email_domains),
            "groups": tuple(row.groups),
            "console_role": None if row.console_role is None else ConsoleRole(row.console_role),
            "console_groups": tuple(row.console_groups or ()),
        }
    )
