"""The table of resources that are being woken, or could not be lately: `tenancy/wakes.py`."""

import sqlalchemy as sa

from router.store.tables import metadata
from router.store.types import Id

RUNS_BY_NOW = "running"

# One row per resource, over the whole fleet. Times are of the database's clock, in seconds since 1970. `state` is a WakeState,
# or RUNS_BY_NOW between the moment from which the resource runs and the next round, which counts the row and deletes it.
wakes = sa.Table(
    "wakes",
    metadata,
    sa.Column("resource_id", Id, sa.ForeignKey("resources.id"), primary_key=True),
    sa.Column("id", Id, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("turn", sa.BigInteger, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("reason", sa.String(10), nullable=False),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
    sa.Column("asked_at", sa.Double),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("place", sa.Integer),
    sa.Column("code", sa.Integer),
    sa.Index("ix_wakes_until", "until"),
)
