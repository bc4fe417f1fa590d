"""Request records: what became of each exchange, for the developers whose resource it was for.

Not to be confused with the records that routing is decided from (`routes/records.py`).

    packing.py         a worker packs each exchange that has ended into some bytes; a keeper reads them
    keeper.py          takes packs, samples what floods, counts everything, and hands both to a store; what is lost is counted (lost.py) and said
    sampling.py        which requests of a resource that floods are kept
    reading.py         a keeper makes records and numbers of packs
    totals.py          exact numbers per minute, resource and route pattern, with a histogram of durations
    counters.py        what each resource has had since it was first counted; exposition.py: as its tenant's Prometheus reads it
    tenant_series.py   the same of some tenants, for the operators' metrics
    route_patterns.py  `/users/17/posts` is `/users/:id/posts`
    record.py          a record, and what is asked of those that are kept
    fields.py          a record as responses, streams and log drains have it
    request_logs.py    the service: lists, streams and reports of what is kept
    captures.py        the headers and bodies of an exchange, as they are stored and shown; masking.py: without secrets
    replays.py         a request that was captured is sent once more
    kept.py            the Protocol of a store, which `store/request_records_*.py` implement
"""
