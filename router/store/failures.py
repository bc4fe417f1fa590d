"""Translate the errors of the database drivers into the errors of this product."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import sqlalchemy as sa

from router.errors import CONFLICT, DeadlockError, RouterError, StoreRefusedError, StoreUnavailableError

# What the drivers raise themselves, not through SQLAlchemy: on connecting, and on no response (TimeoutError is an OSError).
_OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, sqlite3.Error, OSError)
# The server responds, and refuses to let us in with these settings.
_REFUSALS = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
_DEADLOCK = "40P01"  # SQLSTATE deadlock_detected; SQLite has one writer, so no deadlocks


@contextmanager
def translated() -> Iterator[None]:
    """Map driver errors: constraint violation → RouterError CONFLICT, deadlock → DeadlockError, refused credentials or
    database name → StoreRefusedError, anything else → StoreUnavailableError."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        unique = "unique" in str(error.orig).lower()  # both databases say so
        words = "has already been taken" if unique else "conflicts with a change that was made at the same time"
        raise RouterError(CONFLICT, words) from error
    except sa.exc.DBAPIError as error:
        kind = DeadlockError if getattr(error.orig, "sqlstate", None) == _DEADLOCK else StoreUnavailableError
        raise kind(str(error)) from error
    except _REFUSALS as error:
        raise StoreRefusedError(str(error)) from error
    except (sa.exc.TimeoutError, *_OUTAGES) as error:
        raise StoreUnavailableError(str(error) or "the database did not answer in time") from error
