"""The states of a custom domain, and the moves between them.

    pending ──► verified ──► active         DNS leads to us; a certificate was issued and is in use
       │           │           │
       └──► failed ◄───────────┘            DNS never led to us, or no longer does, or no certificate can be had
              └──► verified                 it leads to us again
    any ──► removed                         for good: registering the name again makes a new record

Only `verified` and `active` route (`DomainStatus.routes`). Suspension is not a state: a suspended domain keeps its own
and has it back afterwards.
"""

from collections.abc import Mapping

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
