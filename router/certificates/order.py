"""The life of one order at the authority, as a row: each step is stored before the next one begins, so that whoever takes
the row over goes on where it was left.

    planned     the zone needs a certificate; nothing was said to the authority
    placing     the order is being placed; without a url nobody knows whether it was
    placed      the authority has it (`url`), and wants TXT values answered (`txt`)
    published   the values are answered at the token's name
    answered    the authority was told so, and looks
    finalizing  all names are proved; the key is made (`sealed_key`), the authority has the CSR or will have
    issued      the certificate is held
    failed      the authority refused, or the time was up (`error`); `next_at` is when another order may be opened
    abandoned   nobody wants it any more: the zone, its delegation or its authority changed

A domain has at most one open order. A closed one has neither a key nor a CSR; TXT values that a name server of the
operator's still answers stay in `txt` until they are withdrawn.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol


class OrderState(enum.StrEnum):
    PLANNED = "planned"
    PLACING = "placing"
    PLACED = "placed"
    PUBLISHED = "published"
    ANSWERED = "answered"
    FINALIZING = "finalizing"
    ISSUED = "issued"
    FAILED = "failed"
    ABANDONED = "abandoned"


_S = OrderState
CLOSED = frozenset({_S.ISSUED, _S.FAILED, _S.ABANDONED})
OPEN = frozenset(OrderState) - CLOSED

_ENDS = frozenset({_S.FAILED, _S.ABANDONED})
MOVES: Mapping[OrderState, frozenset[OrderState]] = MappingProxyType(
    {
        _S.PLANNED: _ENDS | {_S.PLACING},
        # Back to planned where the authority did not take it and says when to come again.
        _S.PLACING: _ENDS | {_S.PLANNED, _S.PLACED},
        # To finalizing where every name is proved already.
        _S.PLACED: _ENDS | {_S.PUBLISHED, _S.FINALIZING},
        _S.PUBLISHED: _ENDS | {_S.ANSWERED, _S.FINALIZING},
        _S.ANSWERED: _ENDS | {_S.FINALIZING},
        _S.FINALIZING: _ENDS | {_S.ISSUED},
        **{state: frozenset() for state in CLOSED},
    }
)
"""What may follow on each state; staying in it is always allowed while it is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One try. `token` is where its TXT values are answered (`<token>.<acme_zone>`), `replaces` the ARI id of the certificate
    that it renews (RFC 9773 §5), `attempts` how many orders of this domain have failed in a row, this one among them once it
    has. `next_at` is when its next step is due; of a failed one, when the domain's next order may be opened. After `deadline_at`
    it has failed, once it was begun."""

    id: str
    domain: str
    tenant_id: str | None
    directory: str
    token: str
    names: tuple[str, ...]
    state: OrderState = OrderState.PLANNED
    url: str | None = None
    replaces: str | None = None
    txt: tuple[str, ...] = ()
    sealed_key: str | None = None
    csr: str | None = None
    attempts: int = 0
    error: Mapping[str, Any] | None = None
    next_at: datetime
    deadline_at: datetime
    opened_at: datetime
    closed_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Order {self.state} of {self.domain}>"

    @property
    def open(self) -> bool:
        return self.state in OPEN


def order_key_purpose(order_id: str) -> str:
    """What the key of an order's certificate is sealed for."""
    return f"acme_orders:{order_id}:key"


class OrderRows(Protocol):
    """Stored orders."""

    async def get(self, order_id: str) -> Order | None: ...

    async def add(self, order: Order) -> bool:
        """Store a new one; False where the domain has an open order."""

    async def save(self, order: Order, seen: OrderState) -> bool:
        """Store its next state; False where it was not in the state `seen` any more: somebody else has moved it."""

    async def last(self, domains: Sequence[str]) -> Mapping[str, Order]:
        """The newest order of each of these domains."""

    async def due(self, now: datetime, limit: int) -> Sequence[Order]:
        """Open ones with a step to be done by now, or whose time is up, the longest due first."""

    async def begun(self) -> bool:
        """Whether any open order was begun: the authority has it, or may have."""

    async def open_counts(self, now: datetime) -> tuple[int, int]:
        """How many open orders there are for a zone's first certificate, and how many renew one; without those that wait for
        a limit, which may take a week."""

    async def abandon(self, domain: str, now: datetime) -> bool:
        """Close the domain's open order and its attempt, and blank its key; its TXT values stay until `withdrawn`. False where
        there is none. One that was being issued counts for the limits: nobody knows what came of it."""

    async def unwithdrawn(self, limit: int) -> Sequence[Order]:
        """Closed ones whose TXT values have not been withdrawn."""

    async def withdrawn(self, order_id: str) -> None:
        """Its TXT values are answered no more."""
