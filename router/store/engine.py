"""Which engine reads and writes a database, by its URL."""

from pathlib import Path

from sqlalchemy.engine import URL, make_url

from router.errors import StoreRefusedError
from router.settings import Database
from router.store.connection import Engine
from router.store.sqlite import SqliteEngine, probe


def parsed(database_url: str, *, create: bool) -> URL:
    """The setting's URL, which names no driver. An SQLite file is opened once, so that one that can't be is refused here.

    Raises StoreUnavailableError, also where there is no file and none is to be made.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        path = url.database or ""
        if not create and not Path(path).exists():
            raise StoreRefusedError(f"{path} does not exist: run `miosa-router db upgrade`")
        probe(path)
    return url


def sqlite_file(database_url: str) -> Path | None:
    """The file of an SQLite store; None for another store."""
    url = make_url(database_url)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def writing_engine(url: URL, limits: Database) -> Engine:
    """For transactions that may write."""
    return _engine(url, limits, reading=False)


def reading_engine(url: URL, limits: Database) -> Engine:
    """For transactions that only read, each as of one instant."""
    return _engine(url, limits, reading=True)


def _engine(url: URL, limits: Database, *, reading: bool) -> Engine:
    if url.get_backend_name() == "sqlite":
        return SqliteEngine(url, limits, reading=reading)
    from router.store.postgres import PostgresEngine  # noqa: PLC0415 - it brings SQLAlchemy's ORM, a tenth of a start that needs none of it with SQLite

    return PostgresEngine(url, limits, reading=reading)
