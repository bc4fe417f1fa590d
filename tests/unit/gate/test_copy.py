"""The node's own copy of the evidence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from structlog.testing import capture_logs

from router.gate.copy import NAME, EvidenceCopy

LIVE = {"a.example": 1786190400.0, "5173-b.sandbox.example": 1786190401.0}


@pytest.fixture
def copy(tmp_path: Path) -> EvidenceCopy:
    return EvidenceCopy(tmp_path, most=3)


def test_what_is_written_is_read(copy: EvidenceCopy, tmp_path: Path) -> None:
    """Whole, and nothing else is left in the folder."""
    copy.write(LIVE)
    copy.write(LIVE)
    assert copy.read() == LIVE
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_without_a_file_nothing_is_known(copy: EvidenceCopy) -> None:
    """The first start is no reason for a warning."""
    with capture_logs() as logs:
        assert copy.read() == {}
    assert logs == []


def test_only_the_newest_are_written(copy: EvidenceCopy) -> None:
    """So the file is bounded, as memory is."""
    copy.write({f"x{number}.org": 1e9 + number for number in range(10)})
    assert list(copy.read()) == ["x7.org", "x8.org", "x9.org"]


@given(some.data())
def test_a_damaged_file_is_none(tmp_path_factory: pytest.TempPathFactory, data: some.DataObject) -> None:
    """Cut off or changed anywhere: nothing is known, and the log says why."""
    folder = tmp_path_factory.mktemp("copy")
    copy = EvidenceCopy(folder, most=10)
    copy.write(LIVE)
    whole = (folder / NAME).read_bytes()
    place = data.draw(some.integers(0, len(whole) - 2))
    byte = data.draw(some.none() | some.integers(0, 255).filter(lambda value: value != whole[place]))
    broken = whole[:place] if byte is None else whole[:place] + bytes([byte]) + whole[place + 1 :]
    (folder / NAME).write_bytes(broken)
    with capture_logs() as logs:
        assert copy.read() == {}
    assert [line["log_level"] for line in logs] == ["warning"]
    copy.write(LIVE)
    assert copy.read() == LIVE


def test_a_name_that_is_none_is_damage_too(copy: EvidenceCopy) -> None:
    """Whoever wrote it."""
    copy.write({"not a name": 1e9})
    with capture_logs() as logs:
        assert copy.read() == {}
    assert "is not a valid hostname" in logs[0]["error"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A copy that can't be made stops nothing."""
    copy = EvidenceCopy(tmp_path / "absent", most=3)
    with capture_logs() as logs:
        copy.write(LIVE)
        assert copy.read() == {}
    assert [line["event"] for line in logs] == ["the copy of certificates can't be written"]
