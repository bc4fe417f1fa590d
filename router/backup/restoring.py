"""Restores a backup into an empty store, or only checks it: `miosa-router restore`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from router.backup.archive import Archive, Manifest
from router.backup.copying import check_sums
from router.backup.errors import BackupError
from router.base.secret_box import SecretBox
from router.base.x509_errors import UNREADABLE
from router.store import migrate
from router.store.after_restore import CaddyCertificate, Fitted, fit
from router.store.log_drain_tables import log_drains
from router.store.login_tables import logins
from router.store.migrate import known_revisions
from router.store.sealed_keys import KEY_COLUMNS
from router.store.shapes import Sum
from router.store.whole import Progress, Whole, fill_whole

# All that the store encrypts with `secrets_key`.
_SEALED = (*KEY_COLUMNS.values(), logins.c.client_secret, log_drains.c.credentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`caddy_data` is the folder of Caddy's storage: the backup's files are put there where it is empty, else it says which
    certificates there are. `caddy_kept`: nothing of Caddy's storage was lost. `attempts_kept` is for how many seconds the gate
    counts attempts."""

    caddy_data: Path | None = None
    caddy_kept: bool = False
    keep_endpoints: bool = False
    attempts_kept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came of it. `caddy_files` were put into Caddy's storage."""

    fitted: Fitted
    caddy_files: int
    revision: str


def check(archive: Archive, box: SecretBox) -> Sequence[str]:
    """Read all of the backup; what is to be known of it beside that it is whole. Raises BackupError where it can't be restored."""
    archive.verify()
    manifest = archive.manifest
    known = known_revisions()
    if manifest.revision not in known:
        raise BackupError(
            "newer_schema",
            f"the backup is of revision {manifest.revision}, and this version ends at {known[-1]}: restore it with version "
            f"{manifest.version} or a later one",
        )
    remarks = []
    if manifest.revision != known[-1]:
        remarks.append(f"its schema, revision {manifest.revision}, will be migrated to {known[-1]}")
    if (unread := _unread_secrets(archive, box)) > 0:
        remarks.append(
            f"{unread} secrets in it can't be read with this router's `secrets_key`: set the key that was in force when the "
            "backup was made, or customers' logins, the headers of log drains, and certificates whose keys the router holds are lost"
        )
    if manifest.caddy is None:
        remarks.append("Caddy's storage is not in it")
    return remarks


def _unread_secrets(archive: Archive, box: SecretBox) -> int:
    unread = 0
    for table in archive.manifest.tables:
        columns = [column.name for column in _SEALED if column.table.name == table.name]
        if not columns:
            continue
        shape = table.shape()
        for line in archive.lines(table):
            row = shape.row(line)
            texts = [text for name in columns if (text := row.get(name))]  # an older schema has not all of them
            unread += sum(not box.has_key_of(text) for text in texts)
    return unread


async def restore(
    archive: Archive, database_url: str, now: datetime, options: Options, *, progress: Progress
) -> Restored:
    """Fill the store, which has to be empty, and put right what the time since the backup has changed.

    Call `check` before. All is one transaction, and one more where the schema is migrated; what fails leaves the store empty, or, after
    the first, a store that has to be thrown away. Raises BackupError, StoreUnavailableError, OSError.
    """
    manifest = archive.manifest
    files = _caddy_is_to_be_filled(options.caddy_data, manifest)
    await _make(database_url, manifest)
    made_at = datetime.fromisoformat(manifest.made_at)
    found = (
        list(_names_in(archive, manifest))
        if files
        else None
        if options.caddy_data is None
        else list(_certificates_in(options.caddy_data))
    )

    def put_right(store: Whole) -> Fitted:
        return fit(
            store,
            made_at,
            now,
            caddy=found,
            caddy_kept=options.caddy_kept,
            attempts_kept=options.attempts_kept,
            keep_endpoints=options.keep_endpoints,
        )

    newest = known_revisions()[-1]
    fitted: Fitted | None = None
    async with fill_whole(database_url) as store:
        await store.run(lambda: _fill(archive, store, progress))
        if manifest.revision == newest:
            fitted = await store.run(lambda: put_right(store))
    if fitted is None:
        await migrate(database_url)
        async with fill_whole(database_url) as store:
            fitted = await store.run(lambda: put_right(store))
    if files and options.caddy_data is not None:
        _put_files(archive, options.caddy_data, files)
    return Restored(fitted=fitted, caddy_files=len(files), revision=newest)


async def _make(database_url: str, manifest: Manifest) -> None:
    """A store without rows whose schema is the backup's."""
    _, after = await migrate(database_url, to=manifest.revision)
    if after != manifest.revision:
        raise BackupError(
            "not_empty",
            f"the store is at revision {after}, and the backup is of {manifest.revision}: it can only be restored into a "
            "database without tables. Nothing was changed",
        )


def _fill(archive: Archive, store: Whole, progress: Progress) -> None:
    shapes = {shape.name: shape for shape in store.shapes()}
    if (filled := store.filled(shapes.values())) is not None:
        raise BackupError("not_empty", f"the store is not empty: {filled} has rows. Nothing was changed")
    for table in archive.manifest.tables:
        shape = table.shape()
        if table.name not in shapes or dict(shapes[table.name].columns) != dict(shape.columns):
            raise BackupError("other_schema", f"the table {table.name} of the backup is not this router's")
        store.fill(shape, archive.lines(table))
        if table.number is not None:
            store.set_number(shapes[table.name], table.number)
        check_sums(shape, Sum(table.rows, int(table.checksum, 16)), store.sums(shape))
        progress(table.name, table.rows, table.rows)


def _caddy_is_to_be_filled(folder: Path | None, manifest: Manifest) -> Sequence[str]:
    """The files that are to be put there: none where there are some."""
    if folder is None or (folder.exists() and any(folder.iterdir())):
        return ()
    return list(manifest.caddy or {})


def _put_files(archive: Archive, folder: Path, files: Sequence[str]) -> None:
    """Write Caddy's files into a folder that was empty when `restore` began. If another program has made a file or a symbolic link there since,
    we stop: following its link would let that program choose which file root overwrites."""
    for name in files:
        path, content = folder / name, archive.content(name)  # which refuses a name that leads out of the folder
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(folder.resolve()):
            raise _changed(folder, path.parent)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise _changed(folder, path) from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def _changed(folder: Path, path: Path) -> BackupError:
    return BackupError(
        "changed_meanwhile",
        f"the store is restored, and Caddy's storage is not: another program has made {path} meanwhile. Stop what writes to "
        f"{folder}, empty it, and unpack the folder caddy of the backup there",
    )


def _names_in(archive: Archive, manifest: Manifest) -> Iterator[CaddyCertificate]:
    for name in manifest.caddy or {}:
        if name.endswith(".crt"):
            yield from _read_certificate(archive.content(name))


def _certificates_in(folder: Path) -> Iterator[CaddyCertificate]:
    for file in sorted((folder / "certificates").rglob("*.crt")):
        yield from _read_certificate(file.read_bytes())


def _read_certificate(pem: bytes) -> Iterator[CaddyCertificate]:
    """The first one of a chain; none where it can't be read, which is as if Caddy did not have it."""
    try:
        leaf = x509.load_pem_x509_certificates(pem)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.DNSName)
    except (*UNREADABLE, IndexError):
        return
    yield CaddyCertificate(found, leaf.not_valid_before_utc, leaf.not_valid_after_utc)
