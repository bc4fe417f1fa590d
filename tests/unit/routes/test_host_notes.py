"""What a node remembers of programs that refuse a host, and what it tells their owners."""

import pytest

from router.routes import host_notes
from router.routes.host_notes import REFUSERS, HostNote, HostNotes


def note(port: int = 3000, generation: str = "boot-1", told: str | None = None, refuser: str = "vite") -> HostNote:
    return HostNote("id", "shop", port, generation, refuser, told)


def test_the_latest_of_each_port() -> None:
    """And of one boot only, where one is asked for."""
    notes = HostNotes()
    notes.add(note())
    notes.add(note(told="localhost:3000"))
    notes.add(note(5173))
    assert notes.of("id", 3000) == notes.of("id", 3000, "boot-1") == note(told="localhost:3000")
    assert notes.of("id", 3000, "boot-2") is None
    assert notes.of("other", 3000) is None
    assert notes.all() == (note(told="localhost:3000"), note(5173))


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first: tenants choose how many ports refuse something."""
    monkeypatch.setattr(host_notes, "_MAX_NOTES", 2)
    notes = HostNotes()
    for port in (1, 2, 1, 3):
        notes.add(note(port))
    assert [one.port for one in notes.all()] == [1, 3]


@pytest.mark.parametrize("refuser", [*REFUSERS, "something newer"])
@pytest.mark.parametrize("told", [None, "localhost:3000"])
def test_hints_say_which_setting_helps(refuser: str, told: str | None) -> None:
    """Ours, or the program's; and what becomes of the links that it builds, where it is told another host."""
    hint = note(refuser=refuser, told=told).hint
    assert REFUSERS.get(refuser, ("", "allowed hosts"))[1] in hint
    assert ("`host_mode` to localhost" in hint) == (told is None)
    assert ("`devServer.client.webSocketURL`" in hint) == (refuser == "webpack" and told is not None)
    assert told is None or told in hint
