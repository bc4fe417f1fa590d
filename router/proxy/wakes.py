"""Requests that wait for a resource that sleeps or starts (`router/wake/decision.py` says which), in one worker.

    takes        a request for a resource that does not run: hold it, or leave it to be answered
    takes_back   one that was refused by the port of a resource that is being woken
    late         one that has waited for as long as it may: 503, or for people the page that waits
    drop         records have changed

What waits has no task and no timer of its own, and its body is not read: the requests for one port of one resource share
all there is to do (`waking.py`), and the sweep keeps their deadlines. Their number is bounded, by worker, by tenant and by
resource, and so are the bytes that came with their heads, in the read that brought those.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from router import errors
from router.access.entry import OPEN
from router.errors import Problem
from router.observe import endings
from router.pages import WAKE_PATH
from router.proxy import wake_stream
from router.proxy.waking import Waking, ending_of
from router.routes.batches import RecordSource
from router.routes.records import ResourceRecord, State
from router.routes.wakes import Wake, wake_key
from router.wake.decision import Course, decide, kind_of
from router.wake.waker import Waker

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.proxy.worker_state import WorkerState
    from router.routes.route import Route

_PATH: Final = WAKE_PATH.encode("ascii")
_PREFIX: Final = wake_key("")
_MAX_WAKINGS: Final = 10_000  # ports of resources, most of which nobody waits for any more; then those are forgotten
_MAX_WAITS: Final = 3  # of one request: its resource may fall asleep again
_BY_PORT: Final = (errors.PORT_CLOSED, errors.CONNECT_TIMEOUT)


@dataclass(frozen=True, slots=True)
class WakeConfig:
    """What waking needs: `waker` asks for wakes, `source` has their records. In seconds: `hold` for a request, `page_after` for
    one that gets a page then, `budget` from the first request until the resource runs and its port accepts."""

    waker: Waker
    source: RecordSource
    hold: float = 10.0
    page_after: float = 3.0
    budget: float = 60.0


class Wakes:
    """One worker's."""

    def __init__(self, worker: "WorkerState", config: WakeConfig) -> None:
        self.worker = worker
        self.config = config
        self.held = 0
        self.bytes = 0
        self._most = worker.limits.held
        self._most_of_tenant = max(1, worker.limits.held // 2)
        self._most_of_resource = worker.limits.held_per_resource
        self._most_bytes = worker.limits.held_bytes
        self._of_tenant: dict[str, int] = {}
        self._wakings: dict[tuple[str, int], Waking] = {}
        worker.resolver.on_drop(self._on_drop)

    def takes(self, exchange: "Exchange", route: "Route") -> bool:
        """Whether a request for a resource that does not run is dealt with here: it waits, or is answered."""
        problem, resource = route.problem, route.resource
        if (problem is not errors.STARTING and problem is not errors.STOPPED) or resource is None or route.port is None:
            return False
        if resource.wake is Wake.OFF:
            return False
        if _watches(exchange):
            return self._watch(exchange, resource, route.port)
        return self._hold(exchange, resource, route.port, resource.state)

    def takes_back(self, exchange: "Exchange", problem: Problem) -> bool:
        """Whether a request that its port refused waits until that accepts: its resource is being woken, and the program takes
        a while longer than the machine."""
        route = exchange.route
        if problem not in _BY_PORT or route is None or route.resource is None or route.port is None:
            return False
        waking = self._wakings.get((route.resource.id, route.port))
        if waking is None or waking.problem is not None or waking.until <= self.worker.time():
            return False
        exchange.step_back()
        if _watches(exchange):
            return self._watch(exchange, route.resource, route.port)
        return self._hold(exchange, route.resource, route.port, State.RUNNING)

    def _watch(self, exchange: "Exchange", resource: ResourceRecord, port: int) -> bool:
        """A page that waits is told how far it comes, or asked to come again in a second."""
        if self.worker.draining:
            exchange.respond(errors.DRAINING, endings.EDGE_IN_ADMISSION)
        elif not self._has_room(exchange, resource, self._known(resource.id, port)):
            self.worker.metrics.count("hold_results", "refused")
            exchange.respond(errors.STARTING, endings.EDGE_IN_ADMISSION)
        else:
            wake_stream.begin(exchange, self._waking(resource, port))
        return True

    def _hold(self, exchange: "Exchange", resource: ResourceRecord, port: int, state: State) -> bool:
        visit = exchange.visit
        authorised = visit is not None and visit.entry is not None and visit.entry is not OPEN
        course = decide(kind_of(exchange.head), resource.wake, state, authorised=authorised)
        if course is Course.ANSWER or (visit is not None and visit.waits >= _MAX_WAITS):
            return False
        worker = self.worker
        if course is Course.TOO_EARLY:
            exchange.respond(errors.TOO_EARLY_TO_WAKE, endings.EDGE_IN_ADMISSION)
            return True
        if worker.draining:
            exchange.respond(errors.DRAINING, endings.EDGE_IN_ADMISSION)
            return True
        known = self._known(resource.id, port)
        if known is not None and known.problem is not None:
            exchange.respond(known.problem, ending_of(known.problem))
            return True
        if not self._has_room(exchange, resource, known):
            worker.metrics.count("hold_results", "refused")
            exchange.respond(errors.STARTING, endings.EDGE_IN_ADMISSION)
            return True
        now, config = worker.time(), self.config
        due = exchange.started + (config.page_after if course.page else config.hold)
        exchange.phase = endings.WAKE
        exchange.hold_body()
        exchange.incoming.deadline = min(due, now + worker.limits.half_close) if exchange.half_closed else due
        exchange.waiting = self._waking(resource, port).join(exchange, page=course.page, wakes=course.wakes)
        return True

    def late(self, exchange: "Exchange") -> None:
        """It has waited for as long as it may."""
        waiter = exchange.waiting
        if waiter.waking.open_until > self.worker.time():  # it is the next moment's turn
            exchange.incoming.deadline = waiter.waking.open_until
        else:
            waiter.result = "timed_out"
            if waiter.page:
                exchange.progress = waiter.waking.progress
            exchange.respond(errors.STARTING, endings.BACKEND_TIMEOUT_IN_WAKE)

    def drop(self, keys: Collection[str]) -> None:
        """The records under these keys have changed; keys of other kinds are passed over."""
        changed = {key for key in keys if key.startswith(_PREFIX)}
        for waking in self._wakings.values() if changed else ():
            if waking.key in changed:
                waking.look_again()

    def drop_all(self) -> None:
        """Changes may have been missed."""
        for waking in self._wakings.values():
            waking.look_again()

    def leave(self) -> None:
        """The worker drains: another one answers those that come again."""
        for waking in tuple(self._wakings.values()):
            waking.end(errors.DRAINING)

    def enter(self, waking: Waking, exchange: "Exchange") -> None:
        """Count one that waits."""
        exchange.held = True
        if not exchange.held_at:
            exchange.held_at = self.worker.time()
        self.held += 1
        self.bytes += len(exchange.incoming.buffer)
        self._of_tenant[waking.tenant_id] = self._of_tenant.get(waking.tenant_id, 0) + 1
        share = exchange.incoming.share
        if share is not None:
            share.exchanges += 1

    def exit(self, waking: Waking, exchange: "Exchange", size: int, result: str) -> None:
        """It waits no more; it came in with so many bytes."""
        share = exchange.incoming.share
        if share is not None:
            share.exchanges -= 1
        exchange.held = False
        exchange.woken_at = self.worker.time()
        self.held -= 1
        self.bytes -= size
        left = self._of_tenant[waking.tenant_id] - 1
        if left:
            self._of_tenant[waking.tenant_id] = left
        else:
            del self._of_tenant[waking.tenant_id]
        if result:
            self.worker.metrics.count("hold_results", result)

    def forget(self, waking: Waking) -> None:
        """It is over."""
        if self._wakings.get(waking.place) is waking:
            del self._wakings[waking.place]

    def _known(self, resource_id: str, port: int) -> Waking | None:
        """The one of a port, where there is one that still counts."""
        waking = self._wakings.get((resource_id, port))
        return waking if waking is not None and (waking.waited_for or waking.until > self.worker.time()) else None

    def _waking(self, resource: ResourceRecord, port: int) -> Waking:
        """The one of a port, which begins where there is none. Only for what is let in: one that begins may have others
        forgotten, which takes a while."""
        waking = self._known(resource.id, port)
        if waking is None:
            if len(self._wakings) >= _MAX_WAKINGS:
                self._wakings = {place: one for place, one in self._wakings.items() if one.waited_for}
            waking = Waking(self, resource.id, port, resource.tenant_id, self.worker.time())
            self._wakings[waking.place] = waking
        return waking

    def _has_room(self, exchange: "Exchange", resource: ResourceRecord, waking: Waking | None) -> bool:
        """Whether one more may wait: `waking` is where it would, if that has begun."""
        share = exchange.incoming.share
        return (
            self.held < self._most
            and self._of_tenant.get(resource.tenant_id, 0) < self._most_of_tenant
            and (waking is None or waking.size < self._most_of_resource)
            and self.bytes + len(exchange.incoming.buffer) <= self._most_bytes
            and (share is None or share.exchanges < self.worker.connection_limits.exchanges_of_address)
        )

    def _on_drop(self, route: "Route") -> None:
        """What is known of a host has changed; it may be where somebody waits."""
        if route.resource is not None and route.port is not None:
            waking = self._wakings.get((route.resource.id, route.port))
            if waking is not None:
                waking.look_again()


def _watches(exchange: "Exchange") -> bool:
    """Whether it is a page that waits which asks how far it has come."""
    head = exchange.head
    return head.method == b"GET" and head.target.partition(b"?")[0] == _PATH
