"""Stored attempts, as those write and count them who order certificates of zones."""

import sqlalchemy as sa

from router.certificates.attempts import Spent
from router.domains.certificates import Outcome
from router.store.certificate_tables import certificate_attempts as attempts
from router.store.connection import rows_changed
from router.store.locks import hold_attempts
from router.store.rows import Rows

_SPENT = [outcome.value for outcome in (Outcome.OPEN, Outcome.ISSUED, Outcome.EXPIRED)]
_OF_ZONES = attempts.c.host.startswith("*.")


class SqlAttempts(Rows):
    """certificates.attempts.AttemptRows"""

    async def hold(self) -> None:
        await hold_attempts(self._connection)

    async def spent(
        self,
        host: str,
        domain: str,
        *,
        host_since: float,
        domain_since: float,
        account_since: float,
        tenant_id: str | None,
        limit: int,
    ) -> Spent:
        counts = attempts.c.outcome.in_(_SPENT)
        return Spent(
            host=await self._opened(host_since, limit, attempts.c.host == host, counts),
            registered_domain=await self._opened(domain_since, limit, attempts.c.domain == domain, counts),
            account=await self._opened(account_since, limit),
            zones=await self._opened(account_since, limit, _OF_ZONES),
            tenant=await self._opened(account_since, limit, _OF_ZONES, attempts.c.tenant_id == tenant_id),
        )

    async def open(self, attempt_id: str, host: str, domain: str, tenant_id: str | None, now: float) -> None:
        values = {"outcome": Outcome.OPEN.value, "opened_at": now, "closed_at": None}
        again = sa.update(attempts).where(attempts.c.id == attempt_id).values(values)
        if rows_changed(await self._connection.execute(again)) == 0:
            row = {"id": attempt_id, "host": host, "domain": domain, "tenant_id": tenant_id, **values}
            await self._connection.execute(sa.insert(attempts).values(row))

    async def close(self, attempt_id: str, outcome: Outcome, now: float) -> None:
        values = {"outcome": outcome.value, "closed_at": now}
        await self._connection.execute(sa.update(attempts).where(attempts.c.id == attempt_id).values(values))

    async def _opened(self, since: float, limit: int, *which: sa.ColumnElement[bool]) -> tuple[float, ...]:
        select = sa.select(attempts.c.opened_at).where(attempts.c.opened_at > since, *which)
        found = await self._connection.scalars(select.order_by(attempts.c.opened_at.desc()).limit(limit))
        return tuple(found)
