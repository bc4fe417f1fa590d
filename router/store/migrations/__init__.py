"""The steps from an empty database to the tables that this version needs; `store.migrate` takes those that are missing.

There is no way down: whoever goes back to an older version keeps the newer tables, which therefore only ever gain what
the older one can ignore, and lose nothing before no running version reads it.
"""
