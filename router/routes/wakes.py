"""Waking a resource that sleeps: who may have it done, and how far the platform has come. Values only.

`wake:<resource_id>` is the key of the record of a resource that is being woken, or could not be woken lately. There is
none once the resource runs, and none that counts at or after its `until`.
"""

import enum
from dataclasses import dataclass


class Wake(enum.StrEnum):
    """Whose request wakes a resource that is `paused` or `stopped`: nobody's, anybody's who may open the port, or only that of
    who had to show for it that they may, so never one on a public port."""

    OFF = "off"
    ANY = "any"
    AUTHORISED = "authorised"

    @classmethod
    def of(cls, stored: str) -> "Wake":
        """A stored word. One of a newer version of ours that this one does not know wakes nothing."""
        return _BY_WORD.get(stored, cls.OFF)


_BY_WORD = {wake.value: wake for wake in Wake}


class WakeState(enum.StrEnum):
    """How far it has come.

    `queued`: too many wake at once, and the platform has not been asked yet. `asked`: it is being asked. `starting`: it has
    answered that the resource is on its way. `refused`: it has answered that the resource may not (402, 403) or can't (409)
    be woken. `failed`: it did not answer, not with anything that we understand, or the resource did not run in time.
    """

    QUEUED = "queued"
    ASKED = "asked"
    STARTING = "starting"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it. Once `until` has passed, the next request asks again."""
        return self in (WakeState.REFUSED, WakeState.FAILED)


@dataclass(frozen=True, slots=True)
class WakeRecord:
    """One resource's wake. `since` is when it was first asked for, `until` when it counts no more, both in seconds of the
    epoch. `place` is the place in the queue, from 1, while it is `queued`; from the eleventh on it is about right. `code` is
    the HTTP status that the platform has answered with last, None where it has not answered."""

    resource_id: str
    state: WakeState
    since: float
    until: float
    version: int
    place: int | None = None
    code: int | None = None

    def counts(self, now: float) -> bool:
        """Whether it says anything about `now`, in seconds of the epoch."""
        return now < self.until


def wake_key(resource_id: str) -> str:
    return f"wake:{resource_id}"
