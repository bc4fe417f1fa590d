"""More names than fit into anybody's idea of enough: none of their certificates is refused."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from router.base.clock import ManualClock
from router.gate.budgets import Budgets
from router.gate.evidence import MemoryEvidence
from router.gate.snapshot import EvidenceSnapshot
from router.gate.sync import CertificateSync
from router.observe.metrics import Metrics
from router.settings import Gate
from router.store import Store
from tests.support.database import Databases
from tests.support.memory_certificates import MemoryCertificateLog

pytestmark = pytest.mark.asyncio

MANY = 130_000
INSERT = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :many)
INSERT INTO certificates (host, status, seen_at, source, failures, changed_at)
SELECT 'x' || n || '.example', 'issued', :at, 'traffic', 0, 0 FROM numbers
"""


async def test_a_hundred_and_thirty_thousand_names(databases: Databases, tmp_path: Path) -> None:
    """Each is known after a start, and after another one while the store is away."""
    clock = ManualClock()
    at = (clock.now() - timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.000000")
    async with databases.new("sqlite") as database:
        store = await Store.open(database, clock=clock)
        log = store.certificate_log
        async with log._writer.begin() as connection:
            await connection.execute(sa.text(INSERT), {"many": MANY, "at": at})
        away = MemoryCertificateLog(clock)
        away.down = True
        for source in (log, away):
            evidence = MemoryEvidence(clock)
            budgets = Budgets(Gate(), clock)
            sync = CertificateSync(
                log=source,
                evidence=evidence,
                budgets=budgets,
                snapshot=EvidenceSnapshot(tmp_path),
                settings=Gate(),
                metrics=Metrics(),
                clock=clock,
            )
            await sync.start()
            while not (evidence.complete or evidence.copied):
                await sync._exchange()
            assert len(evidence) == MANY
            assert all(evidence.seen(f"x{number}.example") for number in range(0, MANY, 13))
            await sync.close()
        await store.close()
