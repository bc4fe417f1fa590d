"""A backup of a store, made while it is written to, and what is right after it was restored, on both databases."""

import asyncio
import gzip
import hashlib
import io
import json
import shutil
import stat
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from router.backup import archive as archive_module
from router.backup import restoring
from router.backup.archive import reading
from router.backup.errors import BackupError
from router.backup.saving import save
from router.base.clock import ManualClock
from router.base.secret_box import SecretBox
from router.domains.certificates import Seen
from router.drains.credentials import Credentials, seal_credentials
from router.store import Store, migrate
from router.store.after_restore import LEAP
from router.store.certificate_tables import certificate_attempts
from router.store.migrate import known_revisions
from tests.support.database import Databases, execute, on_both, on_sqlite, rows
from tests.support.log_drains import drain
from tests.support.world import World

pytestmark = pytest.mark.asyncio

WEEK = 7 * 86400.0
OPTIONS = restoring.Options(attempts_kept=WEEK)


def quiet(_table: str, _done: int, _total: int) -> None:
    pass


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[str]:
    """Another store, with nothing in it."""
    async with databases.new(request.param) as url:
        yield url


def leaf(name: str, begin: datetime) -> bytes:
    """A certificate for 90 days."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, begin, begin + timedelta(days=90))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


async def restored(file: Path, url: str, now: datetime, options: restoring.Options = OPTIONS) -> restoring.Restored:
    with reading(file) as archive:
        restoring.check(archive, SecretBox())
        return await restoring.restore(archive, url, now, options, progress=quiet)


async def backed_up(database: str, folder: Path, clock: ManualClock, caddy_data: Path | None = None) -> Path:
    return (await save(database, folder / "b.backup", clock.now(), caddy_data=caddy_data, progress=quiet))[0]


@on_both
async def test_a_backup_while_nodes_write(
    world: World, store: Store, database: str, empty: str, clock: ManualClock, tmp_path: Path
) -> None:
    """It is of one instant: each tenant in it has its workspace and project. It is for its owner's eyes only."""

    async def write() -> None:
        for number in range(1000):
            await world.tenant(f"T{number}")
            await asyncio.sleep(0)

    for number in range(20):
        await world.tenant(f"Before {number}")
    writing = asyncio.create_task(write())
    try:
        file, manifest = await asyncio.to_thread(
            lambda: asyncio.run(save(database, tmp_path, clock.now(), caddy_data=None, progress=quiet))
        )
    finally:
        writing.cancel()
        await asyncio.wait({writing})
    counted = {table.name: table.rows for table in manifest.tables}
    assert counted["tenants"] == counted["workspaces"] == counted["projects"] >= 20
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    await restored(file, empty, clock.now())
    assert await rows(empty, "SELECT count(*) FROM workspaces") == [(counted["tenants"],)]


@on_both
async def test_what_is_known_elsewhere_is_older(
    world: World, store: Store, database: str, empty: str, clock: ManualClock, tmp_path: Path
) -> None:
    """Versions and numbers of changes are above all that Redis and workers can have seen; leases are free; who had a
    session or a cookie, or an address, has none."""
    sandbox = await world.sandbox(await world.tenant(), "shop")
    await world.domain(sandbox, "shop.example.org")
    await store.leases.acquire("prune", "node/1", 60.0, 5.0)
    await store.leases.present("node/1", 60.0)
    file = await backed_up(database, tmp_path, clock)
    for number in range(5):
        await world.place(sandbox, generation=f"boot-{number}")
    seen = dict(await rows(database, "SELECT key, version FROM route_versions"))
    newest = await store.feed.newest()
    done = await restored(file, empty, clock.now() + timedelta(days=1))
    assert done.fitted.endpoints_dropped == 1
    now = dict(await rows(empty, "SELECT key, version FROM route_versions"))
    assert all(version > seen[key] for key, version in now.items())
    again = await Store.open(empty, clock=clock)
    assert await again.feed.oldest() == await again.feed.newest() > newest + LEAP // 2  # a gap for whoever followed
    assert await again.leases.free(["prune"]) == ["prune"]
    assert await again.leases.present("node/2", 60.0) == 1
    assert await again.leases.ran(["prune"]) == {}
    await World(again, clock).sandbox(await World(again, clock).tenant("New"), "new")
    assert await again.feed.newest() > await again.feed.oldest()
    await again.close()


@on_sqlite
async def test_budgets_and_evidence_fit_caddy(
    world: World, store: Store, database: str, empty: str, clock: ManualClock, tmp_path: Path
) -> None:
    """What was spent counts for its whole window again, and what Caddy got since as well; evidence is left of the
    certificates that Caddy has, and of no others."""
    now = datetime.now(UTC)
    yesterday = now - timedelta(days=1)
    old = {"tenant_id": None, "outcome": "issued", "closed_at": 1.0, "domain": "example.org"}
    async with store.begin() as tx:
        for number, ago in (("1", 86400.0), ("2", 3 * 86400.0), ("3", 20 * 86400.0)):
            at = yesterday.timestamp() - ago
            values = {**old, "id": number, "host": f"{number}.example.org", "opened_at": at}
            await tx._connection.execute(sa.insert(certificate_attempts).values(values))
    await store.certificate_log.save_visits([Seen(host, yesterday) for host in ("a.org", "b.org", "x.wild.org")])
    file = (await save(database, tmp_path / "b", yesterday, caddy_data=None, progress=quiet))[0]
    caddy = tmp_path / "caddy"
    for name in ("a.org", "*.wild.org", "new.org"):
        folder = caddy / "certificates" / "acme" / name.replace("*", "wildcard_")
        folder.mkdir(parents=True)
        (folder / "c.crt").write_bytes(leaf(name, now - timedelta(hours=1 if name == "new.org" else 90)))
    done = await restored(file, empty, now, restoring.Options(caddy_data=caddy, attempts_kept=WEEK))
    assert (done.fitted.attempts_kept, done.fitted.attempts_added) == (2, 1)
    found = {
        host: now.timestamp() - at for host, at in await rows(empty, "SELECT host, opened_at FROM certificate_attempts")
    }
    assert set(found) == {"1.example.org", "2.example.org", "new.org"}
    assert [round(found[host] / 86400) for host in ("1.example.org", "2.example.org", "new.org")] == [1, 3, 0]
    assert await rows(empty, "SELECT host FROM certificates ORDER BY host") == [("a.org",), ("x.wild.org",)]


@on_sqlite
@pytest.mark.parametrize("kept", [True, False])
async def test_evidence_without_caddys_storage(
    store: Store, database: str, empty: str, clock: ManualClock, tmp_path: Path, kept: bool
) -> None:
    """It goes, unless the operator says that nothing of Caddy's was lost."""
    await store.certificate_log.save_visits([Seen("a.org", datetime.now(UTC))])
    file = await backed_up(database, tmp_path, clock)
    await restored(file, empty, clock.now(), restoring.Options(caddy_kept=kept, attempts_kept=WEEK))
    assert await rows(empty, "SELECT host FROM certificates") == ([("a.org",)] if kept else [])


@on_sqlite
@pytest.mark.parametrize("empty", ["sqlite"], indirect=True)
async def test_caddys_storage_goes_where_there_is_none(
    store: Store, database: str, empty: str, clock: ManualClock, tmp_path: Path
) -> None:
    """With its folders and modes; where there is one it is left alone."""
    caddy, elsewhere = tmp_path / "caddy", tmp_path / "new" / "caddy"
    (caddy / "certificates" / "acme").mkdir(parents=True)
    (caddy / "certificates" / "acme" / "a.key").write_bytes(b"\x00key")
    (caddy / "locks").mkdir()
    (caddy / "locks" / "a.lock").touch()
    file = await backed_up(database, tmp_path, clock, caddy)
    done = await restored(file, empty, clock.now(), restoring.Options(caddy_data=elsewhere, attempts_kept=WEEK))
    assert done.caddy_files == 1
    key = elsewhere / "certificates" / "acme" / "a.key"
    assert (key.read_bytes(), stat.S_IMODE(key.stat().st_mode)) == (b"\x00key", 0o600)
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert not (elsewhere / "locks").exists()


@on_sqlite
@pytest.mark.parametrize("empty", ["sqlite"], indirect=True)
@pytest.mark.parametrize("at", ["certificates", "certificates/acme/a.key"])
async def test_a_link_that_comes_meanwhile_is_not_followed(
    store: Store, database: str, empty: str, clock: ManualClock, tmp_path: Path, at: str
) -> None:
    """As root runs `restore`, whoever may write to the folder must not choose what is written over."""
    caddy, elsewhere, theirs = tmp_path / "caddy", tmp_path / "elsewhere", tmp_path / "theirs"
    (caddy / "certificates" / "acme").mkdir(parents=True)
    (caddy / "certificates" / "acme" / "a.key").write_bytes(b"key")
    file = await backed_up(database, tmp_path, clock, caddy)
    theirs.mkdir()

    def link(*_: object) -> None:
        """Between the look at the folder and the first file."""
        if not elsewhere.is_dir():
            (elsewhere / at).parent.mkdir(parents=True)
            (elsewhere / at).symlink_to(theirs if at == "certificates" else theirs / "a.key")

    options = restoring.Options(caddy_data=elsewhere, attempts_kept=WEEK)
    with reading(file) as archive, pytest.raises(BackupError, match="another program has made") as raised:
        await restoring.restore(archive, empty, clock.now(), options, progress=link)
    assert raised.value.code == "changed_meanwhile"
    assert not [found for found in theirs.rglob("*") if found.is_file()]


@on_sqlite
async def test_secrets_that_this_routers_key_does_not_open(
    world: World, store: Store, database: str, clock: ManualClock, tmp_path: Path
) -> None:
    """They are counted before anything is restored, the headers of log drains among them."""
    box = SecretBox([b"k" * 32])
    tenant = await world.tenant()
    async with store.begin() as tx:
        await tx.log_drains.add(drain(tenant_id=tenant.id))
        sealed = seal_credentials(box, "d2", Credentials(headers={"DD-API-KEY": "x"}))
        await tx.log_drains.add(drain(id="d2", tenant_id=tenant.id, credentials=sealed))
    with reading(await backed_up(database, tmp_path, clock)) as archive:
        assert not any("secrets_key" in remark for remark in restoring.check(archive, box))
        (remark,) = (one for one in restoring.check(archive, SecretBox([b"o" * 32])) if "secrets_key" in one)
    assert remark.startswith("1 secrets in it can't be read")


async def test_an_older_schema_is_migrated(empty: str, clock: ManualClock, tmp_path: Path) -> None:
    """A backup of the version before: its tables are made as they were, filled, and migrated."""
    before = known_revisions()[-2]
    old = f"sqlite:///{tmp_path}/old.db"
    await migrate(old, to=before)
    await execute(
        old,
        "INSERT INTO tenants (id, slug, name, plan, auto_expose, branding, suspended, created_at, updated_at) VALUES "
        "('a', 'acme', 'Acme', 'free', 0, '{}', 0, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')",
    )
    file = await backed_up(old, tmp_path, clock)
    with reading(file) as archive:
        assert any(before in remark for remark in restoring.check(archive, SecretBox()))
    with pytest.raises(BackupError, match="database without tables"):
        await restored(file, empty, clock.now())
    new = f"sqlite:///{tmp_path}/new.db"
    assert (await restored(file, new, clock.now())).revision == known_revisions()[-1]
    opened = await Store.open(new, clock=clock)
    async with opened.read() as tx:
        assert await tx.tenants.by_slug("acme") is not None
    await opened.close()


def changed(file: Path, **manifest: object) -> Path:
    """A copy whose manifest says something else."""
    other = file.with_name("changed.backup")
    with tarfile.open(file) as before, tarfile.open(other, "w") as after:
        parts = {member.name: before.extractfile(member).read() for member in before}  # type: ignore[union-attr]
        parts["manifest.json"] = json.dumps(json.loads(parts["manifest.json"]) | manifest).encode()
        parts["manifest.sha256"] = hashlib.sha256(parts["manifest.json"]).hexdigest().encode()
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            after.addfile(info, io.BytesIO(content))
    return other


@on_sqlite
@pytest.mark.parametrize("empty", ["sqlite"], indirect=True)
async def test_what_is_refused(
    world: World, store: Store, database: str, empty: str, clock: ManualClock, tmp_path: Path
) -> None:
    """A damaged file, one that was cut off, one of a newer schema, a store with rows, a file that is there already."""
    await world.tenant()
    file = await backed_up(database, tmp_path, clock)
    with pytest.raises(BackupError) as refused:
        await backed_up(database, tmp_path, clock)
    assert refused.value.code == "exists"
    content = file.read_bytes()
    broken = tmp_path / "broken.backup"
    with tarfile.open(file) as tar:
        places = [member.offset_data + member.size // 2 for member in tar]
    for at in places:
        broken.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(BackupError) as refused, reading(broken) as archive:
            restoring.check(archive, SecretBox())
        assert refused.value.code == "damaged"
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(BackupError, match="damaged"), reading(broken) as archive:
        restoring.check(archive, SecretBox())
    broken.write_bytes(gzip.compress(b"no tar"))
    with pytest.raises(BackupError, match="can't be read"), reading(broken) as archive:
        pass
    with reading(changed(file, revision="9999")) as archive, pytest.raises(BackupError) as refused:
        restoring.check(archive, SecretBox())
    assert refused.value.code == "newer_schema"
    shutil.copy(file, tmp_path / "again.backup")
    with pytest.raises(BackupError) as refused:
        await restored(file, database, clock.now())
    assert refused.value.code == "not_empty"


@on_sqlite
async def test_a_row_without_an_end(
    world: World, database: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that unpacks to one endless line is refused before it fills the memory."""
    await world.tenant()
    file = await backed_up(database, tmp_path, clock)
    monkeypatch.setattr(archive_module, "MAX_ROW", 20)
    with pytest.raises(BackupError, match="has more than 20 bytes"), reading(file) as archive:
        archive.verify()


@pytest.mark.parametrize(
    "manifest",
    [
        b"[]",
        b"{}",
        b"no JSON",
        b"[" * 100_000,
        b'{"format": 1, "tables": 5}',
        b'{"format": 1, "tables": [{"name": "x"}]}',
        b'{"format": 1, "tables": [], "caddy": null, "other": 1}',
    ],
    ids=["list", "empty", "text", "deep", "tables", "columns", "fields"],
)
async def test_a_manifest_of_somebody_elses_making(tmp_path: Path, manifest: bytes) -> None:
    """It has its checksum, and is refused all the same."""
    file = tmp_path / "made.backup"
    with tarfile.open(file, "w") as tar:
        for name, content in (
            ("manifest.json", manifest),
            ("manifest.sha256", hashlib.sha256(manifest).hexdigest().encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(BackupError, match="manifest"), reading(file):
        pass
