"""Where lines go."""

import os
import stat
from pathlib import Path

import pytest

from router.observe.output import Output, _pieces


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    """What was there stays; each batch comes behind it."""
    file = tmp_path / "access.log"
    file.write_bytes(b"old\n")
    output = Output(str(file))
    output.write(b"one\ntwo\n")
    output.write(b"three\n")
    output.close()
    assert file.read_bytes() == b"old\none\ntwo\nthree\n"


def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    """Access lines say who visited what: others may not read them."""
    output = Output(str(tmp_path / "access.log"))
    output.close()
    assert stat.S_IMODE((tmp_path / "access.log").stat().st_mode) & 0o007 == 0


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    """What logrotate needs: until `reopen` lines follow the moved file, then they go to a new one."""
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    output = Output(str(file))
    output.write(b"one\n")
    file.rename(moved)
    output.write(b"two\n")
    output.reopen()
    output.write(b"three\n")
    output.close()
    assert moved.read_bytes() == b"one\ntwo\n"
    assert file.read_bytes() == b"three\n"


def test_a_failed_reopen_keeps_the_old_file(tmp_path: Path) -> None:
    """Lines are not lost because the new file cannot be opened."""
    folder = tmp_path / "logs"
    folder.mkdir()
    output = Output(str(folder / "access.log"))
    folder.rename(tmp_path / "moved")
    with pytest.raises(OSError, match="No such file"):
        output.reopen()
    output.write(b"one\n")
    output.close()
    assert (tmp_path / "moved" / "access.log").read_bytes() == b"one\n"


def test_a_full_disk_is_an_error() -> None:
    """The caller is told."""
    output = Output("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        output.write(b"one\n")
    output.close()


def test_no_file_is_an_error(tmp_path: Path) -> None:
    """A folder that is not there is not made up."""
    with pytest.raises(OSError, match="No such file"):
        Output(str(tmp_path / "absent" / "access.log"))


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """`-` is standard output, which is neither reopened nor closed."""
    output = Output("-")
    output.write(b"one\n")
    output.reopen()
    output.close()
    output.write(b"two\n")
    assert capfd.readouterr().out == "one\ntwo\n"
    assert not output.terminal


def test_a_terminal_is_known_as_one() -> None:
    """People get text."""
    leader, follower = os.openpty()
    output = Output(os.ttyname(follower))
    try:
        assert output.terminal
        output.write(b"one\n")
        assert os.read(leader, 100) == b"one\r\n"
    finally:
        output.close()
        os.close(leader)
        os.close(follower)


def test_a_pipe_gets_whole_lines_per_write(tmp_path: Path) -> None:
    """Several workers write to one pipe: no piece ends inside a line or is longer than a pipe takes at once."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    output = Output(str(fifo))
    lines = b"".join(b"%d %s\n" % (number, b"x" * 900) for number in range(20))
    output.write(lines)
    assert os.read(reader, 65536) == lines
    output.close()
    os.close(reader)


@pytest.mark.parametrize(
    "lengths", [[], [1], [4095], [4096], [4097, 1], [1, 4097], [2000, 2000, 2000], [4000, 95, 1, 1], [9000, 9000]]
)
def test_pieces(lengths: list[int]) -> None:
    """Lines of these lengths, their ends not counted: nothing is lost, and a piece is small or a single line."""
    lines = b"".join(b"x" * length + b"\n" for length in lengths)
    pieces = list(_pieces(lines))
    assert b"".join(pieces) == lines
    for piece in pieces:
        assert piece.endswith(b"\n")
        assert len(piece) <= 4096 or piece.count(b"\n") == 1
