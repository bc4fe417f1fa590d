"""When the next of all that waits for its time comes: so long jobs may rest if nothing is committed."""

from datetime import datetime

import sqlalchemy as sa

from router.store.block_tables import blocks
from router.store.connection import Engine
from router.store.deployment_tables import builds
from router.store.failures import translated
from router.store.tables import custom_domains, name_claims, preview_domains
from router.store.webhook_tables import webhook_deliveries, webhooks

_deliveries = webhook_deliveries.alias()
_first_delivery = (  # of each webhook: there is an index for that
    sa.select(sa.func.min(_deliveries.c.next_at))
    .where(_deliveries.c.webhook_id == webhooks.c.id, _deliveries.c.state == sa.literal_column("'pending'"))
    .scalar_subquery()
)
# The least of each table, each read from an index.
_FIRST = sa.select(
    sa.select(sa.func.min(custom_domains.c.next_check_at))
    .where(custom_domains.c.removed_at.is_(None))
    .scalar_subquery()
    .label("custom_domain"),
    sa.select(sa.func.min(preview_domains.c.next_check_at)).scalar_subquery().label("preview_domain"),
    sa.select(sa.func.min(name_claims.c.next_check_at)).scalar_subquery().label("claim"),
    sa.select(sa.func.min(blocks.c.expires_at)).where(blocks.c.lifted_at.is_(None)).scalar_subquery().label("block"),
    sa.select(sa.func.min(builds.c.deadline_at)).scalar_subquery().label("build"),
    sa.select(sa.func.min(_first_delivery)).where(webhooks.c.enabled).scalar_subquery().label("delivery"),
)


async def next_due(reader: Engine) -> datetime | None:
    """When the first check of a domain is due, a block ends, a build is lost, or a webhook is delivered; in the past for what is due by now, None
    where nothing waits. Raises StoreUnavailableError."""
    with translated():
        async with reader.connect() as connection:
            (first,) = await connection.execute(_FIRST)
            return min((at for at in first if at is not None), default=None)
