"""Hand-overs: how a person who has signed in at the login host gets to the preview that they came for, which is another host
with cookies of its own.

The login host sends them there with a code. It works once, for a minute, at that host alone and for the browser alone that
asked for it (`binding`); it is kept as a hash. What is asked for with a wrong host or browser is used up all the same: somebody
has a code that is not theirs.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from router.base.clock import Clock
from router.base.preview_secrets import digest
from router.base.transactions import Transactions
from router.tenancy.deadlocks import retry_on_deadlock
from router.tenancy.sessions import Session
from router.tenancy.transaction import Tx

TTL: Final = timedelta(seconds=60)
_MAX_CODE: Final = 128  # characters; what is longer is none
_MAX_OF_SESSION: Final = 50  # that wait to be taken, the newest: a browser may open many tabs at once


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """A code that waits to be taken, by its hash. `host` is the preview's, in canonical form; `binding` the SHA-256 of what the
    browser has there."""

    digest: str = field(repr=False)
    session_id: str
    host: str
    binding: str = field(repr=False)
    created_at: datetime
    expires_at: datetime


class HandOverRows(Protocol):
    """Stored hand-overs. They go with their session."""

    async def add(self, hand_over: HandOver, *, most: int) -> None:
        """Store it; of the session's the newest `most` are kept."""

    async def take(self, digest: str) -> HandOver | None:
        """Delete it, and say what it was. Of several who ask at the same time, on whatever node, one gets it."""


class HandOvers:
    """The service of hand-overs. Every method may raise StoreUnavailableError."""

    def __init__(self, store: Transactions[Tx], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @retry_on_deadlock
    async def make(self, session: Session, *, host: str, binding: str) -> str:
        """A code for `host`, which is of the session's tenant, in canonical form. `binding` is as in HandOver."""
        now = self._clock.now()
        code = secrets.token_urlsafe(32)
        hand_over = HandOver(
            digest=digest(code),
            session_id=session.id,
            host=host,
            binding=binding,
            created_at=now,
            expires_at=now + TTL,
        )
        async with self._store.begin() as tx:
            await tx.hand_overs.add(hand_over, most=_MAX_OF_SESSION)
        return code

    @retry_on_deadlock
    async def take(self, code: str, *, host: str, binding: str) -> Session | None:
        """The session that the code hands over, for the first who asks; None for all others, at another host or for another
        browser, after a minute, and where the session has ended."""
        if len(code) > _MAX_CODE:
            return None
        now = self._clock.now()
        async with self._store.begin() as tx:
            hand_over = await tx.hand_overs.take(digest(code))
            if hand_over is None:
                return None
            session = await tx.sessions.get(hand_over.session_id)
        same_browser = hmac.compare_digest(hand_over.binding.encode(), binding.encode())
        if not same_browser or hand_over.host != host or now >= hand_over.expires_at:
            return None
        return session if session is not None and session.lives(now) else None
