"""The TXT values that prove a zone to the authority, at `<token>.<acme_zone>`: published by a server of ours, which reads them
from the orders in the store, or by dynamic updates of the operator's (RFC 2136)."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class ChallengeError(Exception):
    """The values could not be published or withdrawn in time. `detail` is a sentence for the operator."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ChallengeRecords(Protocol):
    """Publishes. Both methods may be repeated, end within 60 seconds and raise ChallengeError and StoreUnavailableError."""

    async def publish(self, token: str, values: Sequence[str]) -> None:
        """Let exactly these be the TXT values at the token's name. Returns when every name server in charge answers them."""

    async def withdraw(self, token: str, values: Sequence[str]) -> None:
        """Let none of these be there any more. Others stay: those of the next order may have been published since."""


class TxtSource(Protocol):
    """Where a server of ours reads what to answer: `router.store.acme_orders.SqlTxtSource`."""

    async def open_values(self) -> Mapping[str, Sequence[str]]:
        """The values of every open order, by its token. All at once: there are few, and a flood of invented tokens must not
        become one of queries. Raises StoreUnavailableError."""
