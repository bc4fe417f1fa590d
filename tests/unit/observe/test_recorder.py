"""The recorder: batches of ended exchanges into metrics and lines."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.base.clock import ManualClock
from router.base.tasks import Tasks
from router.observe.access import JsonLines, TextLines
from router.observe.ended_exchange import Finished
from router.observe.metrics import Metrics
from router.observe.output import Output
from router.observe.recorder import AccessLog, Recorder, open_access_log
from tests.support.ended import ended


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, series: str) -> float:
    """One series of the exposition."""
    for line in metrics.render("")[0].decode().splitlines():
        name, _, number = line.rpartition(" ")
        if name == f"miosa_router_{series}":
            return float(number)
    raise AssertionError(f"no {series}")


def test_a_flush_counts_and_writes_what_has_ended(tmp_path: Path, clock: ManualClock, metrics: Metrics) -> None:
    """Each exchange once, in the order in which they ended."""
    file = tmp_path / "access.log"
    recorder = Recorder(metrics=metrics, clock=clock, access=AccessLog(Output(str(file)), JsonLines(), clock))
    recorder.flush()
    recorder.finished += [ended(id=b"a"), ended(id=b"b")]
    recorder.flush()
    recorder.flush()
    recorder.finished.append(ended(id=b"c"))
    recorder.close()
    assert [json.loads(line)["request_id"] for line in file.read_text().splitlines()] == ["a", "b", "c"]
    assert value(metrics, 'exchanges_total{ending="--",level="platform",status="2xx"}') == 3
    assert recorder.finished == []


def test_the_list_stays_the_same(clock: ManualClock, metrics: Metrics) -> None:
    """The data plane may keep `finished.append` for ever."""
    recorder = Recorder(metrics=metrics, clock=clock)
    append = recorder.finished.append
    append(ended())
    recorder.flush()
    append(ended())
    recorder.flush()
    assert value(metrics, "sent_bytes_total") == 2 * 1234


def test_dates_follow_the_wall_clock(tmp_path: Path, clock: ManualClock, metrics: Metrics) -> None:
    """An instant of the monotonic clock becomes a date by the pair of clocks at the flush."""
    file = tmp_path / "access.log"
    recorder = Recorder(metrics=metrics, clock=clock, access=AccessLog(Output(str(file)), JsonLines(), clock))
    clock.advance(100.0)
    recorder.finished.append(ended(started=59.0, ended=61.5))
    recorder.close()
    assert json.loads(file.read_text())["ts"] == "2026-01-01T00:01:01.500Z"


def test_consumers_get_each_batch(clock: ManualClock, metrics: Metrics) -> None:
    """Whoever else learns from traffic sees what has ended."""
    seen: list[Sequence[Finished]] = []
    recorder = Recorder(metrics=metrics, clock=clock, consumers=(seen.append,))
    first, second = ended(), ended()
    recorder.finished += [first, second]
    recorder.flush()
    assert seen == [[first, second]]


def test_lines_that_cannot_be_written_are_counted_and_said_twice(clock: ManualClock, metrics: Metrics) -> None:
    """A full disk stops no traffic and fills no other log: when it begins, and how many were lost when it is over."""
    output = Output("/dev/full")
    recorder = Recorder(metrics=metrics, clock=clock, access=AccessLog(output, JsonLines(), clock))
    with capture_logs() as logs:
        for _ in range(3):
            recorder.finished += [ended(), ended()]
            recorder.flush()
            output.flush()
            clock.advance(1.0)
        recorder.look_for_lost()
        assert [line["event"] for line in logs] == ["access log not writable: losing lines"]
        clock.advance(29.0)
        recorder.look_for_lost()
        recorder.look_for_lost()
        assert [(line["event"], line.get("lines")) for line in logs[1:]] == [
            ("access log writable again: lines were lost", 6)
        ]
        recorder.finished += [ended(), ended()]
        recorder.close()
        said = [(line["event"], line.get("lines")) for line in logs[2:]]
        assert said == [
            ("access log not writable: losing lines", None),
            ("access log writable again: lines were lost", 2),
        ]
    assert value(metrics, "access_lines_lost_total") == 8
    assert value(metrics, "sent_bytes_total") == 8 * 1234


def test_a_consumer_with_a_bug_harms_nobody_else(clock: ManualClock, metrics: Metrics) -> None:
    """The others get the batch, and the log the traceback."""
    seen: list[Sequence[Finished]] = []

    def broken(_batch: Sequence[Finished]) -> None:
        raise ZeroDivisionError

    recorder = Recorder(metrics=metrics, clock=clock, consumers=(broken, seen.append))
    recorder.finished.append(ended())
    with capture_logs() as logs:
        recorder.flush()
    assert len(seen) == 1
    assert [(line["event"], line["exc_info"]) for line in logs] == [("a consumer of ended exchanges failed", True)]


def test_reopening(tmp_path: Path, clock: ManualClock, metrics: Metrics) -> None:
    """What ended before goes to the old file, what ends later to the new one."""
    file = tmp_path / "access.log"
    recorder = Recorder(
        metrics=metrics, clock=clock, access=open_access_log(str(file), "json", worker=None, clock=clock)
    )
    recorder.finished.append(ended(id=b"a"))
    file.rename(tmp_path / "moved")
    recorder.reopen()
    recorder.finished.append(ended(id=b"b"))
    recorder.close()
    assert [json.loads((tmp_path / name).read_text())["request_id"] for name in ("moved", "access.log")] == ["a", "b"]


def test_what_ends_after_the_log_was_closed_is_counted_only(
    tmp_path: Path, clock: ManualClock, metrics: Metrics
) -> None:
    """Nothing is written to a file descriptor that may be somebody else's by then; closing twice is fine."""
    file = tmp_path / "access.log"
    recorder = Recorder(
        metrics=metrics, clock=clock, access=open_access_log(str(file), "json", worker=None, clock=clock)
    )
    recorder.close()
    recorder.finished.append(ended())
    recorder.close()
    assert file.read_bytes() == b""
    assert value(metrics, "sent_bytes_total") == 1234
    assert value(metrics, "access_lines_lost_total") == 0


def test_without_an_access_log_there_is_nothing_to_reopen_or_close(clock: ManualClock, metrics: Metrics) -> None:
    """An empty setting means no log, and the recorder does not mind."""
    assert open_access_log("", "json", worker=None, clock=clock) is None
    recorder = Recorder(metrics=metrics, clock=clock, access=None)
    recorder.reopen()
    recorder.close()


@pytest.mark.parametrize(("form", "kind"), [("auto", JsonLines), ("json", JsonLines), ("text", TextLines)])
def test_the_form_of_lines_in_a_file(tmp_path: Path, clock: ManualClock, form: str, kind: type) -> None:
    """A file is read by programs, unless the setting says otherwise."""
    log = open_access_log(str(tmp_path / "access.log"), form, worker=None, clock=clock)  # type: ignore[arg-type]
    assert log is not None
    assert isinstance(log._lines, kind)
    log.close()


@pytest.mark.asyncio
async def test_the_task_flushes_by_itself_and_once_more_at_its_end(clock: ManualClock, metrics: Metrics) -> None:
    """Nothing that ended before the process stops is lost."""
    flushed = asyncio.Event()

    def consume(_batch: Sequence[Finished]) -> None:
        flushed.set()

    recorder = Recorder(metrics=metrics, clock=clock, consumers=(consume,))
    tasks = Tasks("test")
    tasks.start("flush", recorder.run(interval=0.001))
    recorder.finished.append(ended())
    async with asyncio.timeout(5):
        await flushed.wait()
    recorder.finished.append(ended())
    await tasks.close()
    assert value(metrics, "sent_bytes_total") == 2 * 1234
