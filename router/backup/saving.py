"""Makes backups, while nodes run: `miosa-router backup`."""

from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from router.backup.archive import FORMAT, MAX_FILE, Manifest, Writing, writing
from router.backup.errors import BackupError
from router.store.whole import Progress, Whole, read_whole

_LOCKS = "locks"  # Caddy's folder of what is locked at the moment
SUFFIX = ".backup"


async def save(
    database_url: str, target: Path, now: datetime, *, caddy_data: Path | None, progress: Progress
) -> tuple[Path, Manifest]:
    """Write a backup to `target`, or to a new file in it where that is a folder; where it is, and what is in it.

    The tables are of one instant. Caddy's files are read after that: no certificate that the store knows of is missing there.

    Raises BackupError, StoreUnavailableError, OSError.
    """
    path = _place(target, now, caddy_data)
    async with read_whole(database_url) as source:
        return path, await source.run(lambda: _save(source, path, now, caddy_data, progress))


def _place(target: Path, now: datetime, caddy_data: Path | None) -> Path:
    if caddy_data is not None and not caddy_data.is_dir():
        raise BackupError("no_caddy_data", f"{caddy_data} is no folder")
    return target / f"miosa-router-{now:%Y%m%dT%H%M%SZ}{SUFFIX}" if target.is_dir() else target


def _save(source: Whole, path: Path, now: datetime, caddy_data: Path | None, progress: Progress) -> Manifest:
    revision, known = source.revision()
    if revision is None or revision not in known:
        raise BackupError(
            "other_schema", f"the store is at revision {revision or 'none'}, which this version does not know"
        )
    shapes = source.shapes()
    with writing(path) as archive:
        numbers = source.numbers(shapes)
        tables = [archive.table(shape, source.lines(shape, progress), numbers.get(shape.name)) for shape in shapes]
        manifest = Manifest(
            format=FORMAT,
            made_at=now.isoformat(),
            version=version("miosa-router"),
            revision=revision,
            tables=tables,
            caddy=None if caddy_data is None else dict(_caddy_files(archive, caddy_data)),
        )
        archive.finish(manifest)
    return manifest


def _caddy_files(archive: Writing, folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if name.split("/")[0] == _LOCKS or file.is_symlink() or not file.is_file():
            continue
        try:
            if file.stat().st_size > MAX_FILE:
                raise BackupError("large_file", f"{file} has more than {MAX_FILE} bytes: is this Caddy's storage?")
            content = file.read_bytes()
        except FileNotFoundError:  # Caddy goes on meanwhile, and has removed it
            continue
        yield name, archive.file(name, content)
