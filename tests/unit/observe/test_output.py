"""Where lines go."""

import os
import resource
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


def test_lines_for_a_file_wait_for_more(tmp_path: Path) -> None:
    """What comes within a moment is written at once, and earlier where somebody waits for it."""
    file = tmp_path / "access.log"
    output = Output(str(file), gather=600.0)
    output.write(b"one\n")
    output.write(b"two\n")
    assert not file.read_bytes()
    assert output.flush()
    assert file.read_bytes() == b"one\ntwo\n"
    output.close()


def test_lines_for_a_file_wait_no_longer_than_there_is_room(tmp_path: Path) -> None:
    """When half of it is taken they are written, so that none is lost for having waited."""
    file = tmp_path / "access.log"
    output = Output(str(file), waiting=100, gather=600.0)
    output.write(b"x" * 50 + b"\n")
    give_up = time.monotonic() + 30
    while not output.flows and time.monotonic() < give_up:
        os.sched_yield()
    assert file.read_bytes() == b"x" * 50 + b"\n"
    output.close()


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


def test_lines_that_do_not_fit_on_the_disk_are_counted() -> None:
    """Each of them, and why."""
    output = Output("/dev/full")
    output.write(b"one\ntwo\n")
    output.write(b"three\n")
    output.close()
    assert output.take_lost() == 3
    assert output.take_lost() == 0
    assert output.error == "No space left on device"


@contextmanager
def small_files() -> Iterator[None]:
    """No file of this process may have more than 100 bytes: a disk that is full. The tests' own output may be a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("writers", [1, 2])
def test_no_half_line_is_glued_to_the_next(tmp_path: Path, writers: int) -> None:
    """What was cut off by a full disk stays alone, also where the next line is another process's; what was lost is
    counted as lines."""
    file = tmp_path / "access.log"
    outputs = [Output(str(file)) for _ in range(writers)]
    lines = [b"%02d %s\n" % (number, b"x" * 26) for number in range(8)]
    with small_files():
        outputs[0].write(b"".join(lines[:4]))  # three and a third fit
        flushed = outputs[0].flush()
    assert flushed
    outputs[-1].write(b"".join(lines[4:]))
    for output in outputs:
        output.close()
    assert file.read_bytes() == b"".join(lines[:3]) + lines[3][:10] + b"\n" + b"".join(lines[4:])
    assert sum(output.take_lost() for output in outputs) == 1


def test_a_half_line_of_an_earlier_process_stays_alone(tmp_path: Path) -> None:
    """One that was killed in the middle of a write, say."""
    file = tmp_path / "access.log"
    file.write_bytes(b"whole\nha")
    output = Output(str(file))
    output.write(b"new\n")
    output.close()
    assert file.read_bytes() == b"whole\nha\nnew\n"


@pytest.fixture(params=["pipe", "socket"])
def unread(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """(reading end, writing end) of what nobody reads yet."""
    if request.param == "pipe":
        ends = os.pipe()
    else:
        pair = socket.socketpair()
        ends = (pair[0].detach(), pair[1].detach())
    yield ends
    for end in ends:
        os.close(end)


def test_nobody_waits_for_a_reader(unread: tuple[int, int]) -> None:
    """Lines wait in a queue of bounded size, what comes on top is lost; once somebody reads, what waited comes whole and
    in order, and then how many were lost."""
    reading, writing = unread
    output = Output(writing, waiting=100_000)
    output.on_flow(lambda lost: b"lost %d\n" % lost)
    lines = [b"%06d %s\n" % (number, b"x" * 900) for number in range(2000)]
    began = time.monotonic()
    for line in lines:
        output.write(line)
    assert time.monotonic() - began < 5
    assert not output.flows
    assert not output.flush(0.01)
    lost = output.take_lost()
    assert 0 < lost < 2000
    os.set_blocking(writing, True)  # as the others who have this end may need it
    data = b""
    while b"lost" not in data:
        data += os.read(reading, 65536)
    found = data.splitlines(keepends=True)
    assert found[-1] == b"lost %d\n" % lost
    assert found[:-1] == lines[: 2000 - lost]
    assert output.flush()
    output.write(b"again\n")
    assert output.flush()
    assert os.read(reading, 100) == b"again\n"
    assert output.take_lost() == 0


def test_a_reader_that_has_gone_loses_lines_only() -> None:
    """As behind `| head`."""
    reading, writing = os.pipe()
    output = Output(writing)
    os.close(reading)
    output.write(b"one\n")
    output.write(b"two\n")
    assert output.flush()
    os.close(writing)
    assert output.take_lost() == 2


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever reads it may come later, and go and come again."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    output = Output(str(fifo))
    output.write(b"one\n")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    output.write(b"two\n")
    output.close()
    assert output.take_lost() == 0


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
    assert output.flush()
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
