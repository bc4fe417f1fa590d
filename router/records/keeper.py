"""Keeps the records of a node's requests: from the packs of those who carry traffic into a store, off their path.

Fails open: a store that is away costs no request anything. Packs wait for it, up to a bound; what comes on top is lost,
counted by resource, and stored as a gap when the store is back, so that no developer takes silence for no traffic. A batch
whose commit was not confirmed is stored again: it may then be there twice.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import sleep
from typing import Any, Final

import structlog

from router.base.clock import Clock
from router.base.tasks import Tasks
from router.errors import StoreUnavailableError
from router.observe.metrics import Metrics
from router.records.captures import CaptureCodec, StoredCapture
from router.records.kept import KeptRecords
from router.records.lost import Lost, add_lost, tally
from router.records.reading import PackReader
from router.records.record import Row, gap
from router.records.tenant_series import TenantSeries
from router.records.totals import Totals

STORE_EVERY: Final = 0.5  # seconds
_TOTALS_EVERY: Final = 5.0
_PRUNE_EVERY: Final = 60.0
_MAX_WAITING: Final = 32 * 1024 * 1024  # bytes of packs; about a minute at 2,000 requests per second
_MAX_BATCH: Final = 5000  # records of one transaction
_CLOSE_TIME: Final = 5.0
_MAX_CAPTURES: Final = 250  # that wait, each of some 120 KB at most
_MAX_CAPTURES_AT_ONCE: Final = 25  # of one transaction

_log = structlog.get_logger("router.records")


class Keeper:
    """See the module. `take` is called by whoever carries traffic; what `start` starts does the rest."""

    def __init__(
        self,
        store: KeptRecords,
        per_second: int,
        clock: Clock,
        metrics: Metrics,
        codec: CaptureCodec | None = None,
        also: Callable[[bytes], object] | None = None,
        tenants: TenantSeries | None = None,
    ) -> None:
        """`codec` None stores no captures. `also` gets each pack too. `tenants` counts some tenants apart."""
        self._also = also
        self._store = store
        self._codec = codec
        self._captures: deque[Mapping[str, Any]] = deque()
        self._stored_captures: list[StoredCapture] = []  # that are to be stored next
        self._clock = clock
        self._metrics = metrics
        self._reader = PackReader(per_second, tenants)
        self._thread = ThreadPoolExecutor(1, "request-packs")
        self._packs: deque[bytes] = deque()
        self._waiting = 0  # bytes of them
        self._records: list[Row] = []  # that are to be stored next
        self._totals: list[Totals] = []
        self._sampled_out = 0
        self._lost: Lost = {}
        self._away = False
        self._totals_due = self._prune_due = 0.0
        self._tasks = Tasks("request records")
        self._came = asyncio.Event()
        self._closing = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        metrics.gauge("request_packs_waiting_bytes", lambda: float(self._waiting))

    def take(self, pack: bytes) -> None:
        """A pack of records, of this process or of a worker."""
        if self._also is not None:
            self._also(pack)
        if self._waiting + len(pack) > _MAX_WAITING:
            self.lose(tally(pack))
            return
        self._packs.append(pack)
        self._waiting += len(pack)
        self._came.set()

    def take_capture(self, told: Mapping[str, Any]) -> bool:
        """What was captured of an exchange, as `proxy.capture` tells it; False where too much of it waits already."""
        if self._codec is None or len(self._captures) >= _MAX_CAPTURES:
            return False
        self._captures.append(told)
        self._came.set()
        return True

    def lose(self, lost: Mapping[tuple[bytes, bytes], int]) -> None:
        """So many records of these tenants and resources have not come here, or can't be kept."""
        add_lost(self._lost, lost)
        self._metrics.count("request_records", "lost", by=sum(lost.values()))
        self._came.set()

    def start(self) -> None:
        """Store what comes until `close`."""
        self._running = self._tasks.start("store", self._run())

    async def _run(self) -> None:
        while True:
            await self._rest()
            try:
                await self._round()
            except Exception:  # noqa: BLE001  # a fault of ours; whoever comes next is recorded all the same
                _log.exception("a batch of request records given up")
                self._give_up()
            if self._closing.is_set():
                return

    async def _rest(self) -> None:
        """Wait until something has come or is due, and then for what comes with it."""
        waits = self._records or self._totals or self._stored_captures or self._captures
        if not waits:
            due = min(self._totals_due, self._prune_due) if self._reader.counting.counts else self._prune_due
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - self._clock.monotonic())):
                    await self._came.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(STORE_EVERY):
                await self._closing.wait()
        self._came.clear()

    async def _round(self) -> None:
        await self.flush()
        now = self._clock.monotonic()
        if now >= self._prune_due and not self._away and not self._closing.is_set():
            self._prune_due = now + _PRUNE_EVERY
            try:
                await self._store.prune(self._now())
            except StoreUnavailableError as error:
                _log.warning("request records not pruned", error=str(error))

    def _give_up(self) -> None:
        """Count what was to be stored as lost: what failed by a fault of ours would fail again."""
        self.lose(Counter((record[0], record[2]) for record in self._records))
        self._metrics.count("request_captures", "lost", by=len(self._stored_captures))
        self._records, self._totals, self._stored_captures = [], [], []

    async def flush(self) -> None:
        """Store what waits, as far as the store takes it. Raises nothing."""
        while True:
            if not self._records and not self._totals:
                await self._read()
            if not self._records and not self._totals:
                break
            if not await self._append():
                return
        while await self._keep_captures():
            pass

    async def close(self) -> None:
        """Store what waits, if that can be done soon, and close the store."""
        self._totals_due = 0.0
        self._closing.set()
        self._came.set()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=_CLOSE_TIME)
            if not self._running.done():
                _log.warning("request records not stored in time before the end", bytes=self._waiting)
        await self._tasks.close()
        await self._store.close()
        self._thread.shutdown(wait=False)

    async def _append(self) -> bool:
        try:
            await self._store.append(self._records, self._totals)
        except StoreUnavailableError as error:
            if not self._away:
                _log.error("request records cannot be stored, retrying", error=str(error))
            self._away = True
            return False
        if self._away:
            _log.info("request records are stored again")
        self._away = False
        self._metrics.count("request_records", "stored", by=len(self._records))
        self._records, self._totals = [], []
        return True

    async def _keep_captures(self) -> bool:
        """Store some of the captures that wait; False where there are none, or the store is away."""
        if not self._stored_captures:
            told = [self._captures.popleft() for _ in range(min(len(self._captures), _MAX_CAPTURES_AT_ONCE))]
            if not told:
                return False
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._seal, told)
            self._stored_captures = await work
            self._metrics.count("request_captures", "lost", by=len(told) - len(self._stored_captures))
        if self._stored_captures:
            try:
                await self._store.keep(self._stored_captures)
            except StoreUnavailableError as error:
                _log.warning("captures cannot be stored, retrying", error=str(error))
                return False
        self._metrics.count("request_captures", "stored", by=len(self._stored_captures))
        self._stored_captures = []
        return True

    def _seal(self, told: Sequence[Mapping[str, Any]]) -> list[StoredCapture]:
        """In the thread: what of them can be stored, masked and sealed."""
        found: list[StoredCapture] = []
        for one in told:
            try:
                if self._codec is not None:
                    found.append(self._codec.stored(one))
            except (ValueError, LookupError, TypeError) as error:
                _log.error("a capture cannot be read", error=type(error).__name__)
            sleep(0)  # whoever waits for the interpreter has it between two
        return found

    async def _read(self) -> None:
        """Make records and totals of the packs that wait."""
        packs: list[bytes] = []
        size = 0
        while self._packs and size < _MAX_BATCH * 150:
            packs.append(self._packs.popleft())
            size += len(packs[-1])
        self._waiting -= size
        monotonic = self._clock.monotonic()
        with_totals = monotonic >= self._totals_due and (bool(packs) or self._reader.counting.counts)
        if with_totals:
            self._totals_due = monotonic + _TOTALS_EVERY
        if not packs and not with_totals and not self._lost:
            return
        lost, self._lost = self._lost, {}
        now = self._now()
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, self._make, packs, lost, now, monotonic, with_totals
        )
        self._records, self._totals, bad = await work
        if bad:
            self._metrics.count("request_records", "lost", by=bad)
            _log.error("packs of request records cannot be read", packs=bad)
        self._metrics.count("request_records", "sampled_out", by=self._reader.sampled_out - self._sampled_out)
        self._sampled_out = self._reader.sampled_out

    def _make(
        self, packs: Sequence[bytes], lost: Lost, now: int, monotonic: float, with_totals: bool
    ) -> tuple[list[Row], list[Totals], int]:
        """In the thread: records, totals where they are due, and how many packs could not be read."""
        rows: list[Row] = []
        bad = 0
        epoch = now / 1e6 - monotonic
        for pack in packs:
            try:
                self._reader.read(pack, epoch, monotonic, rows)
            except ValueError:
                bad += 1
        for (tenant, resource), number in lost.items():
            rows.append(gap(tenant, len(rows), resource, number, now))
        return rows, self._reader.counting.take_changed(now) if with_totals else [], bad

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1e6)
