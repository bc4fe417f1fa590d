"""The records of requests in one process: who packs them, and where the packs go."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from router.base.clock import Clock
from router.observe.ended_exchange import Finished
from router.observe.metrics import Metrics
from router.observe.recorder import Consumer
from router.records.packing import pack
from router.settings import Settings

if TYPE_CHECKING:
    from router.records.captures import CaptureCodec
    from router.records.keeper import Keeper
    from router.records.kept import KeptRecords

_SUFFIX = ".requests"  # of the file beside an SQLite store


def open_kept(settings: Settings, clock: Clock) -> "KeptRecords":
    """Where this installation keeps them. Nothing is opened before it is used."""
    url = settings.database_url
    if url.startswith("sqlite:"):
        from router.store.request_records_sqlite import SqliteRecords  # noqa: PLC0415 - one of the two is needed

        path = url.removeprefix("sqlite:///").partition("?")[0]
        return SqliteRecords(Path(path + _SUFFIX), settings.records, clock)
    from router.store.request_records_postgres import PostgresRecords  # noqa: PLC0415 - likewise

    return PostgresRecords(url, settings.database, settings.records, clock)


def codec_of(settings: Settings) -> "CaptureCodec":
    """What masks and seals captures, and opens them. Raises SettingsError."""
    from router.base.secret_box import SecretBox  # noqa: PLC0415 - a worker with a control process packs records only
    from router.records.captures import CaptureCodec  # noqa: PLC0415 - likewise
    from router.records.masking import Masks  # noqa: PLC0415 - likewise

    return CaptureCodec(Masks(settings.records.masked_names), SecretBox(settings.secret_keys()))


@asynccontextmanager
async def keeping(kept: "KeptRecords", settings: Settings, clock: Clock, metrics: Metrics) -> AsyncIterator["Keeper"]:
    """What keeps the records of this process and of its workers, and their captures, while the block runs, and tells a collector of them where
    `telemetry.endpoint` is set. Raises SettingsError."""
    from router.records.keeper import Keeper  # noqa: PLC0415 - likewise
    from router.records.tenant_series import TenantSeries  # noqa: PLC0415 - likewise

    async with AsyncExitStack() as stack:
        also: Callable[[bytes], object] | None = None
        if settings.telemetry.endpoint is not None:
            settings.check_telemetry()
            from router.node.telemetry import telling  # noqa: PLC0415 - of an extra package, which few have

            telemetry = await stack.enter_async_context(telling(settings.telemetry.endpoint, settings, clock, metrics))
            also = telemetry.take
        codec = codec_of(settings) if settings.records.captures else None
        tenants = None
        if settings.metrics.tenants:
            tenants = TenantSeries(settings.metrics.named, settings.metrics.top)
            metrics.tenants(tenants.read)
        keeper = Keeper(kept, settings.records.per_second, clock, metrics, codec, also, tenants)
        keeper.start()
        stack.push_async_callback(keeper.close)
        yield keeper


def packing_to(take: Callable[[bytes], object]) -> Consumer:
    """A consumer of ended exchanges: packs the batch, and hands it on."""

    def consume(batch: Sequence[Finished]) -> None:
        packed = pack(batch)
        if packed:
            take(packed)

    return consume
