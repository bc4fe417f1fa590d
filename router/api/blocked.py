"""What an owner is shown of a block: that there is one, the public reason, and until when."""

from router.api.models import Instant, Out
from router.tenancy.blocks import Block


class BlockedOut(Out):
    """It answers 451, and only the operator can change that. `reason` is what they say about it."""

    reason: str | None
    since: Instant
    until: Instant | None


def blocked(block: Block | None) -> BlockedOut | None:
    """A block as the owner sees it."""
    if block is None:
        return None
    return BlockedOut(reason=block.public_reason, since=block.created_at, until=block.expires_at)
