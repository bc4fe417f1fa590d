"""How many certificates may be asked for: what keeps us below the certificate authority's limits.

Only names without a certificate count: a renewal is free at the authority too. What counts are attempts. Telling Caddy
to go ahead opens one; while it is open the same name is asked for freely, since Caddy asks several times about one
handshake. It ends when the certificate is seen, when Caddy turns out to have none, or after `attempt_time`.

    limit                   ours, by default      Let's Encrypt's           what counts here
    per exact name          3 in 7 days           5 in 7 days               attempts that may have issued one
    per registered domain   40 in 7 days          50 in 7 days              the same; the customer has his own, too
    per account             240 in 3 hours        300 orders in 3 hours     every attempt
                            10 at once                                      those that are open, for 30 seconds
                            10 in 10 seconds      Caddy's own throttle      every attempt
    after failures          1, 10, 100 min, 24 h  5 failed validations/h    those of the name, since the last success

An attempt that is known to have failed issued nothing, so it counts only for the account and the backoff: a zone whose
CAA records forbid us must not lose its week. An attempt with an unknown result counts like a success.

Shared limits are shared fairly. A tenant may use all of an account's limit while no other tenant wants any; one that has
had less than its share (the limit, divided by the tenants that use it) is let in beyond it: by an eighth of the 240, which
stays below the authority's 300, and by as many again of the tens, which only pace. In the second half of that, so is a
registered domain. A week's names can't be given back so soon: on the platform's own domain, and on any other of which
several tenants want names, a tenant gets a name while it has fewer than are left. The first may have 20 of the 40, and
those who come later always find some.

Everything is in memory; `sync.py` brings other nodes' attempts and keeps ours. Each node learns of the others' within
a second or two, and in one second it starts at most `starts` of its own. So n nodes can exceed a limit by
(n - 1) * `starts`, which for two is just what lies between ours and the authority's: 40 + 10 = 50 names. With more
nodes in front of which Caddys run, lower `registered_domain` by ten for each.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property

from router.base.clock import Clock
from router.base.ids import new_id
from router.domains.certificates import Attempt, Outcome
from router.domains.names import registered_domain
from router.gate.policy import CLEAR, BudgetState
from router.settings import Gate

_NOT_READY = BudgetState("not_ready")
_IN_FLIGHT = BudgetState("in_flight")
_SPENT = frozenset((Outcome.OPEN, Outcome.ISSUED, Outcome.EXPIRED))  # what may have issued a certificate
_FAILURES = frozenset((Outcome.FAILED, Outcome.EXPIRED))


_ACCOUNT_RESERVE = 8  # a part of the account's limit: 240 and 30, where the authority has 300
_WANTED = 32  # tenants that are remembered to have wanted names of one domain


class Budgets:
    """The attempts of the last seven days, and what they leave. Not ready until `ready` says so: what was spent before
    is not known by then. `on_change` hears of each attempt of ours that opens or ends. `common` are domains whose names
    are several tenants': the platform's own."""

    def __init__(self, settings: Gate, clock: Clock, common: Collection[str] = ()) -> None:
        self._settings = settings
        self._names_in_common = tuple(common)
        self._wanted: dict[str, set[str | None]] = {}  # who was refused names of a domain that has attempts
        self._now = clock.now
        self.kept = max(settings.host_window, settings.registered_domain_window, settings.account_window)
        self._by_id: dict[str, Attempt] = {}
        self._by_host: dict[str, list[Attempt]] = {}
        self._by_domain: dict[str, list[Attempt]] = {}
        self._all: list[tuple[float, str]] = []  # (opened_at, id), in order
        self._open: dict[str, Attempt] = {}
        self._listeners: list[Callable[[Attempt], object]] = []
        self._ready = not settings.budgets
        self.full = False  # as many attempts wait for the store as may
        self.unwritten: Counter[str | None] = Counter()  # whose attempts are not kept yet

    @cached_property
    def _common(self) -> frozenset[str]:
        """The registrable domains of `common`. Each worker has budgets and none asks them: it needs no list of public
        suffixes."""
        return frozenset(registered_domain(name) for name in self._names_in_common)

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def in_flight(self) -> int:
        """How many are open."""
        return len(self._open)

    def ready(self) -> None:
        """What was spent before is known."""
        self._ready = True

    def on_change(self, listener: Callable[[Attempt], object]) -> None:
        """Call `listener(attempt)` for each attempt that opens or ends here."""
        self._listeners.append(listener)

    def spent(self, domain: str) -> int:
        """How many names of a registered domain got a certificate within its window, as far as the limit goes."""
        oldest = self._now().timestamp() - self._settings.registered_domain_window
        return sum(one.outcome in _SPENT and one.opened_at > oldest for one in self._by_domain.get(domain, ()))

    @property
    def spent_of_account(self) -> int:
        """How many orders of the account were begun within its window, as far as the limit goes."""
        return len(self._latest(self._settings.account_window, self._now().timestamp()))

    def state(self, host: str, tenant_id: str | None = None) -> BudgetState:
        """What the budgets say of a canonical name without a certificate. Without a tenant nothing is reserved for it."""
        if not self._settings.budgets:
            return CLEAR
        if not self._ready or self.full or (tenant_id is not None and self._has_its_share_waiting(tenant_id)):
            return _NOT_READY
        now = self._now().timestamp()
        self._expire(now)
        if host in self._open:
            return _IN_FLIGHT
        return (
            self._of_host(host, now)
            or self._of_domain(host, tenant_id, now)
            or self._of_account(host, tenant_id, now)
            or self._after(host, now)
        )

    def open(self, host: str, tenant_id: str | None) -> None:
        """Caddy is told to go ahead."""
        if not self._settings.budgets or host in self._open:
            return
        attempt = Attempt(
            id=new_id(),
            host=host,
            domain=registered_domain(host),
            tenant_id=tenant_id,
            opened_at=self._now().timestamp(),
        )
        self._add(attempt)
        self._notify(attempt)

    def settle(self, host: str, outcome: Outcome) -> None:
        """What became of a name's last attempt, if there was one, where that changes anything."""
        attempts = self._by_host.get(host)
        if attempts and attempts[-1].may_become(outcome):
            self._end(attempts[-1], outcome, self._now().timestamp())

    def merge(self, attempts: Iterable[Attempt]) -> None:
        """Take what the store knows, another node's attempts among it."""
        for theirs in attempts:
            ours = self._by_id.get(theirs.id)
            if ours is None:
                self._add(theirs)
            elif ours.may_become(theirs.outcome):
                ours.outcome, ours.closed_at = theirs.outcome, theirs.closed_at
                self._shut(ours)
        self._pull_back(self._now().timestamp())

    def sweep(self) -> None:
        """End what has been open for too long, and forget what no longer counts."""
        now = self._now().timestamp()
        self._expire(now)
        stale = bisect_left(self._all, (now - self.kept, ""))
        for _, key in self._all[:stale]:
            self._forget(self._by_id.pop(key))
        del self._all[:stale]

    def _has_its_share_waiting(self, tenant_id: str) -> bool:
        """Whether a tenant has as many attempts waiting to be written as there is room left: while the store is away no
        tenant may take all of the room."""
        return self.unwritten[tenant_id] >= self._settings.unwritten - self.unwritten.total()

    # The budgets, each None where it leaves something.

    def _of_host(self, host: str, now: float) -> BudgetState | None:
        settings = self._settings
        return self._window("budget_host", self._by_host.get(host, ()), settings.host, settings.host_window, now)

    def _of_domain(self, host: str, tenant_id: str | None, now: float) -> BudgetState | None:
        limit, window = self._settings.registered_domain, self._settings.registered_domain_window
        domain = registered_domain(host)
        attempts = self._by_domain.get(domain, ())
        spent = self._window("budget_registered_domain", attempts, limit, window, now)
        if spent is None:
            counted = [one for one in attempts if one.outcome in _SPENT and one.opened_at > now - window]
            had = Counter(one.tenant_id for one in counted)
            if domain in self._common or len({*had, *self._wanted.get(domain, ()), tenant_id}) > 1:
                if had[tenant_id] < limit - len(counted):
                    return None
                spent = BudgetState("budget_registered_domain", counted[0].opened_at + window - now)
        if spent is not None and tenant_id is not None and attempts:
            wanted = self._wanted.setdefault(domain, set())
            if len(wanted) < _WANTED:
                wanted.add(tenant_id)
        return spent

    def _window(
        self, reason: str, attempts: Iterable[Attempt], most: int, window: float, now: float
    ) -> BudgetState | None:
        latest = deque(
            (one.opened_at for one in attempts if one.outcome in _SPENT and one.opened_at > now - window), maxlen=most
        )
        return BudgetState(reason, latest[0] + window - now) if len(latest) == most else None

    def _of_account(self, host: str, tenant_id: str | None, now: float) -> BudgetState | None:
        settings = self._settings
        longest = 0.0
        for limit, window, reserve, in_flight in (
            (settings.account, settings.account_window, settings.account // _ACCOUNT_RESERVE, False),
            (settings.starts, settings.starts_window, settings.starts, False),
            (settings.in_flight, min(settings.in_flight_time, settings.attempt_time), settings.in_flight, True),
        ):
            if len(self._open if in_flight else self._all) < limit:
                continue
            spent = self._latest(window, now)
            if in_flight:
                spent = [one for one in spent if one.outcome is Outcome.OPEN]
            if len(spent) >= limit and not _is_owed(spent, limit, reserve, tenant_id, registered_domain(host)):
                longest = max(longest, spent[-limit].opened_at + window - now)
        return BudgetState("budget_account", longest) if longest > 0 else None

    def _latest(self, window: float, now: float) -> Sequence[Attempt]:
        """What was begun within so many seconds, in its order."""
        first = bisect_right(self._all, now - window, key=_instant)
        return [self._by_id[key] for _, key in self._all[first:]]

    def _after(self, host: str, now: float) -> BudgetState:
        failed, last = 0, 0.0
        for attempt in self._by_host.get(host, ()):
            if attempt.outcome in _FAILURES:
                # No later than it can have ended: what a clock that was ahead said counts for nothing.
                ended = attempt.opened_at + self._settings.attempt_time
                failed, last = failed + 1, min(attempt.closed_at or attempt.opened_at, ended)
            elif attempt.outcome is Outcome.ISSUED:
                failed = 0
        if not failed:
            return CLEAR
        backoff = self._settings.backoff
        wait = last + backoff[min(failed, len(backoff)) - 1] - now
        return BudgetState("failure_backoff", wait) if wait > 0 else CLEAR

    # Keeping them.

    def _add(self, attempt: Attempt) -> None:
        self._by_id[attempt.id] = attempt
        insort(self._all, (attempt.opened_at, attempt.id))
        for index, key in ((self._by_host, attempt.host), (self._by_domain, attempt.domain)):
            insort(index.setdefault(key, []), attempt, key=_opened)
        if attempt.outcome is Outcome.OPEN:
            self._open[attempt.host] = attempt

    def _end(self, attempt: Attempt, outcome: Outcome, now: float) -> None:
        attempt.outcome, attempt.closed_at = outcome, now
        self._shut(attempt)
        self._notify(attempt)

    def _shut(self, attempt: Attempt) -> None:
        if self._open.get(attempt.host) is attempt:
            del self._open[attempt.host]

    def _expire(self, now: float) -> None:
        self._pull_back(now)
        late = [one for one in self._open.values() if one.opened_at <= now - self._settings.attempt_time]
        for attempt in late:
            self._end(attempt, Outcome.EXPIRED, attempt.opened_at + self._settings.attempt_time)

    def _pull_back(self, now: float) -> None:
        """What lies in the future counts as of now: a clock was ahead, ours or another node's, or the limits would stay
        spent until that time has come."""
        ahead = bisect_right(self._all, now, key=_instant)
        attempts = [self._by_id[key] for _, key in self._all[ahead:]]
        del self._all[ahead:]
        for attempt in attempts:
            self._forget(attempt)
            attempt.opened_at = now
            if attempt.closed_at is not None:
                attempt.closed_at = now
            self._add(attempt)

    def _forget(self, attempt: Attempt) -> None:
        self._shut(attempt)
        for index, key in ((self._by_host, attempt.host), (self._by_domain, attempt.domain)):
            index[key].remove(attempt)
            if not index[key]:
                del index[key]
        if attempt.domain not in self._by_domain:
            self._wanted.pop(attempt.domain, None)

    def _notify(self, attempt: Attempt) -> None:
        for listener in self._listeners:
            listener(attempt)


def _is_owed(spent: Sequence[Attempt], limit: int, reserve: int, tenant_id: str | None, domain: str) -> bool:
    """Whether a tenant, or else a registered domain, has had less than its share of a limit that is reached, and there is
    something for such left."""
    if tenant_id is None or len(spent) >= limit + reserve:
        return False
    tenants, domains = (Counter(one.tenant_id for one in spent), Counter(one.domain for one in spent))
    if tenants[tenant_id] < max(1, limit // len({*tenants, tenant_id})):
        return True
    # Not beyond the account's limit: a customer may have any number of domains.
    room = limit + reserve // 2 if reserve >= limit else limit
    return len(spent) < room and domains[domain] < max(1, limit // len({*domains, domain}))


def _instant(item: tuple[float, str]) -> float:
    return item[0]


def _opened(attempt: Attempt) -> float:
    return attempt.opened_at
