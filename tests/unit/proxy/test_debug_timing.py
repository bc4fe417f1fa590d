"""How many made-up keys of `X-Miosa-Debug` are looked up."""

from router.proxy.debug_timing import KeyLookUps


def test_so_many_a_second() -> None:
    """Twenty, and again as time passes."""
    look_ups = KeyLookUps(0.0)
    begun = 0
    for _ in range(100):
        if look_ups.begin(0.0):
            begun += 1
            look_ups.end(known=False)
    assert begun == 20
    assert look_ups.begin(0.1)
    look_ups.end(known=False)
    assert look_ups.begin(0.1)
    assert not look_ups.begin(0.1)


def test_keys_that_are_somebodys_do_not_count() -> None:
    look_ups = KeyLookUps(0.0)
    for _ in range(100):
        assert look_ups.begin(0.0)
        look_ups.end(known=True)


def test_so_many_at_once() -> None:
    look_ups = KeyLookUps(0.0)
    assert [look_ups.begin(0.0) for _ in range(17)] == [True] * 16 + [False]
    look_ups.end(known=True)
    assert look_ups.begin(0.0)
