"""Whether something was written to an SQLite file: heard of the system, and read from the file."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from router.store.file_watch import FileWatch
from router.store.watch import Commits, DataVersion


class File:
    """A database and a connection of another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = make_url(f"sqlite:///{path}")
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE notes (text TEXT)")

    def commit(self) -> None:
        self.connection.execute("INSERT INTO notes VALUES ('x')")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    made = File(tmp_path / "router.db")
    yield made
    made.connection.close()


@pytest.mark.asyncio
async def test_a_write_ends_the_wait(tmp_path: Path) -> None:
    """It is told of once, however often was written; and a write before the wait counts, too."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    watch = FileWatch([path])
    assert not watch.take()
    waiting = asyncio.ensure_future(watch.written(60.0))
    await asyncio.sleep(0)  # one turn of the loop: it waits now
    path.write_bytes(b"a")
    await waiting
    path.write_bytes(b"b")
    assert watch.take()
    assert not watch.take()
    path.write_bytes(b"c")
    await watch.written(60.0)
    assert watch.take()
    await watch.written(0.001)
    watch.close()


def test_a_file_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    """Nor is anything left open then."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        FileWatch([tmp_path / "none"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.asyncio
async def test_a_commit_is_seen_soon(file: File) -> None:
    """While nothing is written there is one look a second; a commit ends that wait, and looks go on until it is visible."""
    version = DataVersion(file.url)
    assert version.moved()
    while version._looks or (version._files is not None and version._files.take()):  # what was written when it was made
        await version.pause()
    assert not version.moved()
    waiting = asyncio.ensure_future(version.pause())
    await asyncio.sleep(0)  # one turn of the loop: it waits now
    file.commit()
    await waiting
    assert version.moved()
    await version.pause()
    assert version._looks
    version.close()


def test_commits_are_counted(file: File) -> None:
    """The number stays until there was a commit, whoever made it."""
    commits = Commits(file.url, lambda: None)
    first = commits()
    assert commits() == first
    file.commit()
    second = commits()
    assert second != first
    assert commits() == second
    commits.close()


def test_a_file_that_was_replaced_is_never_the_same(file: File) -> None:
    """An open file outlives its name: nobody who asks may rest on it. Nor on a store that isn't open."""
    closed: str | None = None
    commits = Commits(file.url, lambda: closed)
    first = commits()
    file.path.rename(file.path.with_suffix(".old"))
    assert len({first, commits(), commits()}) == 3
    closed = "not opened yet"
    assert commits() != commits()
    commits.close()
