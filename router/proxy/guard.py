"""What a worker keeps of a route that not everybody may open, and of each exchange that came in there."""

from typing import TYPE_CHECKING, Final, cast

from router.access.entry import Entry
from router.access.rules import AccessRules
from router.proxy.identity import IdentityLines
from router.routes.records import SigningKeysRecord

if TYPE_CHECKING:
    from router.proxy.capture import ExchangeCapture
    from router.proxy.worker_state import WorkerState
    from router.routes.route import Route

_MAX_VISITS: Final = 1024  # of one route


class Visit:
    """How one exchange came in, where not everybody may. `entry` is what let it in, and `until` when that is to be judged
    again, in seconds of the epoch; `cors` the lines that its response gets
    where the program has set none of the kind, `friend` whether it was sent by a page that the owner lets read responses,
    `restricted` whether the response is for those alone who may come in, `look_ups` how many keys it has waited for,
    `next` where the visitor goes from a form, `consumed` the values of Authorization that were ours. `waits` is how often it
    has waited for a resource that slept or started, which took until `woken` so many milliseconds; -1 where it has not.
    `capture` is what is kept of the exchange, where its resource's are captured.
    `tells_times`: its response says how long that took, or where all of its time went (`debug_timing.py`)."""

    def __init__(self, *, restricted: bool) -> None:
        self.restricted = restricted
        self.entry: Entry | None = None
        self.until = 0.0
        self.friend: bool | None = None
        self.cors: tuple[bytes, ...] = ()
        self.look_ups = 0
        self.next = b""
        self.consumed: frozenset[bytes] = frozenset()
        self.waits = 0
        self.woken = -1
        self.capture: ExchangeCapture | None = None
        self.tells_times = False

    def own(self) -> "Visit":
        """A copy for one exchange: who brings the same in one moment has the same visit."""
        visit = Visit(restricted=self.restricted)
        visit.entry, visit.until, visit.friend, visit.cors = self.entry, self.until, self.friend, self.cors
        visit.look_ups, visit.waits, visit.woken = self.look_ups, self.waits, self.woken
        visit.next, visit.consumed, visit.tells_times = self.next, self.consumed, self.tells_times
        visit.capture = self.capture
        return visit


class Guard:
    """What is derived from a route with a policy: the rules, and visits that were let in a moment ago by what they brought
    alone (`sole_credential`), with the instant of the coarse clock up to which the same lets in the next. They are those of
    the preview's own secrets, a change of which is a change of the route, which has another guard then; and those of sessions
    and API keys, which are asked for each time."""

    def __init__(self, rules: AccessRules) -> None:
        self.rules = rules
        self.identity = IdentityLines(rules) if rules.identity else None
        self._visits: dict[bytes, tuple[Visit, float]] = {}
        self._signing: SigningKeysRecord | None = None

    def known(self, credential: bytes, now: float, signing: SigningKeysRecord | None) -> Visit | None:
        """The visit of who has brought the same a moment ago. `signing` are the keys that cookies are signed with now."""
        if signing is not self._signing:
            self._signing = signing
            self._visits.clear()
        found = self._visits.get(credential)
        return found[0] if found is not None and now < found[1] else None

    def remember(self, credential: bytes, visit: Visit, until: float) -> None:
        """Bounded, since visitors may have many."""
        if len(self._visits) >= _MAX_VISITS:
            self._visits.clear()
        self._visits[credential] = (visit, until)


def guard_of(worker: "WorkerState", route: "Route") -> Guard | None:
    """Derive what is needed of a route with a policy, and remember it there; None where everybody may come in."""
    if route.policy is None or route.resource is None:
        return None
    if route.access is None:
        route.access = Guard(AccessRules(route, route.policy, route.resource, worker.cookie_zones))
    return cast(Guard, route.access)
