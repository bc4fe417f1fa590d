"""Stored environment variables."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from router.store.deployment_tables import env_vars
from router.store.rows import Rows, conditions, fields_of, named
from router.store.upsert import Upsert, replacing
from router.tenancy.env import EnvVar

_PUT = Upsert(env_vars, replacing("value", "secret", "updated_at"))


class SqlEnv(Rows):
    """tenancy.env.EnvRows"""

    async def list(self, resource_id: str, environment: str | None) -> Sequence[EnvVar]:
        where = conditions(env_vars, resource_id=resource_id, environment=environment)
        rows = await self._connection.execute(
            sa.select(env_vars).where(*where).order_by(env_vars.c.environment, env_vars.c.name)
        )
        return [EnvVar(**named(row)) for row in rows]

    async def put(self, variables: Sequence[EnvVar]) -> None:
        if variables:
            rows = [fields_of(variable) for variable in variables]
            await self._connection.execute(_PUT.on(self._connection), rows)

    async def drop(self, ids: Collection[str]) -> None:
        if ids:
            await self._connection.execute(sa.delete(env_vars).where(env_vars.c.id.in_(sorted(ids))))
