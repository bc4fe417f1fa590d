"""What a process believes of Redis, by what it has heard."""

from router.cache.watermark import Watermark


def watermark() -> Watermark:
    """Keys lie on the shard of their first letter."""
    return Watermark(lambda key: key[0])


def test_a_shelf_without_a_mark_is_not_believed() -> None:
    """It was flushed, or is not ours."""
    assert not watermark().believes(None, "a1")
    assert watermark().believes(0, "a1")


def test_a_shelf_must_know_of_what_was_heard_of_it() -> None:
    """Others need not: nothing of theirs changed."""
    mine = watermark()
    mine.heard([("a1", 7), ("b1", 5)])
    assert [mine.believes(mark, "a2") for mark in (6, 7, 8)] == [False, True, True]
    assert [mine.believes(mark, "b1") for mark in (4, 5)] == [False, True]
    assert mine.believes(0, "c1")
    mine.heard([("a1", 3)])
    assert not mine.believes(6, "a1")


def test_every_shelf_must_know_of_what_was_heard_in_general() -> None:
    """A heartbeat, a gap, a read while Redis was away: they say how far, not whose."""
    mine = watermark()
    mine.heard_all(9)
    mine.heard_all(4)
    assert [mine.believes(mark, "c1") for mark in (8, 9)] == [False, True]


def test_what_this_process_changed_is_not_believed_until_redis_knows() -> None:
    """Only those records; and they are again once the bus says so."""
    mine = watermark()
    mine.committed(["a1", "b1"], 12)
    assert [mine.believes(mark, "a1") for mark in (11, 12)] == [False, True]
    assert mine.believes(0, "a2")
    mine.heard([("a1", 12)])
    assert [mine.believes(mark, "a1") for mark in (11, 12)] == [False, True]
    assert not mine.believes(11, "b1")
    mine.heard_all(12)
    assert mine._own == {}


def test_a_long_outage_does_not_pile_up() -> None:
    """Past some thousand own changes Redis as a whole must catch up."""
    mine = watermark()
    for number in range(1, 10_002):
        mine.committed([f"a{number}"], number)
    assert mine._own == {}
    assert not mine.believes(10_000, "z")
    assert mine.believes(10_001, "z")
