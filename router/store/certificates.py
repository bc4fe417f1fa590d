"""Certificates and attempts in SQL. The gate's own reads and writes (`SqlCertificateLog`) are transactions of their own, apart
from those of the services: no request waits for them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from router.domains.certificates import (
    LATE_AFTER,
    Attempt,
    Certificate,
    CertificateDelta,
    CertificateStatus,
    Leaf,
    Outcome,
    Read,
    Seen,
    Source,
    due_at,
    live_until,
)
from router.routes.records import DomainStatus
from router.store.certificate_tables import certificate_attempts, certificates
from router.store.connection import Engine
from router.store.failures import translated
from router.store.held_certificate_tables import held_certificates
from router.store.held_certificates import held_state
from router.store.rows import Rows, fields_of, named
from router.store.tables import custom_domains
from router.store.types import DatabaseTime, SecondsOf, SettledTime
from router.store.upsert import Upsert, replacing

# Seconds: rows are read again for so long, because a row is stamped before it can be seen. No statement takes longer; of
# transactions see SettledTime.
_OVERLAP = 6.0

_HAS_ONE = (CertificateStatus.ISSUED, CertificateStatus.EXPIRING)
_STATES = (*(status.value for status in CertificateStatus if status is not CertificateStatus.REMOVED), "expired")
_LEAF = ("issuer", "serial", "not_before", "not_after")
COLUMNS = [column for column in certificates.c if column.name != "changed_at"]
_PREFIX = "certificate_"
JOINED = [column.label(_PREFIX + column.name) for column in COLUMNS]


def _certainty(outcome: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    return sa.case({value: place for place, value in enumerate(_LEAST_CERTAIN_FIRST)}, value=outcome, else_=-1)


_LEAST_CERTAIN_FIRST = [Outcome.OPEN.value, Outcome.EXPIRED.value, Outcome.FAILED.value, Outcome.ISSUED.value]
SAVE_ATTEMPT = Upsert(
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
        # From when it is due for renewal there may be another. Of a domain's that is looked at, again and again.
        sa.or_(certificates.c.domain_id.is_not(None), certificates.c.due_at > excluded["seen_at"]),
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


_OF_NEWS = [
    certificates.c[name] for name in ("host", "status", "source", "seen_at", "not_before", "not_after", "changed_at")
]
_SAVE_VISIT = Upsert(
    certificates,
    _after_visit,
    where=lambda excluded: sa.or_(certificates.c.seen_at.is_(None), certificates.c.seen_at < excluded["seen_at"]),
)
# Of hosts that are no domains, or none yet: what becomes of a domain's certificate `gate.warming` writes, with its events.
_SAVE_READING = Upsert(
    certificates,
    lambda excluded: {
        **replacing("status", "source", "seen_at", "due_at", "failures", *_LEAF)(excluded),
        "tenant_id": sa.func.coalesce(excluded["tenant_id"], certificates.c.tenant_id),
        "last_error": None,
        "retry_at": None,
        "changed_at": DatabaseTime(),
    },
    where=lambda excluded: sa.and_(
        certificates.c.domain_id.is_(None),
        sa.or_(certificates.c.seen_at.is_(None), certificates.c.seen_at <= excluded["seen_at"]),
    ),
)
_PUT = Upsert(
    certificates,
    lambda excluded: {
        **replacing(*(column.name for column in COLUMNS if column.name != "host"))(excluded),
        "changed_at": DatabaseTime(),
    },
)


# An attempt was opened no later than it was written: a node's clock that was ahead says otherwise.
_OPENED_AT = sa.case(
    (certificate_attempts.c.opened_at > certificate_attempts.c.changed_at, certificate_attempts.c.changed_at),
    else_=certificate_attempts.c.opened_at,
).label("opened_at")
_OF_ATTEMPTS = [
    _OPENED_AT if column.name == "opened_at" else column
    for column in certificate_attempts.c
    if column.name != "changed_at"
]


class SqlCertificateLog:
    """gate.sync.CertificateLog"""

    def __init__(self, reader: Engine, writer: Engine) -> None:
        self._reader = reader
        self._writer = writer

    async def save_attempts(self, attempts: Sequence[Attempt]) -> None:
        rows = [{**fields_of(attempt), "outcome": attempt.outcome.value} for attempt in attempts]
        await self._write(SAVE_ATTEMPT, rows)

    async def save_visits(self, visits: Sequence[Seen]) -> None:
        common = {"status": CertificateStatus.ISSUED.value, "source": Source.TRAFFIC.value, "failures": 0}
        await self._write(_SAVE_VISIT, [{**fields_of(visit), "due_at": visit.seen_at, **common} for visit in visits])

    async def save_readings(self, readings: Sequence[Read]) -> None:
        common = {"status": CertificateStatus.ISSUED.value, "source": Source.PROBE.value, "failures": 0}
        rows = [
            {**fields_of(one, "leaf"), **fields_of_leaf(one.leaf), "due_at": one.leaf.due_at, **common}
            for one in readings
        ]
        await self._write(_SAVE_READING, rows)

    async def changes_since(
        self, since: float | None, opened_since: float, most: int, after: tuple[float, str] | None = None
    ) -> CertificateDelta:
        changed_at, host = certificates.c.changed_at, certificates.c.host
        hosts = sa.select(*_OF_NEWS).limit(most)
        attempts = sa.select(*_OF_ATTEMPTS)
        if since is None:
            attempts = attempts.where(certificate_attempts.c.opened_at > opened_since)
            hosts = hosts.where(certificates.c.seen_at.is_not(None)).order_by(host)
            if after is not None:
                hosts = hosts.where(host > after[1])
        else:
            attempts = attempts.where(certificate_attempts.c.changed_at > since)
            hosts = hosts.where(changed_at > since).order_by(changed_at, host)
            if after is not None:
                hosts = hosts.where(sa.or_(changed_at > after[0], sa.and_(changed_at == after[0], host > after[1])))
        with translated():
            async with self._reader.connect() as connection:
                now, settled = (await connection.execute(sa.select(DatabaseTime(), SettledTime()))).one()
                attempt_rows = () if after is not None else (await connection.execute(attempts)).all()
                host_rows = (await connection.execute(hosts)).all()
        last = host_rows[-1] if len(host_rows) == most else None
        return CertificateDelta(
            attempts=tuple(Attempt(**{**named(row), "outcome": Outcome(row.outcome)}) for row in attempt_rows),
            live={row.host: _live_until(row) for row in host_rows},
            due={row.host: _due_at(row) for row in host_rows if row.source == Source.PROBE.value and row.not_after},
            lifetimes={row.host: row.not_after - row.not_before for row in host_rows if row.not_after},
            until=settled - _OVERLAP,
            now=now,
            next=None if last is None else (last.changed_at, last.host),
        )

    async def live(self, hosts: Sequence[str]) -> Mapping[str, datetime]:
        select = sa.select(*_OF_NEWS).where(certificates.c.host.in_(hosts))
        with translated():
            async with self._reader.connect() as connection:
                found = {row.host: _live_until(row) for row in await connection.execute(select)}
        return {host: until for host, until in found.items() if until is not None}

    async def count_by_state(self, now: float) -> Mapping[str, int]:
        """How many hosts, and certificates that the router holds (`held_state`), there are in each state of the metric
        `certificates`: those of CertificateStatus but `removed`, and `expired`. A host's that was read and should have been
        renewed for long is `expiring`, whatever was known when it was."""
        ends, instant = certificates.c.not_after, datetime.fromtimestamp(now, UTC)
        has_one = sa.and_(certificates.c.status.in_(_HAS_ONE), certificates.c.source == Source.PROBE.value)
        state = sa.case(
            (sa.and_(has_one, ends <= instant), "expired"),
            (sa.and_(has_one, is_late(now)), CertificateStatus.EXPIRING.value),
            else_=certificates.c.status,
        ).label("state")
        select = (
            sa.select(state, sa.func.count().label("hosts"))
            .where(certificates.c.status != CertificateStatus.REMOVED.value)
            .group_by(sa.literal_column("state"))
        )
        held = sa.select(held_state(instant).label("state")).where(held_certificates.c.removed_at.is_(None)).subquery()
        of_held = sa.select(held.c.state, sa.func.count().label("hosts")).group_by(held.c.state)
        found = dict.fromkeys(_STATES, 0)
        with translated():
            async with self._reader.connect() as connection:
                rows = [*await connection.execute(select), *await connection.execute(of_held)]
        for row in rows:
            if row.state is not None:
                found[row.state] += row.hosts
        return found

    async def _write(self, statement: Upsert, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        with translated():
            async with self._writer.begin() as connection:
                await connection.execute(statement.on(connection), rows)


# SQLAlchemy builds this statement once: a node executes it every few seconds, also without any traffic.
_UNCONFIRMED = (
    sa.select(custom_domains.c.id, custom_domains.c.fqdn)
    .join(certificates, certificates.c.host == custom_domains.c.fqdn)
    .where(
        custom_domains.c.status == DomainStatus.VERIFIED.value,
        custom_domains.c.removed_at.is_(None),
        certificates.c.status.in_([status.value for status in _HAS_ONE]),
    )
    .limit(sa.bindparam("most", type_=sa.Integer))
)


class SqlCertificates(Rows):
    """gate.warming.CertificateRows"""

    async def get(self, host: str) -> Certificate | None:
        row = await self._one(self._locked(sa.select(*COLUMNS).where(certificates.c.host == host), certificates))
        return None if row is None else read_certificate(row)

    async def put(self, certificate: Certificate) -> None:
        values = fields_of(certificate, "leaf") | fields_of_leaf(certificate.leaf)
        await self._connection.execute(_PUT.on(self._connection), values)

    async def unconfirmed(self, most: int) -> Sequence[tuple[str, str]]:
        """(id, name) of verified domains that have a certificate: they are in use, and not marked as active yet."""
        rows = await self._connection.execute(_UNCONFIRMED, {"most": most})
        return [(row.id, row.fqdn) for row in rows]

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
                    # Seen before it was known to be a domain's: nothing has been told of it.
                    certificates.c.domain_id.is_(None),
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


def is_late(now: float) -> sa.ColumnElement[bool]:
    """Whether a row's certificate, which was read, should have been renewed for long at this time: `Leaf.late_at`."""
    begin, end = SecondsOf(certificates.c.not_before), SecondsOf(certificates.c.not_after)
    return begin + (end - begin) * LATE_AFTER < now


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


def _live_until(row: sa.Row[Any]) -> datetime | None:
    return live_until(CertificateStatus(row.status), _source(row.source), row.seen_at, row.not_before, row.not_after)


def _due_at(row: sa.Row[Any]) -> datetime:
    return due_at(row.not_before, row.not_after)


def _source(value: str | None) -> Source | None:
    return None if value is None else Source(value)
