"""Proofs of names: the registered domain of each name, and a token of each preview domain."""

import secrets

import sqlalchemy as sa
from alembic import op

from router.domains.names import registered_domain

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NAMES = {"custom_domains": "fqdn", "zones": "domain", "released_zones": "domain", "name_claims": "name"}
_AT_ONCE = 5000  # names


def upgrade() -> None:
    connection = op.get_bind()
    for table, column in _NAMES.items():
        op.add_column(table, sa.Column("registered", sa.String(253), nullable=False, server_default=""))
        names = sa.table(table, sa.column(column), sa.column("registered"))
        name = names.c[column]
        update = sa.update(names).where(name == sa.bindparam("a_name")).values(registered=sa.bindparam("a_domain"))
        last = ""
        while found := connection.scalars(
            sa.select(name).distinct().where(name > last).order_by(name).limit(_AT_ONCE)
        ).all():
            rows = [{"a_name": one, "a_domain": registered_domain(one)} for one in found]
            connection.execute(update, rows)
            last = found[-1]
        op.create_index(f"ix_{table}_registered", table, ["registered"])
    op.add_column("preview_domains", sa.Column("token", sa.String(64), nullable=False, server_default=""))
    previews = sa.table("preview_domains", sa.column("id"), sa.column("token"))
    rows = [{"a_id": one, "a_token": secrets.token_hex(16)} for one in connection.scalars(sa.select(previews.c.id))]
    if rows:
        update = sa.update(previews).where(previews.c.id == sa.bindparam("a_id"))
        connection.execute(update.values(token=sa.bindparam("a_token")), rows)
