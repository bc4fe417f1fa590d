"""Redis: the cache that all processes share, and the bus that tells them of changes. All Redis is in here.

    shared = SharedCache(url, settings, fetch_time=2.0, store=store, publishes=True, metrics=metrics, clock=clock)
    store.on_number(shared.committed)                 before any other listener
    resolver = Resolver(shared.records, …)            Redis, and the store where Redis does not know
    await shared.start(resolver.drop, resolver.drop_all)
    … await shared.close()

Read `shards.py` first: it says how records are stored in Redis and why a late write never undoes a change. Then
`watermark.py` (when a process trusts a record there), `records.py` (reading), `publisher.py` and `subscriber.py` (how
the outbox reaches every process); `counts.py` holds the API's rate limits, `uses.py`
when resources were last used. The database is the only source of truth:
Redis may be away, slow, flushed or restored from a backup at any time, and that costs speed only.
"""

from router.cache.shared import SharedCache

__all__ = ["SharedCache"]
