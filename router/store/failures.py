"""Translate the errors of the database drivers into the errors of this product."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from router.errors import CONFLICT, DeadlockError, RouterError, StoreRefusedError, StoreUnavailableError

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
    except _refusals() as error:
        raise StoreRefusedError(str(error)) from error
    except _outages() as error:
        raise StoreUnavailableError(str(error) or "the database did not answer in time") from error


# What PostgreSQL's driver raises itself, not through SQLAlchemy, is among them once it was imported: never on SQLite.


def _outages() -> tuple[type[Exception], ...]:
    """On connecting, and on no response (TimeoutError is an OSError)."""
    common = (sa.exc.TimeoutError, sqlite3.Error, OSError)
    driver = sys.modules.get("asyncpg")
    if driver is None:
        return common
    return (*common, driver.PostgresError, driver.InterfaceError, driver.InternalClientError)


def _refusals() -> tuple[type[Exception], ...]:
    """The server responds, and refuses to let us in with these settings."""
    driver = sys.modules.get("asyncpg")
    return () if driver is None else (driver.InvalidAuthorizationSpecificationError, driver.InvalidCatalogNameError)
