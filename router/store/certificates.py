"""Certificates and attempts in SQL. The gate's own reads and writes (`SqlCertificateLog`) are no part of any transaction
of the verbs: nobody waits for them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.domains.certificates import (
    Attempt,
    Certificate,
    CertificateStatus,
    Leaf,
    News,
    Outcome,
    Seen,
    Source,
    live_until,
)
from router.routes.records import DomainStatus
from router.store.certificate_tables import certificate_attempts, certificates
from router.store.connection import Engine, rows_changed
from router.store.failures import translated
from router.store.rows import Rows, fields_of, named
from router.store.tables import custom_domains
from router.store.types import DatabaseTime
from router.store.upsert import Upsert, replacing

# Seconds: rows are read again for so long, because a row is stamped before it can be seen. No statement takes longer.
_OVERLAP = 6.0

_HAS_ONE = (CertificateStatus.ISSUED, CertificateStatus.EXPIRING)
_LEAF = ("issuer", "serial", "not_before", "not_after")
COLUMNS = [column for column in certificates.c if column.name != "changed_at"]
_PREFIX = "certificate_"
JOINED = [column.label(_PREFIX + column.name) for column in COLUMNS]


def _certainty(outcome: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.case({value: place for place, value in enumerate(_LEAST_CERTAIN_FIRST)}, value=outcome, else_=-1)


_LEAST_CERTAIN_FIRST = [Outcome.OPEN.value, Outcome.EXPIRED.value, Outcome.FAILED.value, Outcome.ISSUED.value]
_SAVE_ATTEMPT = Upsert(
    certificate_attempts,
    lambda excluded: {
        "outcome": excluded["outcome"],
        "closed_at": excluded["closed_at"],
        "changed_at": DatabaseTime(),
    },
    where=lambda excluded: _certainty(excluded["outcome"]) > _certainty(certificate_attempts.c.outcome),
)


def _after_visit(excluded: Any) -> Mapping[str, Any]:
    """A visit by https: there is a certificate, whatever was known before. Which one is not known by that."""
    read = sa.and_(
        certificates.c.source == Source.PROBE.value,
        certificates.c.not_after > excluded["seen_at"],
        # Spelt out: a list becomes as many parameters as it has members, which many rows at once can't have.
        sa.or_(*(certificates.c.status == status.value for status in _HAS_ONE)),
    )
    return {
        "status": sa.case((read, certificates.c.status), else_=excluded["status"]),
        "source": sa.case((read, certificates.c.source), else_=excluded["source"]),
        "tenant_id": sa.func.coalesce(excluded["tenant_id"], certificates.c.tenant_id),
        "seen_at": excluded["seen_at"],
        "last_error": sa.case((read, certificates.c.last_error), else_=None),
        "retry_at": sa.case((read, certificates.c.retry_at), else_=None),
        "due_at": sa.case((read, certificates.c.due_at), else_=excluded["seen_at"]),
        "failures": sa.case((read, certificates.c.failures), else_=0),
        "changed_at": DatabaseTime(),
    }


_SAVE_VISIT = Upsert(
    certificates,
    _after_visit,
    where=lambda excluded: sa.or_(certificates.c.seen_at.is_(None), certificates.c.seen_at < excluded["seen_at"]),
)
_PUT = Upsert(
    certificates,
    lambda excluded: {
        **replacing(*(column.name for column in COLUMNS if column.name != "host"))(excluded),
        "changed_at": DatabaseTime(),
    },
)


class SqlCertificateLog:
    """gate.ledger.CertificateLog"""

    def __init__(self, reader: Engine, writer: Engine) -> None:
        self._reader = reader
        self._writer = writer

    async def save_attempts(self, attempts: Sequence[Attempt]) -> None:
        rows = [{**fields_of(attempt), "outcome": attempt.outcome.value} for attempt in attempts]
        await self._write(_SAVE_ATTEMPT, rows)

    async def save_visits(self, visits: Sequence[Seen]) -> None:
        common = {"status": CertificateStatus.ISSUED.value, "source": Source.TRAFFIC.value, "failures": 0}
        await self._write(_SAVE_VISIT, [{**fields_of(visit), "due_at": visit.seen_at, **common} for visit in visits])

    async def news(self, since: float | None, opened_since: float, most: int) -> News:
        attempts = sa.select(*(column for column in certificate_attempts.c if column.name != "changed_at"))
        columns = [certificates.c[name] for name in ("host", "status", "source", "seen_at", "not_after")]
        hosts = sa.select(*columns)
        if since is None:
            attempts = attempts.where(certificate_attempts.c.opened_at > opened_since)
            hosts = hosts.where(certificates.c.seen_at.is_not(None))
        else:
            attempts = attempts.where(certificate_attempts.c.changed_at > since)
            hosts = hosts.where(certificates.c.changed_at > since)
        hosts = hosts.order_by(certificates.c.changed_at.desc()).limit(most)
        with translated():
            async with self._reader.connect() as connection:
                now: float = await connection.scalar(sa.select(DatabaseTime()))
                attempt_rows = (await connection.execute(attempts)).all()
                host_rows = (await connection.execute(hosts)).all()
        return News(
            attempts=tuple(Attempt(**{**named(row), "outcome": Outcome(row.outcome)}) for row in attempt_rows),
            live={
                row.host: live_until(CertificateStatus(row.status), _source(row.source), row.seen_at, row.not_after)
                for row in host_rows
            },
            until=now - _OVERLAP,
        )

    async def prune(self, opened_before: float, seen_before: datetime) -> int:
        old_attempts = sa.delete(certificate_attempts).where(certificate_attempts.c.opened_at < opened_before)
        old_hosts = sa.delete(certificates).where(certificates.c.seen_at < seen_before)
        with translated():
            async with self._writer.begin() as connection:
                return sum([rows_changed(await connection.execute(old)) for old in (old_attempts, old_hosts)])

    async def _write(self, statement: Upsert, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        with translated():
            async with self._writer.begin() as connection:
                await connection.execute(statement.on(connection), rows)


class SqlCertificates(Rows):
    """gate.warming.CertificateRows"""

    async def get(self, host: str) -> Certificate | None:
        row = await self._one(self._locked(sa.select(*COLUMNS).where(certificates.c.host == host), certificates))
        return None if row is None else read_certificate(row)

    async def put(self, certificate: Certificate) -> None:
        values = fields_of(certificate, "leaf") | fields_of_leaf(certificate.leaf)
        await self._connection.execute(_PUT.on(self._connection), values)

    async def unconfirmed(self, most: int) -> Sequence[tuple[str, str]]:
        """(id, name) of verified domains that have a certificate: they are in use, and nobody has said so yet."""
        select = (
            sa.select(custom_domains.c.id, custom_domains.c.fqdn)
            .join(certificates, certificates.c.host == custom_domains.c.fqdn)
            .where(
                custom_domains.c.status == DomainStatus.VERIFIED.value,
                custom_domains.c.removed_at.is_(None),
                certificates.c.status.in_([status.value for status in _HAS_ONE]),
            )
        )
        return [(row.id, row.fqdn) for row in await self._connection.execute(select.limit(most))]

    async def due(self, now: datetime, most: int) -> Sequence[tuple[str, str, str]]:
        """(id, name, tenant) of domains that route and whose certificate is to be looked at, the longest due first."""
        select = (
            sa.select(custom_domains.c.id, custom_domains.c.fqdn, custom_domains.c.tenant_id)
            .join(certificates, certificates.c.host == custom_domains.c.fqdn, isouter=True)
            .where(
                custom_domains.c.status.in_([DomainStatus.VERIFIED.value, DomainStatus.ACTIVE.value]),
                custom_domains.c.removed_at.is_(None),
                custom_domains.c.suspended.is_(False),
                sa.or_(
                    certificates.c.host.is_(None),
                    certificates.c.status == CertificateStatus.REMOVED.value,
                    certificates.c.due_at <= now,
                ),
            )
            .order_by(certificates.c.due_at, custom_domains.c.verified_at)
        )
        return [(row.id, row.fqdn, row.tenant_id) for row in await self._connection.execute(select.limit(most))]

    async def remove(self, host: str, now: datetime) -> None:
        """The host is no longer served: what it has is no evidence any more. Visits before that revive nothing."""
        await self._connection.execute(
            sa.update(certificates)
            .where(certificates.c.host == host)
            .values(status=CertificateStatus.REMOVED.value, seen_at=now, retry_at=None, due_at=None, failures=0)
        )


def joined_certificate(row: sa.Row[Any]) -> Certificate | None:
    """The certificate among the columns of a row that has `JOINED` beside others; None where there is none."""
    values = {name.removeprefix(_PREFIX): value for name, value in named(row).items() if name.startswith(_PREFIX)}
    return None if values["host"] is None else _certificate(values)


def fields_of_leaf(leaf: Leaf | None) -> dict[str, Any]:
    """A leaf's columns."""
    return dict.fromkeys(_LEAF) if leaf is None else fields_of(leaf)


def read_certificate(row: sa.Row[Any]) -> Certificate:
    """A row of all columns."""
    return _certificate(named(row))


def _certificate(row: Mapping[Any, Any]) -> Certificate:
    leaf = None if row["not_after"] is None else Leaf(**{name: row[name] for name in _LEAF})
    values = {name: value for name, value in row.items() if name not in _LEAF}
    values |= {"status": CertificateStatus(row["status"]), "source": _source(row["source"]), "leaf": leaf}
    return Certificate(**values)


def _source(value: str | None) -> Source | None:
    return None if value is None else Source(value)
