"""The whole schema: `metadata` with every table of the store.

Code that needs every table imports `metadata` from here. That of `tables.py` has only the tables of modules that were imported by then.
"""

from router.store import (  # noqa: F401 - to import them adds their tables
    audit_tables,
    block_tables,
    certificate_tables,
    deployment_tables,
    held_certificate_tables,
    holdings,
    issuer_tables,
    journal_tables,
    log_drain_tables,
    login_tables,
    tables,
    wake_tables,
    webhook_tables,
)
from router.store.tables import metadata

__all__ = ["metadata"]
