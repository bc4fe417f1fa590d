"""The tables of certificates: what is known of each host's, and every attempt to get a first one.

`changed_at` is of the database's clock, in seconds since 1970: nodes follow each other's rows by it. Hosts have no
foreign keys: most are names in a zone, which are no rows anywhere, and a domain that is removed leaves its certificate.
"""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import DatabaseTime, Id, Instant


def _changed_at() -> sa.Column[float]:
    return sa.Column(
        "changed_at", sa.Double, nullable=False, index=True, default=DatabaseTime(), onupdate=DatabaseTime()
    )


certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("host", sa.String(253), primary_key=True),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("tenant_id", Id),
    sa.Column("domain_id", Id),
    sa.Column("issuer", sa.String(500)),
    sa.Column("serial", sa.String(64)),
    sa.Column("not_before", Instant),
    sa.Column("not_after", Instant),
    sa.Column("seen_at", Instant),
    sa.Column("source", sa.String(20)),
    sa.Column("last_error", sa.String(2000)),
    sa.Column("retry_at", Instant),
    sa.Column("due_at", Instant),
    sa.Column("failures", sa.Integer, nullable=False),
    _changed_at(),
)

certificate_attempts = sa.Table(
    "certificate_attempts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("host", sa.String(253), nullable=False),
    sa.Column("domain", sa.String(253), nullable=False),
    sa.Column("tenant_id", Id),
    sa.Column("opened_at", sa.Double, nullable=False, index=True),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("closed_at", sa.Double),
    _changed_at(),
)
