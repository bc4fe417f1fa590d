"""When a domain is looked at, and what a look means for its life. Pure: the state before, a finding and the time in; the
state afterwards and the move out. Custom domains and preview domains share it.

    waiting   after 60·1.05ⁿ s ten times, then 60·1.15ⁿ, at most 4 h; whoever asks for a look begins anew. Without a
              success for 7 days it has failed.
    up        every 6 h, give or take a tenth. Three definitive failures over at least 24 h: it has failed.
    failed    as waiting; one success brings it back, without any for 7 more days it is removed.

What is not definitive moves nothing: it is only looked at again, what is up after a quarter of an hour. A name server
that is down keeps a domain where it is, however long that lasts.

The first look comes a minute after the registration, not at once: nobody has added records by then, and what resolvers
remember of their absence would hide them afterwards.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from router.domains.pointing import Finding

_FIRST = 60.0  # seconds
_GENTLE, _GENTLE_TIMES, _STEEP = 1.05, 10, 1.15
_LONGEST = 4 * 3600.0
_MOST_COUNTED = 100  # 60·1.15ⁿ has passed the longest wait by far, and Python's floats end somewhere

UP_EVERY = 6 * 3600.0  # seconds
_JITTER = 0.1  # of UP_EVERY, either way
UP_UNKNOWN = 900.0  # seconds

WAITING_TIME = timedelta(days=7)
FAILED_TIME = timedelta(days=7)
FAILURES = 3
FAILING_TIME = timedelta(hours=24)

ASK_EVERY = 10.0  # seconds between two looks that somebody asks for


class Method(enum.StrEnum):
    """What showed that a domain leads to us."""

    CNAME = "cname"
    ADDRESS = "address"  # flattened, or an ALIAS: the target's addresses
    PROXIED = "proxied"  # a CDN stands before us: a TXT record, and a request that reached us


class Phase(enum.Enum):
    """Where a domain is in its life, as far as looks go."""

    WAITING = enum.auto()
    UP = enum.auto()
    FAILED = enum.auto()


class Move(enum.Enum):
    """What a look makes of a domain."""

    UP = enum.auto()
    FAILED = enum.auto()
    REMOVED = enum.auto()


# Why a domain failed, by the phase that it was in: codes for programs.
REASONS: Mapping[Phase, str] = MappingProxyType({Phase.WAITING: "never_verified", Phase.UP: "dns_moved"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckState:
    """What is known of the looks at one domain, and when the next one is due.

    `waiting_since` is when the days of waiting, or of having failed, began; `failing_since` when the first of so many
    `failures` in a row was seen of a domain that is up. `checks` counts the looks since somebody last asked for one;
    `asked_at` is when that was. `method` is how it was last seen to lead to us. `not_pointing` is the last definitive
    finding, `caa_forbidden` that its CAA records let none of our certificate authorities issue.
    """

    next_check_at: datetime
    checked_at: datetime | None = None
    asked_at: datetime | None = None
    waiting_since: datetime | None = None
    failing_since: datetime | None = None
    checks: int = 0
    failures: int = 0
    finding: Finding | None = None
    method: Method | None = None
    caa_forbidden: bool = False
    not_pointing: bool = False


def luck_of(domain_id: str) -> float:
    """A number in [0, 1) that is a domain's own, from its id."""
    return int(domain_id[:8], 16) / 2**32


def wait(checks: int) -> timedelta:
    """How long after so many looks the next one comes, while waiting."""
    base = _GENTLE if checks < _GENTLE_TIMES else _STEEP
    return timedelta(seconds=min(_FIRST * base ** min(checks, _MOST_COUNTED), _LONGEST))


def begin(now: datetime, *, at_once: bool = False) -> CheckState:
    """The state of a domain that waits from now on."""
    return CheckState(next_check_at=now if at_once else now + wait(0), waiting_since=now)


def too_soon(state: CheckState, now: datetime, every: float = ASK_EVERY) -> float | None:
    """How many seconds whoever asks for a look has to wait until it may have one; None for not at all."""
    if state.asked_at is None:
        return None
    left = every - (now - state.asked_at).total_seconds()
    return left if 0 < left <= every else None


def asked(state: CheckState, now: datetime) -> CheckState:
    """Somebody asked for a look: the backoff and the days of waiting begin anew."""
    waits = state.waiting_since is not None
    return replace(state, asked_at=now, checks=0, waiting_since=now if waits else None)


def after(
    state: CheckState, phase: Phase, finding: Finding, now: datetime, *, luck: float, method: Method | None = None
) -> tuple[CheckState, Move | None]:
    """What one look makes of a domain. `luck` in [0, 1) varies when the next one comes; `method` is a success's."""
    seen = replace(state, checked_at=now, finding=finding)
    if finding is Finding.VALID:
        return _succeeded(seen, phase, now, method, luck)
    if phase is Phase.UP:
        return _up(seen, finding, now, luck)
    since = seen.waiting_since or now
    again = replace(seen, waiting_since=since, checks=seen.checks + 1, next_check_at=now + wait(seen.checks + 1))
    if not finding.definitive:
        return again, None
    again = replace(again, not_pointing=True)
    if phase is Phase.WAITING and now - since >= WAITING_TIME:
        return replace(again, waiting_since=now), Move.FAILED
    if phase is Phase.FAILED and now - since >= FAILED_TIME:
        return again, Move.REMOVED
    return again, None


def succeeded(state: CheckState, now: datetime, *, luck: float, method: Method | None = None) -> CheckState:
    """The state of a domain that leads to us."""
    return replace(
        state,
        finding=Finding.VALID,
        method=method or state.method,
        checks=0,
        failures=0,
        failing_since=None,
        waiting_since=None,
        not_pointing=False,
        next_check_at=now + _while_up(luck),
    )


def failed(state: CheckState, now: datetime) -> CheckState:
    """The state of a domain that was just found to have failed: it is looked at as if it were new."""
    return replace(
        state,
        checks=0,
        failures=0,
        failing_since=None,
        waiting_since=now,
        not_pointing=True,
        next_check_at=now + wait(0),
    )


def _succeeded(
    seen: CheckState, phase: Phase, now: datetime, method: Method | None, luck: float
) -> tuple[CheckState, Move | None]:
    return succeeded(seen, now, luck=luck, method=method), None if phase is Phase.UP else Move.UP


def _up(seen: CheckState, finding: Finding, now: datetime, luck: float) -> tuple[CheckState, Move | None]:
    if not finding.definitive:
        return replace(seen, next_check_at=now + timedelta(seconds=UP_UNKNOWN)), None
    since, failures = seen.failing_since or now, seen.failures + 1
    enough = since + FAILING_TIME
    if failures >= FAILURES and now >= enough:
        return failed(seen, now), Move.FAILED
    due = now + _while_up(luck)
    if failures >= FAILURES - 1 and now < enough:
        due = min(due, enough)
    return replace(seen, failures=failures, failing_since=since, not_pointing=True, next_check_at=due), None


def _while_up(luck: float) -> timedelta:
    return timedelta(seconds=UP_EVERY * (1 - _JITTER + 2 * _JITTER * luck))
