"""The node's own copy of the evidence."""

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.gate.evidence import MemoryEvidence
from router.gate.snapshot import NAME, EvidenceSnapshot

CLOCK = ManualClock()
AT = CLOCK.now().timestamp()
LIVE = {"a.example": AT + 1000.0, "5173-b.sandbox.example": AT + 2000.0}


def write(copy: EvidenceSnapshot, live: Mapping[str, float] = LIVE) -> None:
    evidence = MemoryEvidence(CLOCK)
    evidence.hold(live)
    copy.write(evidence, AT, AT - 5.0)


def read(copy: EvidenceSnapshot, hosts: Iterable[str] = LIVE, clock: ManualClock = CLOCK) -> dict[str, float | None]:
    """Until when each has a certificate, as a process says that starts with the copy."""
    evidence = MemoryEvidence(clock)
    copied = copy.read()
    if copied is not None:
        assert (copied.at, copied.whole) == (AT, AT - 5.0)
        evidence.take(copied.key, copied.shift, copied.segments)
    return {host: evidence.until(host) for host in hosts}


@pytest.fixture
def copy(tmp_path: Path) -> EvidenceSnapshot:
    return EvidenceSnapshot(tmp_path)


def test_what_is_written_is_read(copy: EvidenceSnapshot, tmp_path: Path) -> None:
    """Whole, by nobody else, and nothing else is left in the folder."""
    write(copy)
    write(copy)
    assert read(copy) == LIVE
    assert read(copy, ["c.example"]) == {"c.example": None}
    (file,) = tmp_path.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == (NAME, 0o600)


def test_it_is_read_by_another_process_later(copy: EvidenceSnapshot) -> None:
    """Whose monotonic clock says something else; what has expired meanwhile is no evidence."""
    write(copy)
    later = ManualClock()
    later.advance(1500.0)
    assert read(copy, clock=later) == {"a.example": None, "5173-b.sandbox.example": AT + 2000.0}


def test_without_a_file_nothing_is_known(copy: EvidenceSnapshot) -> None:
    """The first start is no reason for a warning."""
    with capture_logs() as logs:
        assert copy.read() is None
    assert logs == []


def test_everything_is_written(copy: EvidenceSnapshot) -> None:
    """However many names there are."""
    live = {f"x{number}.org": AT + number + 1 for number in range(20_000)}
    write(copy, live)
    assert read(copy, live) == pytest.approx(live)


@given(some.floats(0, 1, exclude_max=True), some.none() | some.integers(1, 255))
def test_a_damaged_file_is_none(tmp_path_factory: pytest.TempPathFactory, where: float, change: int | None) -> None:
    """Cut off or changed anywhere: nothing is known, and the log says why."""
    folder = tmp_path_factory.mktemp("copy")
    copy = EvidenceSnapshot(folder)
    write(copy)
    whole = (folder / NAME).read_bytes()
    place = int(where * len(whole))
    broken = whole[:place] if change is None else whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :]
    (folder / NAME).write_bytes(broken)
    with capture_logs() as logs:
        assert copy.read() is None
    assert [line["log_level"] for line in logs] == ["warning"]
    write(copy)
    assert read(copy) == LIVE


def test_one_of_another_version_is_none(copy: EvidenceSnapshot, tmp_path: Path) -> None:
    """It is said, and the store tells everything anyway."""
    (tmp_path / NAME).write_text("miosa-router certificates 2\n1786190400 a.example\nend 1 abc\n")
    with capture_logs() as logs:
        assert copy.read() is None
    assert logs[0]["error"] == "it is of another kind"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A copy that can't be made stops nothing."""
    copy = EvidenceSnapshot(tmp_path / "absent")
    with capture_logs() as logs:
        write(copy)
        assert copy.read() is None
    assert [line["event"] for line in logs] == ["certificate snapshot not written"]
