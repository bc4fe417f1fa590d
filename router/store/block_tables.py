"""The table of blocks: what operators have taken off the air, why, and until when.

`resources.suspended`, `tenants.suspended` and `custom_domains.suspended` say the same of the rows that exist, so that a
look-up needs no more than it reads anyway. Blocks have no foreign keys: they outlive what they are about. A block that
was lifted stays as a row: it is the record of who did what.
"""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant

_IN_FORCE = sa.text("lifted_at IS NULL")
_CAUSED = sa.text("cause_id IS NOT NULL")  # nearly all have none, so that SQLite would think little of an index of all

blocks = sa.Table(
    "blocks",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("subject", sa.String(253), nullable=False),
    sa.Column("reason", sa.String(2000), nullable=False),
    sa.Column("public_reason", sa.String(500)),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("tenant_id", Id),
    sa.Column("cause_id", Id),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.Column("lifted_at", Instant),
    sa.Column("lifted_by", sa.String(255)),
    sa.Index("uq_blocks_subject", "kind", "subject", unique=True, sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE),
    sa.Index("ix_blocks_cause_id", "cause_id", sqlite_where=_CAUSED, postgresql_where=_CAUSED),
    sa.Index("ix_blocks_listed", "created_at", "id", sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE),
    sa.Index("ix_blocks_expires_at", "expires_at", sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE),
)
