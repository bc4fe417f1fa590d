"""The store: all SQL, on SQLite and PostgreSQL with the same code and the same migrations.

    await migrate(settings.database_url)                       once, before; safe when several do it at once
    store = await Store.open(settings.database_url, clock=clock)

    async with store.begin() as tx: ...                        writes: one transaction, told to all when it ends
    async with store.read() as tx: ...                         reads, as of one instant
    store.records                                              a routes.batches.RecordSource
    store.idempotency                                          a router.base.idempotency.IdempotencyStore
    store.leases                                               a router.base.leases.Leases
    store.certificate_log                                      a router.gate.sync.CertificateLog
    store.held_log                                             a router.certificates.held.HeldLog
    store.txt_source                                           a router.certificates.challenges.TxtSource
    store.after_commit(resolver.drop)                          hears of this process's changes, before `begin` returns
    follower = store.follow(resolver.drop, resolver.drop_all)  hears of every other process's, within 20 ms
    await follower.start() … await follower.close()
    await store.close()

`tx` has the rows of each noun (`tx.tenants`, `tx.resources`, …); the services in `tenancy/` and `domains/` say what they
need of them. `changes.py` is what ties a changed row to the routing records that it shows in.
"""

from router.store.database import Store
from router.store.history import History
from router.store.migrate import migrate
from router.store.opening import Start, open_store, open_store_in_time
from router.store.pruning import Pruning, periods
from router.store.records import SqlRecords
from router.store.transaction import Transaction

__all__ = [
    "History",
    "Pruning",
    "SqlRecords",
    "Start",
    "Store",
    "Transaction",
    "migrate",
    "open_store",
    "open_store_in_time",
    "periods",
]
