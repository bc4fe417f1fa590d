"""The states of a domain, and the moves between them: one table, which every change of a status obeys.

    pending ──► verified ──► active         a check found that DNS leads to us; a certificate was issued and is in use
       │           │           │
       └──► failed ◄───────────┘            checks found for long enough that DNS does not lead to us
              └──► verified                 a check found that it leads to us again
    any ──► removed                         for good: registering the name again makes a new record

A check moves a domain to `verified`, `failed` or `removed` (`checks/schedule.py`); its certificate moves it to `active`; its
owner, or another tenant that proves the name, to `removed`.

Only `verified` and `active` route (`DomainStatus.routes`). Suspension is not a state: a suspended domain keeps its own
and has it back afterwards. Preview domains have the same states without `active`; the API calls their first one
`pending_dns`, and one that is removed is cleared.
"""

from collections.abc import Mapping

from router.errors import CONFLICT, RouterError
from router.routes.records import DomainStatus

_PENDING, _VERIFIED, _ACTIVE = DomainStatus.PENDING, DomainStatus.VERIFIED, DomainStatus.ACTIVE
_FAILED, _REMOVED = DomainStatus.FAILED, DomainStatus.REMOVED

MOVES: Mapping[DomainStatus, frozenset[DomainStatus]] = {
    _PENDING: frozenset({_VERIFIED, _FAILED, _REMOVED}),
    _VERIFIED: frozenset({_ACTIVE, _FAILED, _REMOVED}),
    _ACTIVE: frozenset({_FAILED, _REMOVED}),
    _FAILED: frozenset({_VERIFIED, _REMOVED}),
    _REMOVED: frozenset(),
}


def may_move(old: DomainStatus, new: DomainStatus) -> bool:
    """Whether a domain in state `old` may enter `new`."""
    return new in MOVES[old]


def check_move(old: DomainStatus, new: DomainStatus) -> None:
    """Raises RouterError CONFLICT where a domain in state `old` may not enter `new`."""
    if not may_move(old, new):
        raise RouterError(CONFLICT, f"a domain that is {old} can't become {new}")
