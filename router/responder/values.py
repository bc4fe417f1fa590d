"""What the store's open orders have to be answered with, kept for a second at most.

All of them are read at once, not one by one as they are asked for: there are few, and a flood of invented tokens costs one
query a second, whatever names it makes up. What is not among them does not exist, so negative answers are covered too.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.certificates.challenges import TxtSource
from router.errors import StoreUnavailableError

KEPT = 1.0  # seconds
WITHIN = 1.0  # seconds for the store to answer

_log = structlog.get_logger("router.responder")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store said at the instant `at` of the monotonic clock; None where it was away."""

    at: float
    values: Mapping[str, Sequence[str]] | None


class CurrentValues:
    """Reads the store when somebody asks: at most once at a time, and at most once in `KEPT` seconds."""

    def __init__(self, rows: TxtSource, clock: Clock, *, within: float = WITHIN) -> None:
        self._rows = rows
        self._clock = clock
        self._within = within
        self._tasks = Tasks("responder: values")
        self._snapshot: Snapshot | None = None
        self._reading: asyncio.Task[Snapshot] | None = None

    async def close(self) -> None:
        """End a reading that is under way."""
        await self._tasks.close()

    def peek(self) -> Snapshot | None:
        """What is known now, None where `read` has to be waited for.

        While the store is away nobody waits for it: that it is away is known at once, and it is tried again meanwhile.
        """
        known = self._snapshot
        if known is None or self._clock.monotonic() - known.at < KEPT:
            return known
        if known.values is not None:
            return None
        self.read()
        return known

    def read(self) -> asyncio.Task[Snapshot]:
        """The reading that is under way, or a new one. It raises nothing."""
        if self._reading is None:
            self._reading = self._tasks.start("read", self._read())
            self._reading.add_done_callback(self._done)
        return self._reading

    def _done(self, _task: asyncio.Task[Snapshot]) -> None:
        self._reading = None

    async def _read(self) -> Snapshot:
        at, away = self._clock.monotonic(), ""
        values: Mapping[str, Sequence[str]] | None = None
        try:
            async with asyncio.timeout(self._within):
                values = await self._rows.open_values()
        except TimeoutError:
            away = f"no answer within {self._within:g} s"
        except StoreUnavailableError as error:
            away = str(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not turn into NXDOMAIN
            _log.exception("values of challenges could not be read")
            away = type(error).__name__
        self._tell(away)
        # One that was away is known to be so from the end of the attempt on.
        self._snapshot = Snapshot(at if values is not None else self._clock.monotonic(), values)
        return self._snapshot

    def _tell(self, away: str) -> None:
        was_away = self._snapshot is not None and self._snapshot.values is None
        if away and not was_away:
            _log.warning("the store is away: challenges are answered SERVFAIL", reason=away)
        elif not away and was_away:
            _log.info("the store is back: challenges are answered")
