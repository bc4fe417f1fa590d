"""How many certificates may be asked for: what keeps us below the certificate authority's limits.

Only names without a certificate count: a renewal is free at the authority too. What counts are attempts. Telling Caddy
to go ahead opens one; while it is open the same name is asked for freely, since Caddy asks several times about one
handshake. It ends when somebody sees the certificate, when Caddy is seen to have none, or after `attempt_time`.

    limit                   ours, by default      Let's Encrypt's           what counts here
    per exact name          3 in 7 days           5 in 7 days               attempts that may have issued one
    per registered domain   40 in 7 days          50 in 7 days              the same; the customer has his own, too
    per account             240 in 3 hours        300 orders in 3 hours     every attempt
                            10 open at once
                            10 in 10 seconds      Caddy's own throttle      every attempt
    after failures          1, 10, 100 min, 24 h  5 failed validations/h    those of the name, since the last success

A try that failed for sure issued nothing, and so counts for the account and the backoff alone: a zone whose CAA
records forbid us must not lose its week. One that nobody saw the end of counts like a success.

Everything is in memory; `ledger.py` brings other nodes' attempts and keeps ours. Each node learns of the others' within
a second or two, and in one second it starts at most `starts` of its own. So n nodes can exceed a limit by
(n - 1) * `starts`, which for two is just what lies between ours and the authority's: 40 + 10 = 50 names. With more
nodes in front of which Caddys run, lower `registered_domain` by ten for each.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable

from router.clock import Clock
from router.domains.certificates import Attempt, Outcome
from router.domains.names import registered_domain
from router.gate.policy import CLEAR, Standing
from router.settings import Gate
from router.unit import new_id

_NOT_READY = Standing("not_ready")
_IN_FLIGHT = Standing("in_flight")
_SPENT = frozenset((Outcome.OPEN, Outcome.ISSUED, Outcome.EXPIRED))  # what may have issued a certificate
_FAILURES = frozenset((Outcome.FAILED, Outcome.EXPIRED))


class Budgets:
    """The attempts of the last seven days, and what they leave. Not ready until `ready` says so: what was spent before
    is not known by then. `on_change` hears of each attempt of ours that opens or ends."""

    def __init__(self, limits: Gate, clock: Clock) -> None:
        self._limits = limits
        self._now = clock.now
        self.kept = max(limits.host_window, limits.registered_domain_window, limits.account_window)
        self._by_id: dict[str, Attempt] = {}
        self._by_host: dict[str, list[Attempt]] = {}
        self._by_domain: dict[str, list[Attempt]] = {}
        self._all: list[tuple[float, str]] = []  # (opened_at, id), in order
        self._open: dict[str, Attempt] = {}
        self._listeners: list[Callable[[Attempt], object]] = []
        self._ready = not limits.budgets
        self.full = False  # whoever keeps the attempts can take no more

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

    def standing(self, host: str) -> Standing:
        """What the budgets say of a canonical name without a certificate."""
        if not self._limits.budgets:
            return CLEAR
        if not self._ready or self.full:
            return _NOT_READY
        now = self._now().timestamp()
        self._expire(now)
        if host in self._open:
            return _IN_FLIGHT
        return self._of_host(host, now) or self._of_domain(host, now) or self._of_account(now) or self._after(host, now)

    def open(self, host: str, tenant_id: str | None) -> None:
        """Caddy is told to go ahead."""
        if not self._limits.budgets or host in self._open:
            return
        attempt = Attempt(
            id=new_id(),
            host=host,
            domain=registered_domain(host),
            tenant_id=tenant_id,
            opened_at=self._now().timestamp(),
        )
        self._add(attempt)
        self._tell(attempt)

    def settle(self, host: str, outcome: Outcome) -> None:
        """What became of a name's last attempt, if there was one, as far as that is news."""
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

    # The budgets, each None where it leaves something.

    def _of_host(self, host: str, now: float) -> Standing | None:
        limits = self._limits
        return self._window("budget_host", self._by_host.get(host, ()), limits.host, limits.host_window, now)

    def _of_domain(self, host: str, now: float) -> Standing | None:
        limits = self._limits
        spent = self._by_domain.get(registered_domain(host), ())
        most, window = limits.registered_domain, limits.registered_domain_window
        return self._window("budget_registered_domain", spent, most, window, now)

    def _window(
        self, reason: str, attempts: Iterable[Attempt], most: int, window: float, now: float
    ) -> Standing | None:
        latest = deque(
            (one.opened_at for one in attempts if one.outcome in _SPENT and one.opened_at > now - window), maxlen=most
        )
        return Standing(reason, latest[0] + window - now) if len(latest) == most else None

    def _of_account(self, now: float) -> Standing | None:
        limits = self._limits
        waits = [
            self._until_fewer(limits.account, limits.account_window, now),
            self._until_fewer(limits.starts, limits.starts_window, now),
        ]
        if len(self._open) >= limits.in_flight:
            waits.append(next(iter(self._open.values())).opened_at + limits.attempt_time - now)
        longest = max(waits)
        return Standing("budget_account", longest) if longest > 0 else None

    def _until_fewer(self, most: int, window: float, now: float) -> float:
        """Seconds until fewer than so many attempts lie in the window."""
        if len(self._all) < most:
            return 0.0
        return self._all[-most][0] + window - now

    def _after(self, host: str, now: float) -> Standing:
        failed, last = 0, 0.0
        for attempt in self._by_host.get(host, ()):
            if attempt.outcome in _FAILURES:
                # No later than it can have ended: what a clock that was ahead said counts for nothing.
                ended = attempt.opened_at + self._limits.attempt_time
                failed, last = failed + 1, min(attempt.closed_at or attempt.opened_at, ended)
            elif attempt.outcome is Outcome.ISSUED:
                failed = 0
        if not failed:
            return CLEAR
        backoff = self._limits.backoff
        wait = last + backoff[min(failed, len(backoff)) - 1] - now
        return Standing("failure_backoff", wait) if wait > 0 else CLEAR

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
        self._tell(attempt)

    def _shut(self, attempt: Attempt) -> None:
        if self._open.get(attempt.host) is attempt:
            del self._open[attempt.host]

    def _expire(self, now: float) -> None:
        self._pull_back(now)
        late = [one for one in self._open.values() if one.opened_at <= now - self._limits.attempt_time]
        for attempt in late:
            self._end(attempt, Outcome.EXPIRED, attempt.opened_at + self._limits.attempt_time)

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

    def _tell(self, attempt: Attempt) -> None:
        for listener in self._listeners:
            listener(attempt)


def _instant(item: tuple[float, str]) -> float:
    return item[0]


def _opened(attempt: Attempt) -> float:
    return attempt.opened_at
