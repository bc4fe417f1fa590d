"""When memory is given back: once, after a crowd has left."""

from router.proxy.heap import Heap


def test_given_back_when_most_of_a_crowd_has_left() -> None:
    """Not while they are there, nor for a few connections, nor again before the next crowd."""
    heap = Heap()
    assert [heap.check(count) for count in (10, 2000, 1500, 501)] == [False] * 4
    assert [heap.check(count) for count in (500, 400, 0, 100)] == [True, False, False, False]
    assert [heap.check(count) for count in (600, 150)] == [False, True]
