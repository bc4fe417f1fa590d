"""What a drain is after a try."""

from dataclasses import replace
from datetime import timedelta

import pytest

from router.drains.batch import batch_of
from router.drains.log_drain import DrainState
from router.drains.sending import settled
from router.records.record import Record
from router.tenancy.deliveries import Attempt
from tests.support.log_drains import NOW, drain
from tests.support.request_records import ACME, row

BATCH = batch_of("d1", [Record(*row(5)), Record(*row(6))], 0, str(ACME))


def test_a_batch_that_was_taken() -> None:
    """The position moves, failures are forgotten, and what was lost has been told."""
    before = drain(position=4, delivered=10, failures=3, next_at=NOW, gap=2, lost=2)
    after = settled(before, BATCH, Attempt(status=202), NOW)
    assert (after.position, after.delivered, after.failures, after.next_at, after.gap) == (6, 12, 0, None, 0)
    assert (after.lost, after.last_status, after.last_error) == (2, 202, None)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 5), (1, 10), (2, 20), (5, 160), (6, 300), (20, 300), (10_000, 300)]
)
def test_pauses(failures: int, seconds: int) -> None:
    """Each twice as long, up to five minutes; nothing is given up, and the position stays."""
    after = settled(drain(position=4, failures=failures), BATCH, Attempt(status=500), NOW)
    assert after.next_at == NOW + timedelta(seconds=seconds)
    assert (after.position, after.failures, after.state) == (4, failures + 1, DrainState.ACTIVE)
    assert after.last_error == "it answered 500"


@pytest.mark.parametrize(("asked", "seconds"), [(60.0, 60), (1.0, 5), (86400.0, 300)])
def test_retry_after(asked: float, seconds: int) -> None:
    """Is respected up to five minutes: longer, and records might be deleted uncounted."""
    after = settled(drain(), BATCH, Attempt(status=429, retry_after=asked), NOW)
    assert after.next_at == NOW + timedelta(seconds=seconds)


def test_gone() -> None:
    """410 pauses it, and says so."""
    after = settled(drain(position=4), BATCH, Attempt(status=410), NOW)
    assert (after.state, after.position, after.next_at) == (DrainState.PAUSED, 4, None)
    assert after.last_error == "it answered 410 Gone, so the drain was paused"


def test_a_failure_without_an_answer_says_what_happened() -> None:
    """In the words of the attempt."""
    after = settled(drain(), BATCH, Attempt(error="it refuses connections"), NOW)
    assert (after.last_error, after.last_status) == ("it refuses connections", None)


@pytest.mark.parametrize("seconds", [0, 3600])
def test_old_secrets(seconds: int) -> None:
    """Are good until their time is over."""
    until = NOW + timedelta(minutes=1)
    one = replace(drain(), secret="new", old_secret="old", old_secret_until=until)
    assert one.secrets(NOW + timedelta(seconds=seconds)) == (("new", "old") if not seconds else ("new",))
