"""When a domain is checked, and what the result of a check means for its state. Pure: the state before, a result and the
time in; the state afterwards and the move out (`states.py`). Custom domains and preview domains share it.

    pending            after 60·1.05ⁿ s ten times, then 60·1.15ⁿ, at most 4 h; a requested check begins anew. Without a
                       success for 7 days it has failed.
    verified, active   every 6 h, give or take a tenth. Three definitive failures over at least 24 h: it has failed.
    failed             as pending; one success brings it back, without any for 7 more days it is removed.

A result that is not definitive moves nothing: the domain is checked again, one that routes after a quarter of an hour. A name server
that is down keeps a domain where it is, however long that lasts. But a check of a name that never answers takes as long
as a check may take, so it backs off: before it routes each such check counts as four, and one that routes is checked after
twice as long each time, until it is every 6 h again.

The first check comes a minute after the registration, not at once: the owner has added no records by then, and what resolvers
remember of their absence would hide them afterwards.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from router.base.clock import not_after
from router.domains.checks.pointing import CheckResult
from router.routes.records import DomainStatus

_FIRST = 60.0  # seconds
_GENTLE, _GENTLE_TIMES, _STEEP = 1.05, 10, 1.15
_MAX_WAIT = 4 * 3600.0
_MAX_COUNTED = 100  # 60·1.15ⁿ has passed the longest wait by far, and Python's floats end somewhere

FURTHEST = timedelta(
    days=1
)  # no next check is further ahead: one that is was set by a clock that was ahead, and is due

UP_EVERY = 6 * 3600.0  # seconds
_JITTER = 0.1  # of UP_EVERY, either way
UP_UNKNOWN = 900.0  # seconds, the first time
_SILENT = 4  # how many checks one without any answer counts for

WAITING_TIME = timedelta(days=7)
FAILED_TIME = timedelta(days=7)
FAILURES = 3
FAILING_TIME = timedelta(hours=24)

ASK_EVERY = 10.0  # seconds between two requested checks of one domain


@dataclass(frozen=True, slots=True)
class Slice:
    """One of `of` equal parts of all that is ever due, by the first digit of its id: ids are random. `of` divides 16."""

    number: int
    of: int

    @property
    def bounds(self) -> tuple[str, str | None]:
        """The ids from the first on and before the second; None: to the end."""
        digits = 16 // self.of
        after = (self.number + 1) * digits
        return f"{self.number * digits:x}", None if after == 16 else f"{after:x}"


WHOLE = Slice(0, 1)


class Method(enum.StrEnum):
    """What showed that a domain leads to us."""

    CNAME = "cname"
    ADDRESS = "address"  # flattened, or an ALIAS: the target's addresses
    PROXIED = "proxied"  # a CDN stands before us: a TXT record, and a request that reached us


# States that a domain enters only because enough time has passed.
ENDS = frozenset((DomainStatus.FAILED, DomainStatus.REMOVED))


def failure_reason(status: DomainStatus) -> str:
    """Why a domain failed that was in this state: a code for programs."""
    return "dns_moved" if status.routes else "never_verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckState:
    """What is known of the checks of one domain, and when the next one is due.

    `waiting_since` is when the days of waiting, or of having failed, began; `failing_since` when the first of so many
    `failures` in a row was seen of a domain that is up. `checks` counts those since one was last requested;
    `asked_at` is when that was. `method` is how it was last seen to lead to us. `not_pointing` is the last definitive
    result, `caa_forbidden` that its CAA records let none of our certificate authorities issue.
    """

    next_check_at: datetime
    checked_at: datetime | None = None
    asked_at: datetime | None = None
    waiting_since: datetime | None = None
    failing_since: datetime | None = None
    checks: int = 0
    failures: int = 0
    result: CheckResult | None = None
    method: Method | None = None
    caa_forbidden: bool = False
    not_pointing: bool = False


def jitter_of(domain_id: str) -> float:
    """A number in [0, 1) that is a domain's own, from its id."""
    return int(domain_id[:8], 16) / 2**32


def wait(checks: int) -> timedelta:
    """How long after so many checks the next one comes, while the domain does not route."""
    base = _GENTLE if checks < _GENTLE_TIMES else _STEEP
    return timedelta(seconds=min(_FIRST * base ** min(checks, _MAX_COUNTED), _MAX_WAIT))


def counted(checks: int, result: CheckResult) -> int:
    """How many checks it has been after one more that found this, for `wait`."""
    return checks + (_SILENT if result is CheckResult.UNKNOWN else 1)


def begin(now: datetime, *, at_once: bool = False) -> CheckState:
    """The state of a domain that waits from now on."""
    return CheckState(next_check_at=now if at_once else now + wait(0), waiting_since=now)


def too_soon(state: CheckState, now: datetime, every: float = ASK_EVERY) -> float | None:
    """How many seconds to wait until a check may be requested again; None: it may be now."""
    if state.asked_at is None:
        return None
    left = every - (now - state.asked_at).total_seconds()
    return left if 0 < left <= every else None


def asked(state: CheckState, now: datetime, *, contested: bool = False) -> CheckState:
    """A check was requested: the backoff and the days of waiting begin anew. Where another tenant claims the name
    (`contested`) the days go on: else a tenant that keeps asking would hold the name for ever."""
    anew = state.waiting_since is not None and not contested
    return replace(state, asked_at=now, checks=0, waiting_since=now if anew else state.waiting_since)


def after(
    state: CheckState,
    status: DomainStatus,
    result: CheckResult,
    now: datetime,
    *,
    jitter: float,
    method: Method | None = None,
) -> tuple[CheckState, DomainStatus | None]:
    """The state after one more check of a domain in this `status`, and the status that it enters, None where it stays.

    `jitter` in [0, 1) varies when the next check is due; `method` is a success's.
    """
    seen = replace(state, checked_at=now, result=result)
    if result is CheckResult.VALID:
        return succeeded(seen, now, jitter=jitter, method=method), None if status.routes else DomainStatus.VERIFIED
    if status.routes:
        return _up(seen, result, now, jitter)
    since = not_after(seen.waiting_since or now, now)
    checks = counted(seen.checks, result)
    again = replace(seen, waiting_since=since, checks=checks, next_check_at=now + wait(checks))
    if not result.definitive:
        return again, None
    again = replace(again, not_pointing=True)
    if status is DomainStatus.PENDING and now - since >= WAITING_TIME:
        return replace(again, waiting_since=now), DomainStatus.FAILED
    if status is DomainStatus.FAILED and now - since >= FAILED_TIME:
        return again, DomainStatus.REMOVED
    return again, None


def put_off(state: CheckState, result: CheckResult, now: datetime) -> CheckState:
    """The state after a check that would end something because enough time has passed, while the clock is in doubt."""
    return replace(state, checked_at=now, result=result, next_check_at=now + timedelta(seconds=UP_UNKNOWN))


def succeeded(state: CheckState, now: datetime, *, jitter: float, method: Method | None = None) -> CheckState:
    """The state of a domain that leads to us."""
    return replace(
        state,
        result=CheckResult.VALID,
        method=method or state.method,
        checks=0,
        failures=0,
        failing_since=None,
        waiting_since=None,
        not_pointing=False,
        next_check_at=now + _while_up(jitter),
    )


def failed(state: CheckState, now: datetime) -> CheckState:
    """The state of a domain that has just failed: it is checked as if it were new."""
    return replace(
        state,
        checks=0,
        failures=0,
        failing_since=None,
        waiting_since=now,
        not_pointing=True,
        next_check_at=now + wait(0),
    )


def _up(seen: CheckState, result: CheckResult, now: datetime, jitter: float) -> tuple[CheckState, DomainStatus | None]:
    if not result.definitive:
        # Python's floats end somewhere, as above; six hours are reached after five.
        again = min(UP_UNKNOWN * 2.0 ** min(seen.checks, _MAX_COUNTED), UP_EVERY)
        return replace(seen, checks=seen.checks + 1, next_check_at=now + timedelta(seconds=again)), None
    since, failures = not_after(seen.failing_since or now, now), seen.failures + 1
    enough = since + FAILING_TIME
    if failures >= FAILURES and now >= enough:
        return failed(seen, now), DomainStatus.FAILED
    due = now + _while_up(jitter)
    if failures >= FAILURES - 1 and now < enough:
        due = min(due, enough)
    return replace(seen, checks=0, failures=failures, failing_since=since, not_pointing=True, next_check_at=due), None


def _while_up(jitter: float) -> timedelta:
    return timedelta(seconds=UP_EVERY * (1 - _JITTER + 2 * _JITTER * jitter))
