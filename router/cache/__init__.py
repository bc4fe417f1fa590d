"""Redis: the cache that all processes share, and the bus that tells them of changes. All Redis is in here.

    shared = SharedCache(url, limits, fetch_time=2.0, store=store, publishes=True, metrics=metrics, clock=clock)
    store.on_number(shared.committed)                 before any other listener
    resolver = Resolver(shared.records, …)            Redis, and the store where Redis does not know
    await shared.start(resolver.drop, resolver.drop_all)
    … await shared.close()

Read `shelves.py` first: it says how records lie in Redis and why no late write ever undoes a change. Then `standing.py`
(what a process believes of it), `records.py` (reading), `publisher.py` and `subscriber.py` (the outbox's way to every
process). The store alone knows what is true. Redis may be away, slow, flushed or restored at any time; it costs speed.
"""

from router.cache.shared import SharedCache

__all__ = ["SharedCache"]
