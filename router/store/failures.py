"""The drivers' errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import sqlalchemy as sa

from router.errors import CONFLICT, GaveWayError, RouterError, StoreUnavailableError

# What PostgreSQL's driver raises past SQLAlchemy: where it connects, and where nobody answers (TimeoutError is an OSError).
_OUTAGES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_DEADLOCK = "40P01"  # SQLSTATE deadlock_detected; SQLite has one writer, which waits for nobody


@contextmanager
def translated() -> Iterator[None]:
    """What two verbs did at once and can't both be is a conflict; who waited in a circle gave way; the rest is an outage."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        unique = "unique" in str(error.orig).lower()  # both databases say so
        words = "has already been taken" if unique else "conflicts with a change that was made at the same time"
        raise RouterError(CONFLICT, words) from error
    except sa.exc.DBAPIError as error:
        kind = GaveWayError if getattr(error.orig, "sqlstate", None) == _DEADLOCK else StoreUnavailableError
        raise kind(str(error)) from error
    except (sa.exc.TimeoutError, *_OUTAGES) as error:
        raise StoreUnavailableError(str(error) or "the database did not answer in time") from error
