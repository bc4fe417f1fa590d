"""Puts a restored store right: it says what was so when the backup was made, and the world has gone on since.

outbox, versions   every process and every Redis has seen higher numbers. All go up by more than can have been given since,
                   and one row is left in the outbox: who follows it sees a gap, and forgets what it knows
attempts           what was spent of the certificate authority's limits was spent later, too: attempts that counted then
                   count from now on as long as they did then, and so does each certificate that Caddy got since
evidence           only of certificates that Caddy has: for another one it would ask, and be allowed without a budget
leases             are free, and nothing was ever run
sessions, keys     that sign cookies: who was signed out since, or shut out, does not come in again
endpoints          addresses of then, where by now another's program may listen: the platform says them anew
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from router.base.ids import new_id
from router.domains.certificates import Outcome
from router.domains.names import registered_domain
from router.routes.records import name_key
from router.store.certificate_tables import certificate_attempts as attempts
from router.store.certificate_tables import certificates
from router.store.journal_tables import leases, outbox, route_versions
from router.store.leases import PRESENT
from router.store.login_tables import hand_overs, sessions
from router.store.shapes import Kind, Shape
from router.store.tables import api_keys, endpoints, signing_keys
from router.store.whole import Whole

LEAP = 1 << 32
"""By which numbers and versions go up: more changes than a platform makes between two backups; Redis counts to 2^53."""
_GAP = name_key("restored.invalid")  # no record has this name
_MAX_NAMES = 500  # in one statement


@dataclass(frozen=True, slots=True)
class CaddyCertificate:
    """A certificate in Caddy's storage: its names, and when it is valid."""

    names: Collection[str]
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What was put right, in numbers."""

    attempts_kept: int
    attempts_added: int
    evidence_kept: int
    evidence_dropped: int
    sessions_ended: int
    endpoints_dropped: int
    api_keys: int


def fit(
    store: Whole,
    made_at: datetime,
    now: datetime,
    *,
    caddy: Collection[CaddyCertificate] | None,
    caddy_kept: bool,
    attempts_kept: float,
    keep_endpoints: bool,
) -> Fitted:
    """See the module. `caddy` is what lies in Caddy's storage, None where that is not known; with `caddy_kept` nothing of it was
    lost, and all evidence stays. `attempts_kept` is for how many seconds the gate counts attempts."""
    connection = store.connection
    _leap(store, now)
    connection.execute(sa.delete(leases).where(leases.c.name.startswith(PRESENT)))
    connection.execute(sa.update(leases).values(expires_at=0.0, ran_at=None))
    kept, added = _spend(connection, made_at, now, caddy or (), attempts_kept)
    dropped = 0 if caddy_kept else _drop_evidence(connection, now, caddy or ())
    connection.execute(sa.delete(hand_overs))
    ended = connection.execute(
        sa.update(sessions).where(sessions.c.revoked_at.is_(None)).values(revoked_at=now)
    ).rowcount
    connection.execute(sa.delete(signing_keys))
    gone = 0 if keep_endpoints else connection.execute(sa.delete(endpoints)).rowcount
    return Fitted(
        attempts_kept=kept,
        attempts_added=added,
        evidence_kept=connection.scalar(sa.select(sa.func.count()).select_from(certificates)) or 0,
        evidence_dropped=dropped,
        sessions_ended=ended,
        endpoints_dropped=gone,
        api_keys=connection.scalar(
            sa.select(sa.func.count())
            .select_from(api_keys)
            .where(
                api_keys.c.revoked_at.is_(None), sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
            )
        )
        or 0,
    )


def _leap(store: Whole, now: datetime) -> None:
    connection = store.connection
    shape = Shape(outbox.name, ((outbox.c.id.name, Kind.INTEGER),), outbox.c.id.name)
    number = store.numbers([shape])[outbox.name]
    highest = max(number, connection.scalar(sa.select(sa.func.max(route_versions.c.version))) or 0) + LEAP
    connection.execute(sa.update(route_versions).values(version=route_versions.c.version + LEAP))
    connection.execute(sa.delete(outbox))
    connection.execute(sa.insert(outbox).values(id=highest, key=_GAP, version=highest, created_at=now, moved=False))
    store.set_number(shape, highest)


def _spend(
    connection: sa.Connection, made_at: datetime, now: datetime, caddy: Collection[CaddyCertificate], kept: float
) -> tuple[int, int]:
    begin, end = made_at.timestamp(), now.timestamp()
    connection.execute(sa.delete(attempts).where(attempts.c.opened_at < begin - kept))
    later = sa.case((attempts.c.opened_at + (end - begin) > end, end), else_=attempts.c.opened_at + (end - begin))
    counted = connection.execute(sa.update(attempts).values(opened_at=later)).rowcount
    # Authorities date certificates back, by an hour: one that seems to be that much older may be of since then.
    since = made_at - timedelta(hours=1)
    new = [
        {
            "id": new_id(),
            "host": name,
            "domain": registered_domain(name.removeprefix("*.")),
            "opened_at": min(end, max(begin, one.not_before.timestamp())),
            "outcome": Outcome.ISSUED.value,
            "closed_at": end,
        }
        for one in caddy
        if since < one.not_before <= now
        for name in one.names
    ]
    if new:
        connection.execute(sa.insert(attempts), new)
    return counted, len(new)


def _drop_evidence(connection: sa.Connection, now: datetime, caddy: Collection[CaddyCertificate]) -> int:
    there = {name for one in caddy if one.not_after > now for name in one.names}
    hosts = list(connection.scalars(sa.select(certificates.c.host)))
    missing = [host for host in hosts if host not in there and f"*.{host.partition('.')[2]}" not in there]
    for start in range(0, len(missing), _MAX_NAMES):
        chunk = missing[start : start + _MAX_NAMES]
        connection.execute(sa.delete(certificates).where(certificates.c.host.in_(chunk)))
    return len(missing)
