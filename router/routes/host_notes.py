"""Which ports' programs refuse the name that they are visited under, and what helps: for `explain` and the API.

Dev servers serve a few names only. What they say is theirs and reaches the visitor; their owner reads here which setting
helps. A node notes what its own traffic has met since it started, and no other node's.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_MAX_NOTES: Final = 10_000

# What refuses, by what it is called here: its name for people, and its own setting for names that it may be visited under.
REFUSERS: Final = {
    "vite": ("Vite", "`server.allowedHosts` (`preview.allowedHosts` for `vite preview`)"),
    "angular": ("Angular's dev server", "`allowedHosts` of `serve` in angular.json"),
    "storybook": ("Storybook", "`core.allowedHosts` in .storybook/main"),
    "webpack": ("webpack-dev-server", "`devServer.allowedHosts`"),
    "django": ("Django", "`ALLOWED_HOSTS`"),
    "rails": ("Rails", "`config.hosts`"),
    "next": ("`next dev`", "`allowedDevOrigins`"),
}
# What else stands in the way of a program that is told another name, by what it is called above.
_ALSO: Final = {
    "webpack": (
        " For hot reloading set its `devServer.client.webSocketURL` to `auto://0.0.0.0:0/ws`: without that its page looks for "
        "the port that the program listens on, which visitors cannot reach."
    ),
}


@dataclass(frozen=True, slots=True)
class HostNote:
    """One port's program refuses the public name. `refuser` is a key of `REFUSERS`. `told` is the Host that it is told from
    now on, None where it is told the public one still: its `host_mode` wants that, or it refuses the other as well."""

    resource_id: str
    slug: str
    port: int
    generation: str
    refuser: str
    told: str | None = None

    @property
    def hint(self) -> str:
        """A few sentences for the program's owner."""
        name, setting = REFUSERS.get(self.refuser, (self.refuser, "its setting for allowed hosts"))
        if self.refuser == "next" and self.told is not None:
            return (
                f"{name} takes hot reloading from local pages only, so that is told {self.told}; all else hears the public "
                f"name. With the name in its {setting} it needs no help."
            )
        if self.told is not None:
            return (
                f"{name} refused the public name, so it is told {self.told} (`host_mode` auto): absolute links that it "
                f"builds say http://{self.told}. For links with the public name add that to its {setting}, and restart it "
                "or set `host_mode` to preserve." + _ALSO.get(self.refuser, "")
            )
        return f"{name} refuses the public name: set this port's `host_mode` to localhost, or add the name to its {setting}."


class HostNotes:
    """A bounded number of notes, one for each port; the oldest go first."""

    def __init__(self) -> None:
        self._notes: OrderedDict[tuple[str, int], HostNote] = OrderedDict()

    def add(self, note: HostNote) -> None:
        """The latest about its port."""
        key = (note.resource_id, note.port)
        self._notes.pop(key, None)
        self._notes[key] = note
        if len(self._notes) > _MAX_NOTES:
            self._notes.popitem(last=False)

    def of(self, resource_id: str, port: int, generation: str | None = None) -> HostNote | None:
        """What is known of a port; of that boot of its machine only, where one is given."""
        note = self._notes.get((resource_id, port))
        return note if note is not None and generation in (None, note.generation) else None

    def all(self) -> tuple[HostNote, ...]:
        return tuple(self._notes.values())
