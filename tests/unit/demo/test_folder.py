import os
from pathlib import Path

import pytest

from router.demo.folder import BusyError, Folder


def test_a_folder_belongs_to_one_demo(tmp_path: Path) -> None:
    """The second claim is refused with the pid of the first; once released, the folder is free."""
    first = Folder(tmp_path)
    first.claim()
    with pytest.raises(BusyError) as refusal:
        Folder(tmp_path).claim()
    assert refusal.value.pid == str(os.getpid())
    first.release()
    again = Folder(tmp_path)
    again.claim()
    again.release()


def test_a_lock_left_by_a_dead_demo_is_no_lock(tmp_path: Path) -> None:
    """The file of a demo that was killed does not stand in the way, whatever is in it."""
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo" / "lock").write_text("1\n", encoding="ascii")
    folder = Folder(tmp_path)
    folder.claim()
    assert (folder.path / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"
    folder.release()


def test_a_new_demo_keeps_the_authority_and_nothing_else(tmp_path: Path) -> None:
    """The database of the last time goes, with its journal; Caddy's CA stays, since browsers may trust it by now."""
    folder = Folder(tmp_path)
    folder.claim()
    for name in ("router.db", "router.db-wal", "router.db-shm"):
        (folder.path / name).touch()
    folder.root_certificate.parent.mkdir(parents=True)
    folder.root_certificate.write_text("root", encoding="ascii")
    folder.release()
    folder.claim()
    assert not list(folder.path.glob("router.db*"))
    assert folder.publish_certificate() == ".demo/root.crt"
    assert (tmp_path / ".demo" / "root.crt").read_text(encoding="ascii") == "root"
    folder.release()
