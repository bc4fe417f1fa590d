"""Wakes: resources that sleep and are being woken because somebody wants to visit them. Values, and what is stored of them.

    queued ──► asked ──► starting ──► running: over
                 │           └──────► failed     it did not run in time
                 └──► refused, failed            the platform said so, or did not answer

Each resource has one row over the whole fleet. Who changes rows holds a lock, so of several nodes one takes each wake. The
node that asks the platform has until `until` to say what came of it; if it dies, another node may ask after that, not before.
`wake_plan.py` has the rules, `waking.py` the service.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from router.routes.records import Kind, State
from router.routes.wakes import Wake, WakeState

SLEEPING = frozenset({State.PAUSED, State.STOPPED})
MAX_REQUEST_ID = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """That somebody wants a resource to be woken: the first of all that do is told to the platform."""

    resource_id: str
    port: int
    reason: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWake:
    """One wake. `id` stays the same however often the platform is asked; `tries` is how many nodes have begun to. Times are of
    the database's clock, in seconds since 1970: `since` is when it was asked for, `asked_at` when the first node began to ask,
    `until` when the state ends by itself. `turn` orders the queue. `state` None: the resource runs by now. `place` and `code` as in `WakeRecord`."""

    resource_id: str
    id: str
    state: WakeState | None
    turn: int
    port: int
    reason: str
    request_id: str
    since: float
    until: float
    asked_at: float | None = None
    tries: int = 0
    place: int | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleeper:
    """What a wake depends on beside its row: the resource as it is now. `wake` is its own or its tenant's, `suspended` its
    own or its tenant's block."""

    resource_id: str
    tenant_id: str
    kind: Kind
    slug: str
    state: State
    wake: Wake
    suspended: bool


class WakeRows(Protocol):
    """Stored wakes. What visitors are shown of one counts as a change of its record."""

    async def hold(self) -> float:
        """Wait until nobody else changes wakes, and keep it so until the commit; the database's time then."""

    async def pending(self) -> bool:
        """Whether there is anything to do: a wake is under way or over, or what came of one is to be forgotten."""

    async def list(self, ids: Collection[str], now: float) -> Sequence[StoredWake]:
        """Those under way or over, those whose time has come, and those of these resources. No more than a few hundred of what
        is only to be forgotten."""

    async def sleepers(self, ids: Collection[str]) -> Mapping[str, Sleeper]:
        """The resources that exist, by id. Their rows are not locked: a change of theirs that commits now is seen next time."""

    async def save(self, old: Mapping[str, StoredWake], new: Sequence[StoredWake]) -> None:
        """Store these; `old` is what was read before, by resource."""

    async def delete(self, ids: Collection[str]) -> None: ...

    async def running(self, ids: Collection[str]) -> None:
        """These resources run: their wakes are over, and visitors are told nothing more of them."""
