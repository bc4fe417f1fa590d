"""What a node remembers of errors that a port's visitors got."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BAD_BACKEND_RESPONSE, PORT_CLOSED
from router.routes import error_notes
from router.routes.error_notes import NOTED, ErrorNote, ErrorNotes


def note(
    at: float = 1.0,
    *,
    port: int = 3000,
    code: str = "bad_backend_response",
    reason: str | None = None,
    of: str = "id",
    message: str = "why",
    count: int = 1,
) -> ErrorNote:
    return ErrorNote(of, port, code, reason, message, at, at, count)


def test_the_same_again_is_counted() -> None:
    """The first and the last time, and the last one's words; by code and reason, the latest first."""
    notes = ErrorNotes()
    notes.add(note(1.0, message="one"))
    notes.add(note(2.0, reason="speaks_tls"))
    notes.add(note(3.0, message="two", count=4))
    notes.add(note(4.0, port=80))
    first, second = notes.of("id", 3000)
    assert (first.message, first.count, first.first_at, first.last_at) == ("two", 5, 1.0, 3.0)
    assert (second.reason, second.count) == ("speaks_tls", 1)
    assert [one.port for one in notes.of("id", 80)] == [80]
    assert not notes.of("other", 3000)


def test_taken_notes_are_gone() -> None:
    """Those of one resource together, the resource that was quiet for longest first; counting begins anew."""
    notes = ErrorNotes()
    for of in ("a", "b", "a"):
        notes.add(note(of=of))
    notes.add(note(of="a", port=80))
    assert [one.resource_id for one in notes.take(1)] == ["b"]
    assert [(one.port, one.count) for one in notes.take(1)] == [(3000, 2), (80, 1)]
    assert not notes.take(1)
    notes.add(note(of="a"))
    assert notes.of("a", 3000)[0].count == 1


def test_a_message_is_bounded() -> None:
    """Ours are short; whatever comes is cut."""
    notes = ErrorNotes()
    notes.add(note(message="x" * 10_000))
    assert len(notes.of("id", 3000)[0].message) == 400


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 6)), max_size=60))
def test_bounded_for_each_resource_and_in_all(seen: list[tuple[str, int]]) -> None:
    """One resource with many ports pushes out its own; many resources those that were quiet for longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(error_notes, "_MAX_RESOURCES", 3)
        patch.setattr(error_notes, "_MAX_OF_RESOURCE", 2)
        notes = ErrorNotes()
        for of, port in seen:
            notes.add(note(of=of, port=port))
            assert notes.of(of, port)
        kept = {of: [port for port in range(1, 7) if notes.of(of, port)] for of in "abcdef"}
        latest = list(dict.fromkeys(of for of, _ in reversed(seen)))[:3]
        assert sorted(of for of, ports in kept.items() if ports) == sorted(latest)
        assert all(len(ports) <= 2 for ports in kept.values())


def test_which_errors_are_noted() -> None:
    """Those that say what is wrong with a response or a request: that nothing listens is seen anywhere."""
    assert BAD_BACKEND_RESPONSE.code in NOTED
    assert PORT_CLOSED.code not in NOTED
