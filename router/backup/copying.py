"""Copies one store into another, of whatever kind each is: `miosa-router db copy`.

The destination is migrated first and has to be empty. The source is read as of one instant, and never written. All rows go into
one transaction of the destination, which is compared with the source, table by table, before it is committed. So there is nothing
to resume: a copy that failed has left nothing, and is started anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from router.backup.errors import BackupError
from router.store import migrate
from router.store.shapes import Shape, Sum
from router.store.whole import Progress, Whole, fill_whole, read_whole


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of one table: how many rows, and the sum over them, which is the same in both databases."""

    table: str
    rows: int
    checksum: str


async def copy_store(source_url: str, destination_url: str, *, live: bool, progress: Progress) -> Sequence[Copied]:
    """Copy it. `live`: also while nodes use the source; what they write from now on is not copied.

    Raises BackupError, StoreUnavailableError.
    """
    if source_url == destination_url:
        raise BackupError("same_database", "the source and the destination are the same database")
    async with read_whole(source_url) as source:
        shapes = await source.run(lambda: _check_source(source, live=live))
        await migrate(destination_url)
        async with fill_whole(destination_url) as destination:
            return await both(source, destination).run(lambda: _copy(source, destination, shapes, progress))


def both(one: Whole, other: Whole) -> Whole:
    """The one of two by whose `run` the methods of both can be used."""
    return other if one.is_sqlite else one


def _check_source(source: Whole, *, live: bool) -> Sequence[Shape]:
    revision, known = source.revision()
    if revision != known[-1]:
        newer = revision is not None and revision not in known
        what = "use the version that made it" if newer else "run `miosa-router db upgrade` on it first"
        raise BackupError(
            "other_schema", f"the source is at revision {revision or 'none'}, this version at {known[-1]}: {what}"
        )
    users = source.in_use()
    if users and not live:
        raise BackupError(
            "source_in_use",
            f"{users} process(es) of running nodes use the source, and what they write from now on would not be in the copy: "
            "stop them first, or say --live for a trial",
        )
    return source.shapes()


def _copy(source: Whole, destination: Whole, shapes: Sequence[Shape], progress: Progress) -> Sequence[Copied]:
    theirs = {shape.name: shape for shape in destination.shapes()}
    for shape in shapes:
        if shape.name not in theirs or dict(theirs[shape.name].columns) != dict(shape.columns):
            raise BackupError("other_schema", f"the table {shape.name} is not the same in both databases")
    filled = destination.filled(theirs.values())
    if filled is not None:
        raise BackupError("not_empty", f"the destination is not empty: {filled} has rows. Nothing was changed")
    copied: list[Copied] = []
    numbers = source.numbers(shapes)
    for shape in shapes:
        read = destination.fill(shape, source.lines(shape, progress))
        if shape.name in numbers:
            destination.set_number(theirs[shape.name], numbers[shape.name])
        check_sums(shape, read, destination.sums(shape))
        copied.append(Copied(shape.name, read.rows, read.text))
    return copied


def check_sums(shape: Shape, expected: Sum, found: Sum) -> None:
    """Raises BackupError where a table is not what was to be stored."""
    if expected != found:
        raise BackupError(
            "differs",
            f"{shape.name}: {found.rows} rows with the sum {found.text} were stored in the place of {expected.rows} with "
            f"{expected.text}. Nothing was changed",
        )
