"""The steps from an empty database to the tables that this version needs; `store.migrate` takes those that are missing.

There are no downgrades: an older version runs on the newer tables, which therefore only ever gain what
the older one can ignore, and lose nothing before no running version reads it.
"""
