"""What a node keeps of certificates: which names have one, as the gate has to know, and those that it holds itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from router.base.clock import Clock
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.snapshot import EvidenceSnapshot
from router.gate.sync import CertificateSync
from router.observe.metrics import Metrics
from router.settings import Settings

if TYPE_CHECKING:
    from router.gate.handover import HandOver
    from router.store import Store


@asynccontextmanager
async def keeping_certificates(
    store: "Store",
    settings: Settings,
    clock: Clock,
    *,
    evidence: MemoryEvidence,
    budgets: Budgets,
    on_disk: bool,
    metrics: Metrics,
) -> AsyncIterator[CertificateSync]:
    """What the gate knows, in the store, and where `on_disk` on this machine, while the block runs."""
    folder = settings.state_dir if on_disk else None
    sync = CertificateSync(
        log=store.certificate_log,
        evidence=evidence,
        budgets=budgets,
        snapshot=None if folder is None else EvidenceSnapshot(folder),
        settings=settings.gate,
        metrics=metrics,
        clock=clock,
        commits=store.commits,
    )
    try:
        await sync.start()
        yield sync
    finally:
        await sync.close()


@asynccontextmanager
async def holding_certificates(
    store: "Store", settings: Settings, clock: Clock, *, evidence: MemoryEvidence, metrics: Metrics
) -> AsyncIterator["HandOver"]:
    """The held certificates, for Caddy's `/certificate` and for what the gate says of names that they cover, while the block
    runs. Raises SettingsError for keys that cannot be used."""
    from router.base.secret_box import SecretBox  # noqa: PLC0415 - no worker has keys
    from router.gate.handover import HandOver  # noqa: PLC0415 - likewise
    from router.gate.held_sync import HeldSync  # noqa: PLC0415 - likewise
    from router.gate.held_table import HeldTable  # noqa: PLC0415 - likewise

    table = HeldTable(SecretBox(settings.secret_keys()), clock)
    handover = HandOver(table, clock)
    evidence.on_held(handover.covers)
    sync = HeldSync(
        log=store.held_log, table=table, handover=handover, metrics=metrics, clock=clock, commits=store.commits
    )
    try:
        await sync.start()
        yield handover
    finally:
        await sync.close()
