"""When secrets of previews, sessions and API keys last let somebody in: from the workers' memory to the store, to the minute.

A secret that is used all the time costs one write a minute, one that is not used costs none. What a worker noted in the
seconds since the last copy is lost where it dies; one that ends cleanly sends it first.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Protocol

import structlog

from router.base.clock import Clock
from router.base.ticks import tick
from router.errors import StoreUnavailableError
from router.routes.policies import ISSUER_USE
from router.routes.records import SESSION_ID, api_key_key

INTERVAL = 10.0  # seconds between two copies
_MAX_WRITTEN = 2000  # secrets in one copy; the others come with the next
_BATCH = 50  # secrets in one transaction: others wait for it
_LAG = 30.0  # seconds by which a worker may be late with what it has noted

_log = structlog.get_logger("router.jobs")


class UseRows(Protocol):
    """The method that `Keys`, `PreviewSecrets`, `Sessions` and `TrustedIssuers` have for it."""

    async def note_uses(self, seen: Mapping[str, datetime]) -> None:
        """Keep the later instant of each. Raises StoreUnavailableError."""


class SecretUseFeed:
    """`used(since)` gives instants of the monotonic clock, as `proxy.secret_uses` has them: of what was used at or after that
    one. Where other processes have them, `gather` asks these before each copy."""

    def __init__(
        self,
        *,
        used: Callable[[float], Mapping[str, float]],
        secrets: UseRows,
        sessions: UseRows,
        keys: UseRows,
        issuers: UseRows,
        clock: Clock,
        gather: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._used = used
        self._gather = gather
        self._secrets = secrets
        self._sessions = sessions
        self._keys = keys
        self._issuers = issuers
        self._clock = clock
        self._copied_until = float("-inf")
        self._waiting: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}  # the minute that was written last, of what was used lately

    async def copy(self) -> None:
        """Store what was used since the last copy. Raises StoreUnavailableError: then the next copy has it."""
        if self._gather is not None:
            await self._gather()
        monotonic, now = self._clock.monotonic(), self._clock.now()
        for name, at in self._used(self._copied_until - _LAG).items():
            minute = (now - timedelta(seconds=max(0.0, monotonic - at))).replace(second=0, microsecond=0)
            if self._written.get(name) != minute:
                self._waiting[name] = minute
        self._copied_until = monotonic
        self._written = {name: minute for name, minute in self._written.items() if now - minute < timedelta(minutes=5)}
        left = _MAX_WRITTEN
        while self._waiting and left > 0:
            some = dict(islice(self._waiting.items(), min(left, _BATCH)))
            sessions = {name: at for name, at in some.items() if name.startswith(SESSION_ID)}
            kinds = (api_key_key(""), SESSION_ID, ISSUER_USE)
            await self._keys.note_uses(_of(some, api_key_key("")))
            await self._issuers.note_uses(_of(some, ISSUER_USE))
            await self._sessions.note_uses(sessions)
            await self._secrets.note_uses({name: at for name, at in some.items() if not name.startswith(kinds)})
            for name, minute in some.items():
                del self._waiting[name]
                self._written[name] = minute
            left -= len(some)

    async def run(self) -> None:
        """Copy until cancelled."""
        while True:
            await tick(INTERVAL)
            try:
                await self.copy()
            except StoreUnavailableError as error:
                _log.warning("last use of secrets not stored yet", error=str(error))


def _of(uses: Mapping[str, datetime], prefix: str) -> Mapping[str, datetime]:
    """Those whose names begin so, by what follows."""
    return {name.removeprefix(prefix): at for name, at in uses.items() if name.startswith(prefix)}
