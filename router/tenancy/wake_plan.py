"""The rules of wakes: what becomes of each as time passes, who is next, and who is where in the queue. Pure.

Turns go round by tenant (start-time fair queueing): what comes in gets the number of the turn that is next, or the one behind
its tenant's last, and in each turn who has waited longest goes first. So a tenant with a thousand sleepers delays another by
one wake, not by a thousand.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from router.base.ids import new_id
from router.routes.records import State
from router.routes.wakes import Wake as Setting
from router.routes.wakes import WakeState
from router.settings import Wake
from router.tenancy.wakes import MAX_REQUEST_ID, SLEEPING, Request, Sleeper, StoredWake

GRACE = 2.0  # seconds beyond `ask_time` that a node has to store what came of its call
_TRIES = 2  # nodes that ask, one after the death of the other
_EXACT_PLACES = (
    10  # the others are told anew when they are off by a tenth, or a long queue would be written each second
)
_UNDER_WAY = (WakeState.ASKED, WakeState.STARTING)


class Outcome(enum.StrEnum):
    """How a wake ended. `left`: the resource was deleted, blocked, is not to be woken any longer, or nobody waits for it.
    `full`: there was no place in the queue."""

    RUNNING = "running"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT = "left"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round. `wakes` are all that are to be stored, `calls` those of them for which this node asks the
    platform now, `ended` how others ended, each with the seconds that it took. `gone` are the ids of resources whose row goes,
    `full` of those for which there was no place in the queue."""

    wakes: Sequence[StoredWake]
    gone: Sequence[str]
    calls: Sequence[tuple[StoredWake, Sleeper]]
    ended: Sequence[tuple[Outcome, float]]
    full: frozenset[str]


class Plan:
    """One round: `pass_time`, then any number of `answer` and `request`, then `finish`. `now` is of the database's clock."""

    def __init__(self, stored: Iterable[StoredWake], sleepers: Mapping[str, Sleeper], limits: Wake, now: float) -> None:
        self._wakes = {wake.resource_id: wake for wake in stored}
        self._sleepers = sleepers
        self._limits = limits
        self._now = now
        self._gone: list[str] = []
        self._ended: list[tuple[Outcome, float]] = []
        self._full: set[str] = set()
        self._places = _Places()

    def pass_time(self) -> None:
        """What the resources' states and the time that has passed make of each wake."""
        for wake in tuple(self._wakes.values()):
            self._grow_older(wake, self._sleepers.get(wake.resource_id))
        self._places = _Places((self._tenant(wake), wake) for wake in self._wakes.values())

    def answer(self, wake: StoredWake, state: WakeState, code: int | None) -> None:
        """What came of a node's call; `queued` where that node stops before there is an answer. It counts unless another node has
        taken over, or the wake is over, meanwhile."""
        known = self._wakes.get(wake.resource_id)
        if known is None or (known.id, known.tries) != (wake.id, wake.tries) or known.state is not WakeState.ASKED:
            return
        if state is WakeState.STARTING:
            until = (known.asked_at or self._now) + self._limits.budget
            self._put(replace(known, state=state, code=code, until=until))
        elif state is WakeState.QUEUED:
            self._put(replace(known, state=state, until=self._now + self._limits.budget))
        else:
            self._fail(known, state, code)

    def request(self, request: Request) -> None:
        """Somebody waits for a resource. One that is under way or was refused lately is only waited for."""
        sleeper, known = self._sleepers.get(request.resource_id), self._wakes.get(request.resource_id)
        if sleeper is None or sleeper.suspended or sleeper.wake is Setting.OFF or sleeper.state not in SLEEPING:
            return
        until = self._now + self._limits.budget
        if known is not None:
            if known.state is WakeState.QUEUED and known.until < until - self._limits.budget / 2:
                self._put(replace(known, until=until))
            return
        if self._places.queued >= self._limits.queue:
            self._ended.append((Outcome.FULL, 0.0))
            self._full.add(request.resource_id)
            return
        self._put(
            StoredWake(
                resource_id=request.resource_id,
                id=new_id(),
                state=WakeState.QUEUED,
                turn=self._places.take(sleeper.tenant_id),
                port=request.port,
                reason=request.reason,
                request_id=request.request_id[:MAX_REQUEST_ID],
                since=self._now,
                until=until,
            )
        )

    def finish(self, *, calls: bool) -> Round:
        """Take those whose turn it is, where this node `calls`, and tell the others their places."""
        taken = [self._take(wake) for wake in self._turns()] if calls else []
        for place, wake in enumerate(self._in_order(), start=1):
            if _is_off(wake.place, place):
                self._put(replace(wake, place=place))
        return Round(
            wakes=tuple(self._wakes.values()),
            gone=tuple(resource_id for resource_id in self._gone if resource_id not in self._wakes),
            calls=[(wake, self._sleepers[wake.resource_id]) for wake in taken],
            ended=self._ended,
            full=frozenset(self._full),
        )

    def count(self) -> Mapping[str, int]:
        """How many wakes are in each state."""
        return Counter(wake.state.value for wake in self._wakes.values() if wake.state is not None)

    def _grow_older(self, wake: StoredWake, sleeper: Sleeper | None) -> None:
        state, late = wake.state, self._is_late(wake)
        if state is None or (sleeper is not None and sleeper.state is State.RUNNING):
            # A row that says so was written when it began to run.
            ended = None if state is not None and state.ended else Outcome.RUNNING
            self._end(wake, ended, wake.until if state is None else self._now)
        elif sleeper is None or sleeper.suspended or (state is WakeState.QUEUED and sleeper.wake is Setting.OFF):
            self._end(wake, None if state.ended else Outcome.LEFT)
        elif state.ended:
            if late:
                self._end(wake, None)
        elif state is WakeState.QUEUED:
            if late:
                self._end(wake, Outcome.LEFT)
            elif sleeper.state not in SLEEPING:
                self._start_by_itself(wake, sleeper)
        elif sleeper.state is State.ERROR or (late and (state is WakeState.STARTING or wake.tries >= _TRIES)):
            self._fail(wake, WakeState.FAILED, wake.code)
        elif late:  # the node that asked has died
            self._put(replace(wake, state=WakeState.QUEUED, until=self._now + self._limits.budget))

    def _start_by_itself(self, wake: StoredWake, sleeper: Sleeper) -> None:
        """Somebody else has begun to start it, or it is on its way to sleep and will have to be asked for again."""
        if sleeper.state in (State.STARTING, State.PROVISIONING):
            until = self._now + self._limits.budget
            self._put(replace(wake, state=WakeState.STARTING, asked_at=self._now, until=until, place=None))
        elif sleeper.state is State.ERROR:
            self._end(wake, Outcome.LEFT)

    def _is_late(self, wake: StoredWake) -> bool:
        """Whether its time is over. Beyond the longest that there is a row was written while the clock was ahead."""
        longest = max(self._limits.budget, self._limits.ask_time + GRACE, self._limits.remember)
        return not self._now < wake.until <= self._now + longest

    def _turns(self) -> Iterator[StoredWake]:
        """Those that may go now."""
        going = self._going()
        room = self._limits.per_fleet - going.total()
        for wake in tuple(self._in_order()):
            tenant, sleeper = self._tenant(wake), self._sleepers[wake.resource_id]
            if room <= 0:
                return
            if going[tenant] < self._limits.per_tenant and sleeper.state in SLEEPING:
                room, going[tenant] = room - 1, going[tenant] + 1
                yield wake

    def _in_order(self) -> Sequence[StoredWake]:
        """The queue."""
        queued = [wake for wake in self._wakes.values() if wake.state is WakeState.QUEUED]
        return sorted(queued, key=lambda wake: (wake.turn, wake.since, wake.resource_id))

    def _going(self) -> Counter[str]:
        """How many of each tenant are on their way."""
        return Counter(self._tenant(wake) for wake in self._wakes.values() if wake.state in _UNDER_WAY)

    def _tenant(self, wake: StoredWake) -> str:
        return self._sleepers[wake.resource_id].tenant_id

    def _take(self, wake: StoredWake) -> StoredWake:
        taken = replace(
            wake,
            state=WakeState.ASKED,
            asked_at=wake.asked_at or self._now,
            until=self._now + self._limits.ask_time + GRACE,
            tries=wake.tries + 1,
            place=None,
        )
        self._put(taken)
        return taken

    def _fail(self, wake: StoredWake, state: WakeState, code: int | None) -> None:
        self._put(replace(wake, state=state, code=code, place=None, until=self._now + self._limits.remember))
        outcome = Outcome.REFUSED if state is WakeState.REFUSED else Outcome.FAILED
        self._ended.append((outcome, max(0.0, self._now - wake.since)))

    def _end(self, wake: StoredWake, outcome: Outcome | None, at: float | None = None) -> None:
        """The row goes. None: how it ended has been counted."""
        del self._wakes[wake.resource_id]
        self._gone.append(wake.resource_id)
        if outcome is not None:
            self._ended.append((outcome, max(0.0, (at or self._now) - wake.since)))

    def _put(self, wake: StoredWake) -> None:
        self._wakes[wake.resource_id] = wake


class _Places:
    """The turns that are given out, of the wakes of each tenant."""

    def __init__(self, wakes: Iterable[tuple[str, StoredWake]] = ()) -> None:
        live = [(tenant, wake) for tenant, wake in wakes if wake.state is not None and not wake.state.ended]
        waiting = [wake.turn for _, wake in live if wake.state is WakeState.QUEUED]
        self.queued = len(waiting)
        self._next = min(waiting, default=max((wake.turn for _, wake in live), default=0))
        self._last: dict[str, int] = {}
        for tenant, wake in live:
            self._last[tenant] = max(wake.turn, self._last.get(tenant, wake.turn))

    def take(self, tenant: str) -> int:
        """The turn of what the tenant adds to the queue."""
        self.queued += 1
        self._last[tenant] = max(self._next, self._last.get(tenant, self._next - 1) + 1)
        return self._last[tenant]


def _is_off(told: int | None, place: int) -> bool:
    """Whether somebody in the queue is to be told another place than they were."""
    if told is None or min(told, place) <= _EXACT_PLACES:
        return told != place
    return abs(told - place) * 10 >= told
