"""The file of a backup: a tar of the store's tables and of Caddy's storage, with a checksum of each part.

    tables/NAME.jsonl.gz   a table: a line of JSON for each row (`store/shapes.py`), compressed
    caddy/PATH             the files of Caddy's storage, as they were
    manifest.json          format, time, version, the schema's revision; each table's columns, rows and checksum; each file's
                           SHA-256
    manifest.sha256        the SHA-256 of manifest.json

Both SQLite and PostgreSQL can be restored from it. The manifest comes last: a file that was not written to its end has none. The
file is written beside its place with mode 0600, and takes it when it is whole.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from router.backup.errors import BackupError
from router.store.shapes import Kind, Shape, Sum

FORMAT = 1
_MANIFEST, _CHECKSUM = "manifest.json", "manifest.sha256"
_CHUNK = 1 << 20
_MAX_MANIFEST = 256 << 20  # bytes
MAX_FILE = 64 << 20  # bytes of a file in Caddy's storage; certificates and keys have a few thousand
MAX_ROW = 64 << 20  # bytes of one row as JSON; the longest that the router writes has a few hundred KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in the manifest. `checksum` is the sum over its rows, `sha256` that of its part of the file, `number` the highest
    that the database has given to a row."""

    name: str
    columns: Sequence[tuple[str, str]]
    numbered: str | None
    rows: int
    checksum: str
    sha256: str
    number: int | None

    def shape(self) -> Shape:
        return Shape(self.name, tuple((name, Kind(kind)) for name, kind in self.columns), self.numbered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a backup. `made_at` is the instant that its tables are of; `caddy` has a SHA-256 for each file of Caddy's
    storage, None where that was not backed up."""

    format: int
    made_at: str
    version: str
    revision: str
    tables: Sequence[Table]
    caddy: Mapping[str, str] | None

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


class Writing:
    """An archive that is being written."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        self._tar = tar
        self._folder = folder

    def table(self, shape: Shape, lines: Iterator[str], number: int | None) -> Table:
        """Add a table."""
        found = Sum()
        with tempfile.TemporaryFile(dir=self._folder) as part:
            with gzip.GzipFile(fileobj=part, mode="wb", compresslevel=4, mtime=0) as packed:
                for line in lines:
                    found.add(line)
                    packed.write(line.encode("utf-8", "surrogatepass") + b"\n")
            digest = self._add(f"tables/{shape.name}.jsonl.gz", part)
        columns = [(name, kind.value) for name, kind in shape.columns]
        return Table(
            name=shape.name,
            columns=columns,
            numbered=shape.numbered,
            rows=found.rows,
            checksum=found.text,
            sha256=digest,
            number=number,
        )

    def file(self, name: str, content: bytes) -> str:
        """Add a file of Caddy's storage; its SHA-256."""
        return self._add(f"caddy/{name}", io.BytesIO(content))

    def finish(self, manifest: Manifest) -> None:
        text = json.dumps(asdict(manifest), indent=1).encode()
        self._add(_MANIFEST, io.BytesIO(text))
        self._add(_CHECKSUM, io.BytesIO(hashlib.sha256(text).hexdigest().encode()))

    def _add(self, name: str, content: IO[bytes]) -> str:
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        digest = _digest(content)
        content.seek(0)
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._tar.addfile(info, content)
        return digest


@contextmanager
def writing(path: Path) -> Iterator[Writing]:
    """A new archive, which is at `path` when the block has ended, and nowhere if it raises. Raises BackupError where there is a
    file already."""
    if path.exists():
        raise BackupError("exists", f"{path} exists already: nothing is written over")
    unfinished = path.with_name(f".{path.name}.unfinished-{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "wb") as file:
        try:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield Writing(tar, path.parent)
            file.flush()
            os.fsync(file.fileno())
            os.link(unfinished, path)  # unlike a rename this replaces no file that has come meanwhile
        except FileExistsError:
            raise BackupError("exists", f"{path} exists already: nothing is written over") from None
        finally:
            unfinished.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Archive:
    """An archive that is there. Methods raise BackupError where it is damaged."""

    def __init__(self, tar: tarfile.TarFile, manifest: Manifest, members: Mapping[str, tarfile.TarInfo]) -> None:
        self._tar = tar
        self.manifest = manifest
        self._members = members

    def verify(self) -> None:
        """Read all of it: every part is there, is what was written, and can be restored."""
        manifest = self.manifest
        files = manifest.caddy or {}
        expected = {f"tables/{table.name}.jsonl.gz" for table in manifest.tables} | {f"caddy/{name}" for name in files}
        if expected != set(self._members) - {_MANIFEST, _CHECKSUM}:
            raise _damaged("its parts are not those of its manifest")
        for table in manifest.tables:
            with self._open(f"tables/{table.name}.jsonl.gz") as part:
                if _digest(part) != table.sha256:
                    raise _damaged(f"the table {table.name} is not as it was written")
            try:
                found, shape = Sum(), table.shape()
            except ValueError as error:
                raise _damaged(f"the columns of {table.name} can't be read: {error}") from error
            for line in self.lines(table):
                found.add(line)
                try:
                    shape.row(line)
                except (ValueError, TypeError) as error:
                    raise _damaged(f"a row of {table.name} can't be read: {error}") from error
            if (found.rows, found.text) != (table.rows, table.checksum):
                raise _damaged(f"{table.name} has not the rows that were written")
        for name in files:
            self.content(name)

    def lines(self, table: Table) -> Iterator[str]:
        """A table's rows."""
        try:
            with self._open(f"tables/{table.name}.jsonl.gz") as part, gzip.open(part, "rb") as unpacked:
                while line := unpacked.readline(MAX_ROW + 1):
                    if len(line) > MAX_ROW:
                        raise _damaged(f"a row of the table {table.name} has more than {MAX_ROW} bytes")
                    yield line.removesuffix(b"\n").decode("utf-8", "surrogatepass")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise _damaged(f"the table {table.name} can't be read: {error}") from error

    def content(self, name: str) -> bytes:
        """A file of Caddy's storage."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise _damaged(f"{name!r} is no path of a file in Caddy's storage")
        with self._open(f"caddy/{name}") as part:
            found = part.read(MAX_FILE + 1)
        if len(found) > MAX_FILE:
            raise _damaged(f"Caddy's file {name} has more than {MAX_FILE} bytes")
        if hashlib.sha256(found).hexdigest() != (self.manifest.caddy or {}).get(name):
            raise _damaged(f"Caddy's file {name} is not as it was written")
        return found

    def _open(self, member: str) -> IO[bytes]:
        opened = self._tar.extractfile(self._members[member]) if member in self._members else None
        if opened is None:
            raise _damaged(f"{member} is missing")
        return opened


@contextmanager
def reading(path: Path) -> Iterator[Archive]:
    """An archive. Raises BackupError where it is none, or was not written to its end."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = {member.name: member for member in tar if member.isreg()}
            yield Archive(tar, _manifest(tar, members), members)
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(f"it can't be read: {error}") from error


def _manifest(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> Manifest:
    parts: dict[str, bytes] = {}
    for name in (_MANIFEST, _CHECKSUM):
        member = members.get(name)
        part = None if member is None or member.size > _MAX_MANIFEST else tar.extractfile(member)
        if part is None:
            raise _damaged("it has no manifest: it is no backup of a router, or was not written to its end")
        parts[name] = part.read()
    if hashlib.sha256(parts[_MANIFEST]).hexdigest().encode() != parts[_CHECKSUM]:
        raise _damaged("its manifest is not as it was written")
    try:
        return _read(json.loads(parts[_MANIFEST]))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _damaged("its manifest can't be read") from error


def _read(said: dict[str, Any]) -> Manifest:
    if said["format"] != FORMAT:
        raise BackupError("newer", f"this backup has format {said['format']}, and this version knows {FORMAT}")
    said["tables"] = [
        Table(**{**table, "columns": [(name, kind) for name, kind in table["columns"]]}) for table in said["tables"]
    ]
    return Manifest(**said)


def _digest(content: IO[bytes]) -> str:
    found = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()


def _damaged(what: str) -> BackupError:
    return BackupError("damaged", f"the backup is damaged: {what}")
