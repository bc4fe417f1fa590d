"""`audit export`: what becomes of the file, and of others beside it."""

import asyncio
from pathlib import Path

import pytest
import typer

from router.cli.audit import audit_export
from router.store import migrate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With an empty store, which is that of the settings."""
    url = f"sqlite:///{tmp_path}/router.db"
    asyncio.run(migrate(url))
    monkeypatch.setenv("MIOSA_ROUTER_DATABASE_URL", url)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_files_of_others_stay(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What another export may be writing, and a file that is there."""
    (folder / "log.ndjson.part").write_bytes(b"theirs")
    audit_export(folder / "log.ndjson")
    assert sorted(one.name for one in folder.iterdir()) == ["log.ndjson", "log.ndjson.part"]
    assert (folder / "log.ndjson.part").read_bytes() == b"theirs"
    with pytest.raises(typer.Exit):
        audit_export(folder / "log.ndjson")
    assert "exists already: nothing is written over" in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        audit_export(folder / "nowhere" / "log.ndjson")
    assert sorted(one.name for one in folder.iterdir()) == ["log.ndjson", "log.ndjson.part"]
