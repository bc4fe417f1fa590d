"""The table of log drains. `credentials` is sealed (`base/secret_box.py`); `position` is the id of a request record."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

log_drains = sa.Table(
    "log_drains",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("tenant_id", Id, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("url", sa.String(2000), nullable=False),
    sa.Column("format", sa.String(20), nullable=False),
    sa.Column("resource_id", Id),
    sa.Column("errors_only", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("credentials", sa.Text),
    sa.Column("credential_names", Json, nullable=False),
    sa.Column("secret", sa.String(80), nullable=False),
    sa.Column("old_secret", sa.String(80)),
    sa.Column("old_secret_until", Instant),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("delivered", sa.BigInteger, nullable=False),
    sa.Column("lost", sa.BigInteger, nullable=False),
    sa.Column("gap", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("next_at", Instant),
    sa.Column("last_at", Instant),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.String(255)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Index("ix_log_drains_listed", "tenant_id", "created_at", "id"),
    sa.Index("ix_log_drains_position", "state", "position"),
)
