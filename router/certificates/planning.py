"""When what is due: checks of delegations, renewals, the next try after a failure. Pure.

renewal       in the window that the authority suggests (RFC 9773 §4.2), at an instant of the certificate's own; without
              one, between 7/12 and 2/3 of its lifetime: days 52 to 60 of 90, 26 to 30 of 45, 3.9 to 4.4 of 6 and two thirds
never later   than 5/6 of the lifetime, whatever the authority says
a failure     1 minute, 10, 100, a day (Let's Encrypt's integration guide), but for a certificate near its end at most an
              eighth of what it still has
"""

import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from router.certificates.authority import RenewalWindow
from router.certificates.delegation import Delegation, DelegationState
from router.domains.certificates import LATE_AFTER, RENEWED_AFTER, Leaf

_EARLY = 1 / 12  # of a lifetime, by which renewals are spread
_SOONEST = timedelta(seconds=15)  # between two checks of a zone that was just set
_AGE_SHARE = 10  # a zone that has waited for an hour is checked every six minutes
_LATEST = timedelta(hours=6)
_LATEST_MISSING = timedelta(hours=1)
_LATEST_UNREACHABLE = timedelta(minutes=10)
_YOUNGEST = timedelta(hours=6)
_NEAR = 8  # part of the time that is left, for a try
_NEAREST = timedelta(minutes=10)
_ASK_SOONEST, _ASK_LATEST = 60.0, 86400.0  # seconds
_ASK_AGAIN = timedelta(hours=6)  # RFC 9773 §4.3.3: after a failure


def jitter_of(key: str) -> float:
    """A number in [0, 1) that is a certificate's or a delegation's own."""
    return zlib.crc32(key.encode()) / 2**32


def renew_at(
    leaf: Leaf, jitter: float, window: RenewalWindow | None = None, *, issued_at: datetime | None = None
) -> datetime:
    """When a certificate is to be renewed. `jitter`, in [0, 1), is its own: the instant stays as it is when it is computed again.
    `issued_at` is when it came: an authority that has every certificate renewed at once is not followed in a circle."""
    if window is None:
        return leaf.not_before + leaf.lifetime * (RENEWED_AFTER - _EARLY * jitter)
    length = max(window.end - window.start, timedelta())
    suggested = window.start + length * jitter
    if issued_at is not None:
        suggested = max(suggested, issued_at + _YOUNGEST)
    return min(suggested, leaf.not_before + leaf.lifetime * LATE_AFTER)


def ask_again_at(now: datetime, window: RenewalWindow | None) -> datetime:
    """When the authority is to be asked again when to renew; `window` None: it did not answer."""
    if window is None:
        return now + _ASK_AGAIN
    return now + timedelta(seconds=min(max(window.retry_after, _ASK_SOONEST), _ASK_LATEST))


def wait_after(failures: int, backoff: Sequence[float], left: timedelta | None) -> timedelta:
    """How long to wait after so many failures in a row; `left` is what the certificate that is to be renewed still has."""
    wait = timedelta(seconds=backoff[min(max(failures, 1), len(backoff)) - 1])
    return wait if left is None else min(wait, max(left / _NEAR, _NEAREST))


def next_check_at(delegation: Delegation, state: DelegationState, now: datetime, jitter: float) -> datetime:
    """When a delegation is to be checked again that was found so. A zone that was set long ago and has none is looked at rarely: its
    owner's "verify" checks it at once."""
    spread = 0.9 + 0.2 * jitter
    if state in (DelegationState.PRESENT, DelegationState.FORBIDDEN):
        return now + _LATEST * spread
    age = max(now - delegation.created_at, timedelta())
    latest = _LATEST_UNREACHABLE if state is DelegationState.UNREACHABLE else _LATEST_MISSING
    return now + min(max(age / _AGE_SHARE, _SOONEST), latest) * spread


def in_turn(zones: Iterable[Delegation], limit: int) -> list[Delegation]:
    """At most so many, each tenant's first, then each one's second: who brings a thousand zones delays nobody else's."""
    taken: dict[str | None, int] = {}
    ranked = []
    for place, zone in enumerate(zones):
        turn = taken[zone.tenant_id] = taken.get(zone.tenant_id, 0) + 1
        ranked.append((turn, place, zone))
    return [zone for _, _, zone in sorted(ranked, key=lambda one: one[:2])[:limit]]
