"""What ends with an owner's hold on a name, in the transaction in which it ends: certificates that the router holds for it,
requests, open orders, and the delegation. One name may be a zone and a custom domain of the same tenant's: what was brought for a zone
is stored under `*.<zone>`.
"""

from datetime import datetime

import sqlalchemy as sa

from router.certificates.held import Origin, upload_name
from router.store.acme_orders import SqlOrders, SqlRequests
from router.store.changes import Changes
from router.store.connection import Connection
from router.store.delegations import SqlDelegations
from router.store.held_certificates import SqlHeldCertificates
from router.store.tables import custom_domains


async def let_go_of_zone(connection: Connection, changes: Changes, domain: str, now: datetime) -> None:
    """No scope has this zone any more."""
    # The delegation first: whoever stores a certificate locks it first, too (`certificates/order_book.py`).
    await SqlDelegations(connection, changes, writing=True).drop(domain)
    await SqlHeldCertificates(connection, changes, writing=True).remove(domain, Origin.MANAGED, now)
    await SqlOrders(connection, changes, writing=True).abandon(domain, now)
    await _let_go_of_uploads(connection, changes, upload_name(domain), now)


async def let_go_of_custom(connection: Connection, changes: Changes, fqdn: str, now: datetime) -> None:
    """A custom domain was removed."""
    living = (custom_domains.c.fqdn == fqdn, custom_domains.c.removed_at.is_(None))
    if await connection.scalar(sa.select(custom_domains.c.fqdn).where(*living).limit(1)) is None:
        await _let_go_of_uploads(connection, changes, fqdn, now)


async def _let_go_of_uploads(connection: Connection, changes: Changes, domain: str, now: datetime) -> None:
    await SqlHeldCertificates(connection, changes, writing=True).remove(domain, Origin.UPLOADED, now)
    await SqlRequests(connection, changes, writing=True).remove(domain)
