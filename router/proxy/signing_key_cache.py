"""The fleet's keys that sign cookies, or who visitors are, as a worker has them: at hand without a look-up, and never older than they may be.

They are read at the start, and again whenever they change or a change may have been missed. Meanwhile the old ones are
used: for a moment where they have changed, since a key that leaked may be among those that are void; for `stale_if_error`
where it is only not known whether they have. After that there are none, until they can be read: nothing can be signed or
judged then, and that is a fault of ours, not a wrong cookie.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import structlog

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.routes.batches import RecordSource
from router.routes.records import COOKIES, IDENTITY, SigningKeysRecord, signing_key
from router.settings import Cache

_REPLACED: Final = 1.0  # seconds that keys are used after they have changed
_RETRY: Final = 1.0  # seconds between two tries to read them

_WITHOUT: Final = {
    COOKIES: "share links and cookies of previews can't be judged",
    IDENTITY: "programs that are told who their visitors are get no requests",
}

_log = structlog.get_logger("router.proxy")


class SigningKeyCache:
    """Those of one purpose. `record` has the keys, None while they are not known."""

    def __init__(self, source: RecordSource, purpose: str, *, limits: Cache, clock: Clock) -> None:
        self._source = source
        self._purpose = purpose
        self._key = signing_key(purpose)
        self._read_time = limits.fetch_time
        self._stale = limits.stale_if_error
        self._now = clock.monotonic
        self._tasks = Tasks("signing keys")
        self._changed = asyncio.Event()
        self._known = asyncio.Event()
        self._void: asyncio.TimerHandle | None = None
        self._void_at = 0.0
        self.record: SigningKeysRecord | None = None

    def start(self) -> None:
        """Begin to read them, and to hear of changes."""
        self._changed.set()
        self._tasks.start("read signing keys", self._follow())

    async def ready(self) -> SigningKeysRecord:
        """As `record`, once they are known. Raises StoreUnavailableError where they can't be read in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._read_time):
                await self._known.wait()
        if self.record is None:
            raise StoreUnavailableError("the signing keys are not known")
        return self.record

    def drop(self, keys: Iterable[str]) -> None:
        """Read them again where they are among these records, which have changed."""
        if self._key in keys:
            self._doubt(_REPLACED)

    def drop_all(self) -> None:
        """Read them again: a change may have been missed."""
        self._doubt(self._stale)

    async def close(self) -> None:
        """Stop reading."""
        self._settle()
        await self._tasks.close()

    def _doubt(self, left: float) -> None:
        """Those that are known are used for so many seconds, unless they can be read before."""
        self._changed.set()
        at = self._now() + left
        if self.record is not None and (self._void is None or at < self._void_at):
            self._settle()
            self._void, self._void_at = asyncio.get_running_loop().call_later(left, self._forget), at

    def _settle(self) -> None:
        if self._void is not None:
            self._void.cancel()
            self._void = None

    def _forget(self) -> None:
        self._void = None
        self.record = None
        self._known.clear()
        _log.warning(f"signing keys not known: {_WITHOUT[self._purpose]}", purpose=self._purpose)

    async def _follow(self) -> None:
        failing = False
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                async with asyncio.timeout(self._read_time):
                    found = (await self._source.fetch((self._key,))).only((self._key,))[self._key]
            except Exception as error:  # noqa: BLE001 - whatever it was, they are needed, and asked for again
                if not failing:
                    bug = not isinstance(error, (StoreUnavailableError, TimeoutError))
                    _log.warning(
                        "signing keys not read",
                        purpose=self._purpose,
                        error=str(error) or "no answer in time",
                        exc_info=bug,
                    )
                failing = True
                self._changed.set()
                await asyncio.sleep(_RETRY)
                continue
            failing = False
            if self._changed.is_set():  # what was read may be older than the change
                continue
            if not isinstance(
                found, SigningKeysRecord
            ):  # they have not been made yet; whoever makes them tells, but may have begun before we heard
                self._changed.set()
                await asyncio.sleep(_RETRY)
                continue
            self._settle()
            self.record = found
            self._known.set()
