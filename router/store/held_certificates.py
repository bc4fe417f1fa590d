"""Stored certificates whose keys the router holds, and what nodes read of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from router.certificates.delegation import DelegationState
from router.certificates.held import HeldCertificate, HeldDelta, Origin
from router.domains.certificates import LATE_AFTER
from router.store.connection import Engine, rows_changed
from router.store.failures import translated
from router.store.held_certificate_tables import delegations
from router.store.held_certificate_tables import held_certificates as held
from router.store.rows import Rows, fields_of, named
from router.store.types import Instant, SecondsOf, SettledTime

# Seconds: rows are read again for so long, because a row is stamped before it can be seen. No statement takes longer; of
# transactions see SettledTime.
_OVERLAP = 6.0
_OWNERS_TIME = timedelta(days=14)
_COLUMNS = [column for column in held.c if column.name != "changed_at"]
_SAVED = ("renew_at", "ari_at", "warned_days")
BLANK: Mapping[str, Any] = {"chain": "", "sealed_key": "", "names": [], "renew_at": None, "ari_at": None}


class SqlHeldCertificates(Rows):
    """certificates.held.HeldRows"""

    async def get(self, domain: str, origin: Origin) -> HeldCertificate | None:
        select = sa.select(*_COLUMNS).where(*_of(domain, origin), held.c.removed_at.is_(None))
        row = await self._one(self._locked(select, held))
        return None if row is None else _read(row)

    async def at(self, domains: Sequence[str]) -> Sequence[HeldCertificate]:
        which = (held.c.domain.in_(sorted(domains)), held.c.removed_at.is_(None))
        return await self._all(sa.select(*_COLUMNS).where(*which).order_by(held.c.domain, held.c.origin))

    async def put(self, certificate: HeldCertificate) -> None:
        await self._connection.execute(sa.delete(held).where(*_of(certificate.domain, certificate.origin)))
        await self._connection.execute(sa.insert(held).values(fields_of(certificate)))

    async def save(self, certificate: HeldCertificate) -> bool:
        values = {name: getattr(certificate, name) for name in _SAVED}
        which = (held.c.id == certificate.id, held.c.removed_at.is_(None))
        return rows_changed(await self._connection.execute(sa.update(held).where(*which).values(values))) > 0

    async def remove(self, domain: str, origin: Origin, now: datetime) -> bool:
        which = (*_of(domain, origin), held.c.removed_at.is_(None))
        update = sa.update(held).where(*which).values(removed_at=now, **BLANK)
        return rows_changed(await self._connection.execute(update)) > 0

    async def to_ask(self, now: datetime, limit: int) -> Sequence[HeldCertificate]:
        which = (held.c.origin == Origin.MANAGED, held.c.removed_at.is_(None), held.c.ari_at <= now)
        return await self._all(sa.select(*_COLUMNS).where(*which).order_by(held.c.ari_at, held.c.id).limit(limit))

    async def late(self, now: datetime, limit: int) -> Sequence[HeldCertificate]:
        # Only managed ones that are there have a time to be renewed: by that alone databases take its index.
        which = (
            held.c.warned_days.is_(None),
            held.c.renew_at < now,
            _is_late(now),
        )
        return await self._all(sa.select(*_COLUMNS).where(*which).order_by(held.c.not_after, held.c.id).limit(limit))

    async def ending(
        self, origin: Origin, before: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[HeldCertificate]:
        select = sa.select(*_COLUMNS).where(
            held.c.origin == origin, held.c.removed_at.is_(None), held.c.not_after < before
        )
        if after is not None:
            at, last = after
            select = select.where(sa.tuple_(held.c.not_after, held.c.id) > sa.tuple_(sa.literal(at, Instant), last))
        return await self._all(select.order_by(held.c.not_after, held.c.id).limit(limit))

    async def _all(self, select: sa.Select[Any]) -> Sequence[HeldCertificate]:
        return [_read(row) for row in await self._connection.execute(select)]


class SqlHeldLog:
    """certificates.held.HeldLog"""

    def __init__(self, reader: Engine) -> None:
        self._reader = reader

    async def changes_since(self, since: float | None, limit: int, after: tuple[float, str] | None = None) -> HeldDelta:
        select = sa.select(held).order_by(held.c.changed_at, held.c.id).limit(limit)
        # At the start nobody needs to hear of what is gone.
        select = select.where(held.c.removed_at.is_(None) if since is None else held.c.changed_at > since)
        if after is not None:
            at, last = after
            select = select.where(sa.tuple_(held.c.changed_at, held.c.id) > (at, last))
        with translated():
            async with self._reader.connect() as connection:
                now: float = await connection.scalar(sa.select(SettledTime()))
                rows = (await connection.execute(select)).all()
        last_row = rows[-1] if len(rows) == limit else None
        return HeldDelta(
            certificates=[_read(row) for row in rows],
            until=now - _OVERLAP,
            next=None if last_row is None else (last_row.changed_at, last_row.id),
        )


def held_state(now: datetime) -> sa.ColumnElement[str]:
    """How a row that was not removed stands, as the metric `certificates` has it: `issued`; `expiring` where it should have been
    renewed for long (`Leaf.late_at`), or, of an uploaded one, where its owner has two weeks left; `expired`. NULL where it has
    ended and nobody misses it: in the place of an uploaded one, and of a zone whose owner has taken the delegation away, hosts
    get certificates of their own."""
    ended, uploaded = held.c.not_after <= now, held.c.origin == Origin.UPLOADED
    delegated = sa.exists().where(delegations.c.domain == held.c.domain, delegations.c.state == DelegationState.PRESENT)
    near = sa.case((uploaded, held.c.not_after < now + _OWNERS_TIME), else_=_is_late(now))
    return sa.case(
        (sa.and_(ended, sa.or_(uploaded, ~delegated)), sa.null()),
        (ended, "expired"),
        (near, "expiring"),
        else_="issued",
    )


def _is_late(now: datetime) -> sa.ColumnElement[bool]:
    begin, end = SecondsOf(held.c.not_before), SecondsOf(held.c.not_after)
    return begin + (end - begin) * LATE_AFTER < now.timestamp()


def _of(domain: str, origin: Origin) -> tuple[sa.ColumnElement[bool], ...]:
    return held.c.domain == domain, held.c.origin == origin


def _read(row: sa.Row[Any]) -> HeldCertificate:
    values = {name: value for name, value in named(row).items() if name != "changed_at"}
    return HeldCertificate(**{**values, "origin": Origin(row.origin), "names": tuple(row.names)})
