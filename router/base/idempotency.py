"""Idempotency-Key: a mutation that is sent again gets the same response again, and is executed once.

    claim ──► Claimed      the key was not used within 24 h: execute, then `finish` (or `release` after a 5xx)
          ──► Replay       the same request got a response: the stored one is sent, nothing is executed
          ──► Running      the same request is under way: 409
          ──► Different    the key belongs to another request: 422

A claim is a lease. A process that dies between claiming and finishing loses it after `LEASE`, and the next request with
the key executes; `token` keeps a late `finish` from overwriting the response of the request that took its place. Requests
that are refused before their handler (not valid, not allowed) claim nothing, so their key stays free for the corrected
request.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=120)  # longer than any handler may run


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key is ours until the lease ends."""

    owner: str
    key: str
    token: str


@dataclass(frozen=True, slots=True)
class Replay:
    """The response that the same request got."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Running:
    """The same request is being executed."""


@dataclass(frozen=True, slots=True)
class Different:
    """The key was used for another request."""


Claim = Claimed | Replay | Running | Different


class IdempotencyStore(Protocol):
    """Remembers which keys were used for what, past restarts. `owner` is a principal's id."""

    async def claim(self, owner: str, key: str, fingerprint: str, now: datetime) -> Claim:
        """Take the key, or say why not. Of two calls at once exactly one gets Claimed."""

    async def finish(self, claimed: Claimed, status: int, body: bytes, now: datetime) -> None:
        """Store the response, unless the lease was lost meanwhile."""

    async def release(self, claimed: Claimed) -> None:
        """Free the key, unless it has a response or the lease was lost meanwhile."""


@dataclass(frozen=True, slots=True)
class _Row:
    fingerprint: str
    token: str
    claimed_at: datetime
    response: Replay | None = None


class MemoryIdempotency:
    """The in-memory twin; passes the same contract tests."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], _Row] = {}

    async def claim(self, owner: str, key: str, fingerprint: str, now: datetime) -> Claim:
        row = self._rows.get((owner, key))
        kept = KEPT if row is not None and row.response is not None else LEASE
        # Claimed in the future: a clock was ahead. Such a key would stay taken until that time has come, so it counts as free.
        if row is not None and -kept < now - row.claimed_at < kept:
            if row.fingerprint != fingerprint:
                return Different()
            return row.response if row.response is not None else Running()
        claimed = Claimed(owner, key, uuid.uuid4().hex)
        self._rows[owner, key] = _Row(fingerprint, claimed.token, now)
        return claimed

    async def finish(self, claimed: Claimed, status: int, body: bytes, now: datetime) -> None:
        row = self._rows.get((claimed.owner, claimed.key))
        if row is not None and row.token == claimed.token:
            self._rows[claimed.owner, claimed.key] = replace(row, claimed_at=now, response=Replay(status, body))

    async def release(self, claimed: Claimed) -> None:
        row = self._rows.get((claimed.owner, claimed.key))
        if row is not None and row.token == claimed.token and row.response is None:
            del self._rows[claimed.owner, claimed.key]
