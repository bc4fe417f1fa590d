"""The compact table of names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from router.gate.name_table import READ, REMOVED, SEGMENTS, VISITED, Entry, HostTable, Segment

NOW = 1000.0
ACTIONS = some.tuples(some.integers(0, 60), some.sampled_from([VISITED, READ, REMOVED]), some.integers(0, 10_000))


def one_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few names collide often."""
    monkeypatch.setattr("router.gate.name_table.SEGMENTS", 1)


@given(some.lists(ACTIONS, max_size=200))
@settings(max_examples=50)
def test_it_is_a_dict(actions: list[tuple[int, int, int]]) -> None:
    """Whatever is put in, in whatever order: the last is what is there, and the count is right."""
    table, model = HostTable(), dict[str, Entry]()
    for number, state, until in actions:
        entry = Entry(NOW + until, NOW + 1, state)
        table.put(f"x{number}.org", entry, NOW)
        model[f"x{number}.org"] = entry
    for number in range(60):
        assert table.get(f"x{number}.org") == model.get(f"x{number}.org")
    assert len(table) == sum(one.state != REMOVED for one in model.values())


def test_what_is_of_no_use_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names whose certificate has expired, or that were removed days ago, go when their segment is full. Others never do."""
    one_segment(monkeypatch)
    table = HostTable()
    for number in range(5000):
        table.put(f"old{number}.org", Entry(NOW - 1, NOW, VISITED), NOW)
        table.put(f"gone{number}.org", Entry(0.0, NOW - 3 * 86400.0, REMOVED), NOW)
        if number % 10 == 0:
            table.put(f"live{number}.org", Entry(NOW, NOW, READ), NOW)
            table.put(f"just{number}.org", Entry(0.0, NOW, REMOVED), NOW)
    (segment,) = [part for part in table.segments if part is not None]
    assert len(segment.keys) <= 4096
    for number in range(0, 5000, 10):
        assert table.get(f"live{number}.org") == Entry(NOW, NOW, READ)
        assert table.get(f"just{number}.org") == Entry(0.0, NOW, REMOVED)


def test_two_tables_hash_differently() -> None:
    """Nobody can look for names that collide without having the key."""
    assert HostTable().key != HostTable().key


@pytest.mark.parametrize(("number", "capacity"), [(SEGMENTS, 8), (-1, 8), (0, 12), (0, 4), (0, 8)])
def test_a_part_that_is_none_is_refused(number: int, capacity: int) -> None:
    """By a copy's reader: a full one would be searched for ever."""
    segment = Segment(capacity)
    for slot in range(capacity):
        segment.keys[slot] = slot + 1
    with pytest.raises(ValueError, match="none"):
        HostTable().put_segment(number, segment)
