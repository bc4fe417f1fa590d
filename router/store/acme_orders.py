"""Stored orders at the authority, the account that places them, and customers' requests."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.certificates.account import Account
from router.certificates.held import Origin
from router.certificates.order import Order, OrderState
from router.certificates.request import CertificateRequest
from router.domains.certificates import Outcome
from router.store.certificate_attempts import SqlAttempts
from router.store.connection import Engine, rows_changed
from router.store.failures import translated
from router.store.held_certificate_tables import (
    UNWITHDRAWN,
    acme_accounts,
    acme_orders,
    certificate_requests,
    held_certificates,
)
from router.store.rows import Rows, fields_of, named
from router.store.upsert import Upsert, replacing

_ADD_ACCOUNT = Upsert(acme_accounts, None)
_PUT_REQUEST = Upsert(
    certificate_requests, replacing(*(column.name for column in certificate_requests.c if not column.primary_key))
)
_is_open = acme_orders.c.closed_at.is_(None)
# A domain has at most one open order, and a token belongs to one domain. Each answer is read within a second, so more than so
# many would be too many to read; the authority's limits keep them far below.
_OPEN_VALUES = sa.select(acme_orders.c.token, acme_orders.c.txt).where(_is_open).limit(10_000)
_SAVED = (
    "state",
    "url",
    "replaces",
    "txt",
    "sealed_key",
    "csr",
    "attempts",
    "error",
    "next_at",
    "deadline_at",
    "closed_at",
)


class SqlOrders(Rows):
    """certificates.order.OrderRows"""

    async def get(self, order_id: str) -> Order | None:
        select = sa.select(acme_orders).where(acme_orders.c.id == order_id)
        row = await self._one(self._locked(select, acme_orders))
        return None if row is None else _read(row)

    async def add(self, order: Order) -> bool:
        taken = sa.select(acme_orders.c.id).where(acme_orders.c.domain == order.domain, _is_open)
        if await self._connection.scalar(taken) is not None:
            return False
        await self._connection.execute(sa.insert(acme_orders).values(fields_of(order)))
        return True

    async def save(self, order: Order, seen: OrderState) -> bool:
        which = (acme_orders.c.id == order.id, acme_orders.c.state == seen, _is_open)
        values = {name: getattr(order, name) for name in _SAVED}
        return rows_changed(await self._connection.execute(sa.update(acme_orders).where(*which).values(values))) > 0

    async def last(self, domains: Sequence[str]) -> dict[str, Order]:
        of = acme_orders.alias()
        newest = (
            sa.select(of.c.id)
            .where(of.c.domain == acme_orders.c.domain)
            .order_by(of.c.opened_at.desc(), of.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        select = sa.select(acme_orders).where(acme_orders.c.domain.in_(sorted(domains)), acme_orders.c.id == newest)
        return {row.domain: _read(row) for row in await self._connection.execute(select)}

    async def due(self, now: datetime, limit: int) -> Sequence[Order]:
        over = sa.and_(acme_orders.c.deadline_at <= now, acme_orders.c.state != OrderState.PLANNED)
        ready = sa.or_(acme_orders.c.next_at <= now, over)
        select = sa.select(acme_orders).where(_is_open, ready).order_by(acme_orders.c.next_at, acme_orders.c.id)
        return [_read(row) for row in await self._connection.execute(select.limit(limit))]

    async def begun(self) -> bool:
        select = sa.select(sa.exists().where(_is_open, acme_orders.c.state != OrderState.PLANNED))
        return bool(await self._connection.scalar(select))

    async def open_counts(self, now: datetime) -> tuple[int, int]:
        renewed = sa.exists().where(
            held_certificates.c.domain == acme_orders.c.domain,
            held_certificates.c.origin == Origin.MANAGED,
            held_certificates.c.removed_at.is_(None),
        )
        select = sa.select(
            sa.func.count().filter(~renewed).label("first"), sa.func.count().filter(renewed).label("renewals")
        ).where(_is_open, ~sa.and_(acme_orders.c.state == OrderState.PLANNED, acme_orders.c.next_at > now))
        row = (await self._connection.execute(select.select_from(acme_orders))).one()
        return row.first, row.renewals

    async def abandon(self, domain: str, now: datetime) -> bool:
        select = sa.select(acme_orders.c.id, acme_orders.c.state).where(acme_orders.c.domain == domain, _is_open)
        order = await self._one(self._locked(select, acme_orders))
        if order is None:
            return False
        values = {"state": OrderState.ABANDONED, "sealed_key": None, "csr": None, "closed_at": now}
        await self._connection.execute(sa.update(acme_orders).where(acme_orders.c.id == order.id).values(values))
        outcome = Outcome.EXPIRED if order.state == OrderState.FINALIZING else Outcome.FAILED
        attempts = SqlAttempts(self._connection, self._changes, writing=True)
        await attempts.close(order.id, outcome, now.timestamp())
        return True

    async def unwithdrawn(self, limit: int) -> Sequence[Order]:
        select = sa.select(acme_orders).where(sa.text(UNWITHDRAWN))
        rows = await self._connection.execute(select.order_by(acme_orders.c.closed_at, acme_orders.c.id).limit(limit))
        return [_read(row) for row in rows]

    async def withdrawn(self, order_id: str) -> None:
        which = (acme_orders.c.id == order_id, ~_is_open)
        await self._connection.execute(sa.update(acme_orders).where(*which).values(txt=[]))


class SqlTxtSource:
    """certificates.challenges.TxtSource: one statement, in a connection of its own."""

    def __init__(self, reader: Engine) -> None:
        self._reader = reader

    async def open_values(self) -> Mapping[str, Sequence[str]]:
        with translated():
            async with self._reader.connect() as connection:
                rows = (await connection.execute(_OPEN_VALUES)).all()
        return {row.token: tuple(row.txt) for row in rows if row.txt}


class SqlAccounts(Rows):
    """certificates.account.AccountRows"""

    async def get(self, directory: str) -> Account | None:
        select = sa.select(acme_accounts).where(acme_accounts.c.directory == directory)
        row = await self._one(self._locked(select, acme_accounts))
        return None if row is None else Account(**named(row))

    async def make(self, account: Account) -> Account:
        await self._connection.execute(_ADD_ACCOUNT.on(self._connection), fields_of(account))
        there = await self.get(account.directory)
        return account if there is None else there

    async def save(self, account: Account) -> None:
        which = acme_accounts.c.directory == account.directory
        await self._connection.execute(sa.update(acme_accounts).where(which).values(fields_of(account, "directory")))


class SqlRequests(Rows):
    """certificates.request.RequestRows"""

    async def get(self, domain: str) -> CertificateRequest | None:
        select = sa.select(certificate_requests).where(certificate_requests.c.domain == domain)
        row = await self._one(self._locked(select, certificate_requests))
        return None if row is None else CertificateRequest(**{**named(row), "names": tuple(row.names)})

    async def put(self, request: CertificateRequest) -> None:
        await self._connection.execute(_PUT_REQUEST.on(self._connection), fields_of(request))

    async def remove(self, domain: str) -> None:
        await self._connection.execute(sa.delete(certificate_requests).where(certificate_requests.c.domain == domain))


def _read(row: sa.Row[Any]) -> Order:
    return Order(**{**named(row), "state": OrderState(row.state), "names": tuple(row.names), "txt": tuple(row.txt)})
