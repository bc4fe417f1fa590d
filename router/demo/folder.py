"""The demo's folder: its database, Caddy's storage, logs, and a lock with the pid of the demo that uses it."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

NAME = ".demo"


class BusyError(Exception):
    """Another demo runs in this folder. `pid` is its process, where it could be read."""

    def __init__(self, path: Path, pid: str) -> None:
        self.path = path
        self.pid = pid
        super().__init__(f"a demo already runs in {path} (process {pid})")


class Folder:
    """`.demo` of the current folder, held by one process at a time."""

    def __init__(self, parent: Path) -> None:
        self.path = (parent / NAME).resolve()
        self.database = self.path / "router.db"
        self.storage = self.path / "caddy"
        self.root_certificate = self.storage / "pki" / "authorities" / "local" / "root.crt"
        self._lock: IO[str] | None = None

    def claim(self) -> None:
        """Take the lock and start from an empty database; Caddy's authority stays, as browsers may trust it by now.

        The kernel gives the lock back when we end, however we end. Raises BusyError, and OSError where the folder
        cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip()
            lock.close()
            raise BusyError(self.path, pid) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock
        for leftover in self.path.glob(f"{self.database.name}*"):
            leftover.unlink()
        self.storage.mkdir(exist_ok=True)

    def log(self, child: str) -> Path:
        """Where a child's output goes."""
        return self.path / f"{child}.log"

    def publish_certificate(self) -> str:
        """Copy the CA's root to where it is short to type; its path from the folder that we started in."""
        shutil.copyfile(self.root_certificate, self.path / "root.crt")
        return f"{NAME}/root.crt"

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
