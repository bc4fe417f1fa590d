"""What an operator wants to know of a database: which one it is, how it answers, and what its rows say of the fleet.

It is read for one command, in one transaction that only reads, and also where the schema does not fit.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from router.base.clock import Clock
from router.base.leases import LONGEST
from router.certificates.held import Origin
from router.domains.certificates import CertificateStatus, Source
from router.routes.records import DomainStatus
from router.settings import Database
from router.store.certificate_tables import certificate_attempts, certificates
from router.store.certificates import is_late
from router.store.engine import parsed, reading_engine
from router.store.held_certificate_tables import held_certificates
from router.store.held_certificates import held_state
from router.store.journal_tables import leases
from router.store.leases import PRESENT
from router.store.login_tables import logins
from router.store.migrate import revisions
from router.store.tables import custom_domains, preview_domains, resources, tenants
from router.store.types import DatabaseTime

_MAX_CERTIFICATES = 100
_SERVED = (DomainStatus.VERIFIED.value, DomainStatus.ACTIVE.value)
_HAS_ONE = (CertificateStatus.ISSUED.value, CertificateStatus.EXPIRING.value)
_NO_WAKE = "off"
_HOSTS = {
    "resources": sa.select(sa.func.count()).where(resources.c.deleted_at.is_(None)),
    "custom domains": sa.select(sa.func.count()).where(
        custom_domains.c.status.in_(_SERVED), custom_domains.c.removed_at.is_(None)
    ),
    "preview domains": sa.select(sa.func.count()).where(preview_domains.c.status.in_(_SERVED)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NearEnd:
    """A custom domain that is served, and whose certificate should have been renewed long ago; or a certificate that the router
    holds, which is near its end or has ended (`held_state`). Of the latter `origin` says whose it is, and `host` is its domain."""

    host: str
    not_after: datetime
    last_error: str | None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the rows say. `nodes` are processes that run jobs (`host/pid/…`), `jobs` the holder of each lease."""

    nodes: tuple[str, ...]
    jobs: dict[str, str]
    near_end: tuple[NearEnd, ...]
    certified: tuple[str, ...]  # some custom domains that are served and have a certificate
    logins: int
    wakes_wanted: bool  # whether a tenant or a resource asks to be woken
    attempts: int  # to get a first certificate, within the window that was asked for
    hosts: dict[str, int]  # how many rows lead hosts somewhere, by noun


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """`clock_ahead` is by how many seconds this machine's clock is ahead of the database's; `latency` is of one round trip.
    `rows` None: the schema is not this version's, so nothing is read."""

    kind: str
    version: str
    standby: bool
    latency: float
    clock_ahead: float
    revision: str | None
    head: str
    newer: bool  # the revision is of a newer version
    rows: Rows | None

    @property
    def fits(self) -> bool:
        return self.newer or self.revision == self.head


async def inspect(database_url: str, limits: Database, clock: Clock, *, window: float) -> StoreFacts:
    """`window` is for how many seconds back attempts to get a certificate are counted. Raises StoreUnavailableError."""
    engine = reading_engine(parsed(database_url, create=False), limits)
    try:
        return await engine.run(lambda connection: _facts(connection, clock, window))
    finally:
        await engine.dispose()


def _facts(connection: sa.Connection, clock: Clock, window: float) -> StoreFacts:
    own = connection.dialect.name == "sqlite"
    version = str(
        connection.scalar(sa.text("SELECT sqlite_version()" if own else "SELECT current_setting('server_version')"))
    )
    standby = False if own else bool(connection.scalar(sa.text("SELECT pg_is_in_recovery()")))
    started = time.perf_counter()
    now = float(connection.scalar(sa.select(DatabaseTime())) or 0.0)
    latency = time.perf_counter() - started
    ahead = clock.now().timestamp() - now
    current, known = revisions(connection)
    newer = current is not None and current not in known
    return StoreFacts(
        kind="SQLite" if own else "PostgreSQL",
        version=version.split(maxsplit=1)[0],
        standby=standby,
        latency=latency,
        clock_ahead=ahead,
        revision=current,
        head=known[-1],
        newer=newer,
        rows=_rows(connection, clock.now(), window) if newer or current == known[-1] else None,
    )


def _rows(connection: sa.Connection, now: datetime, window: float) -> Rows:
    time_now = DatabaseTime()
    running = sa.and_(leases.c.expires_at > time_now, leases.c.expires_at <= time_now + LONGEST)
    held = connection.execute(sa.select(leases.c.name, leases.c.holder).where(running).order_by(leases.c.name)).all()
    served = (
        sa.select(certificates)
        .join(custom_domains, custom_domains.c.fqdn == certificates.c.host)
        .where(
            custom_domains.c.status.in_(_SERVED),
            custom_domains.c.removed_at.is_(None),
            custom_domains.c.suspended.is_(False),
            certificates.c.status.in_(_HAS_ONE),
            certificates.c.source == Source.PROBE.value,
        )
        .order_by(certificates.c.not_after)
        .limit(_MAX_CERTIFICATES)
    )
    ending = connection.execute(served.where(is_late(now.timestamp()))).all()
    held_ending = [
        NearEnd(host=row.domain, not_after=row.not_after, last_error=None, origin=Origin(row.origin))
        for row in connection.execute(_held_ending(now))
    ]
    live = connection.execute(served.where(certificates.c.not_after > now).limit(3)).all()
    opened = certificate_attempts.c.opened_at
    attempts = sa.select(sa.func.count()).select_from(certificate_attempts).where(opened > now.timestamp() - window)
    wakes = sa.or_(
        sa.exists().where(tenants.c.default_wake != _NO_WAKE),
        sa.exists().where(resources.c.wake.is_not(None), resources.c.wake != _NO_WAKE),
    )
    return Rows(
        nodes=tuple(row.holder for row in held if row.name.startswith(PRESENT)),
        jobs={row.name: row.holder for row in held if not row.name.startswith(PRESENT)},
        near_end=tuple(
            sorted(
                (
                    *(NearEnd(host=row.host, not_after=row.not_after, last_error=row.last_error) for row in ending),
                    *held_ending,
                ),
                key=lambda one: one.not_after,
            )
        ),
        certified=tuple(row.host for row in live),
        logins=int(connection.scalar(sa.select(sa.func.count()).select_from(logins)) or 0),
        wakes_wanted=bool(connection.scalar(sa.select(wakes))),
        attempts=int(connection.scalar(attempts) or 0),
        hosts={name: int(connection.scalar(select) or 0) for name, select in _HOSTS.items()},
    )


def _held_ending(now: datetime) -> sa.Select[Any]:
    near = held_state(now).in_(("expiring", "expired"))
    columns = (held_certificates.c.domain, held_certificates.c.origin, held_certificates.c.not_after)
    select = sa.select(*columns).where(held_certificates.c.removed_at.is_(None), near)
    return select.order_by(held_certificates.c.not_after).limit(_MAX_CERTIFICATES)
