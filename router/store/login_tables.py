"""The tables of logins: a tenant's OpenID Connect provider, who has signed in by it, and who is on their way to a preview.

`client_secret` is sealed (`base/secret_box.py`); sessions and hand-overs are known by hashes of what their holders have.
"""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id, Instant, Json

SessionId = sa.String(40)  # `ses_`, and a UUID

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("tenant_id", Id, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("id", Id, nullable=False),
    sa.Column("issuer", sa.String(500), nullable=False),
    sa.Column("client_id", sa.String(255), nullable=False),
    sa.Column("client_secret", sa.Text, nullable=False),
    sa.Column("email_domains", Json, nullable=False),
    sa.Column("groups", Json, nullable=False),
    sa.Column("groups_claim", sa.String(255), nullable=False),
    sa.Column("anyone", sa.Boolean, nullable=False),
    sa.Column("session_hours", sa.Integer, nullable=False),
    sa.Column("console_role", sa.String(10)),
    sa.Column("console_groups", Json),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", SessionId, primary_key=True),
    sa.Column("tenant_id", Id, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("login_id", Id, nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("email", sa.String(320)),
    sa.Column("groups", Json, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False, index=True),
    sa.Column("last_used_at", Instant),
    sa.Column("revoked_at", Instant),
    sa.Column("console_role", sa.String(10)),
    sa.UniqueConstraint("digest"),
    sa.Index("ix_sessions_listed", "tenant_id", "created_at", "id"),
    sa.Index("ix_sessions_subject", "tenant_id", "subject"),
)

hand_overs = sa.Table(
    "hand_overs",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("session_id", SessionId, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("host", sa.String(253), nullable=False),
    sa.Column("binding", sa.String(64), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False, index=True),
)
