"""Delegations: a zone's owner lets us answer the DNS challenges of its two wildcards, by two CNAME records.

    _acme-challenge.<zone>          CNAME  <token>.<acme_zone>
    _acme-challenge.sandbox.<zone>  CNAME  <token>.<acme_zone>

The token is one zone's and one owner's: who gets the zone later gets another one, so that records which an earlier owner
left behind open nothing (CNAMEs that dangle are how names are stolen).
"""

import enum
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from router.domains.names import WILDCARDS

CHALLENGE = "_acme-challenge"
TOKEN_LENGTH = 32
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # of base32: no case, no digits that look like letters


class DelegationState(enum.StrEnum):
    """What the zone's authoritative name servers last said of both names together: the worse of the two counts."""

    MISSING = "missing"  # no record at one of the names; also what nobody has looked at yet
    PRESENT = "present"  # both names lead to the token
    ELSEWHERE = "elsewhere"  # one leads to another name than the token's
    SHADOWED = "shadowed"  # one has other records in the place of the CNAME (TXT), or lies in a zone of its own
    FORBIDDEN = "forbidden"  # both lead to the token, but CAA records let our authority issue no wildcard
    UNREACHABLE = "unreachable"  # the name servers in charge do not answer; takes nothing away


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """One zone's. `tenant_id` None is the platform's own zone. `found` is what was seen at each challenge name:
    `Found.noted` of `delegation_check.py`, for its owner."""

    domain: str
    tenant_id: str | None
    token: str
    state: DelegationState = DelegationState.MISSING
    found: Mapping[str, Any] | None = None
    checked_at: datetime | None = None
    next_check_at: datetime
    created_at: datetime

    def target(self, acme_zone: str) -> str:
        """Where both challenge names must lead."""
        return f"{self.token}.{acme_zone}"

    @property
    def present(self) -> bool:
        return self.state is DelegationState.PRESENT


def challenge_names(domain: str) -> tuple[str, ...]:
    """The names that a zone's owner delegates."""
    return tuple(f"{CHALLENGE}.{name.removeprefix('*.')}" for name in wildcard_names(domain))


def wildcard_names(domain: str) -> tuple[str, ...]:
    """The names of a zone's certificate."""
    return tuple(f"{wildcard}.{domain}" for wildcard in WILDCARDS)


def new_token() -> str:
    """160 random bits, as one label of a name."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(TOKEN_LENGTH))


class DelegationRows(Protocol):
    """Stored delegations. The store itself makes one in the transaction in which a tenant first sets a zone, and deletes it
    in the one in which the zone's last scope lets go of it (`store/preview_domains.py`)."""

    async def get(self, domain: str) -> Delegation | None: ...

    async def by_token(self, token: str) -> Delegation | None: ...

    async def of_tenant(self, tenant_id: str) -> Sequence[Delegation]: ...

    async def at(self, domains: Collection[str]) -> Mapping[str, Delegation]: ...

    async def make(self, domain: str, tenant_id: str | None, now: datetime) -> Delegation:
        """The zone's, with a new token; the one that is there, if it is this owner's."""

    async def save(self, delegation: Delegation) -> bool:
        """Store what a check found; False where the token is not the zone's any more."""

    async def missing(self, limit: int) -> Sequence[tuple[str, str]]:
        """(domain, tenant) of zones that have none: set by a version that knew of no delegations."""

    async def wanting(self, now: datetime, *, renewal: bool, limit: int) -> Sequence[Delegation]:
        """Zones that can and should have a certificate ordered: delegated, verified, without an open order, not waiting after a
        failure; those without a managed one, or (`renewal`) those whose is due, the nearest to its end first."""

    async def due(self, now: datetime, limit: int) -> Sequence[Delegation]:
        """Those to be checked by now, of zones that are verified and of the platform; the longest due first."""
