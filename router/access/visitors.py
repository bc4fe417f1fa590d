"""What a visitor may need of the control process before they come in, beside the policy and the keys that a worker knows."""

from typing import Protocol


class Visitors(Protocol):
    """Asks the store. Every method raises StoreUnavailableError where it can't be known now: that is never a refusal."""

    async def use_up(self, secret_id: str) -> bool:
        """Take a link that works once; False where somebody has, on any node."""
