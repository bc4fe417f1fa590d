"""When secrets last let somebody in, as this worker saw it. The store hears of it to the minute (`jobs/secret_uses.py`)."""

from collections.abc import Mapping
from typing import Final

from router.base.clock import Clock
from router.routes.records import api_key_key

_MAX_NOTED: Final = 20_000
_KEPT: Final = 600.0  # seconds: long enough for the store to come back


class SecretUses:
    """Instants of the monotonic clock: by the secret's id, for API keys by their record's key. Of more than `most` the ones
    that were noted first are forgotten, and look as if they had not been used."""

    def __init__(self, clock: Clock, *, most: int = _MAX_NOTED) -> None:
        self._now = clock.monotonic
        self._most = most
        self._noted: dict[str, float] = {}

    def note(self, secret_id: str, *, key: bool) -> None:
        """A preview's secret has opened it; or an API key has, whose digest it is (`key`)."""
        noted, name = self._noted, api_key_key(secret_id) if key else secret_id
        if name not in noted and len(noted) >= self._most:
            del noted[next(iter(noted))]
        noted[name] = self._now()

    def since(self, since: float) -> Mapping[str, float]:
        """What was used at or after that instant."""
        before = self._now() - _KEPT
        for name in [name for name, at in self._noted.items() if at < before]:
            del self._noted[name]
        return {name: at for name, at in self._noted.items() if at >= since}
