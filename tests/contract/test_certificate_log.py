"""What every CertificateLog does: the in-memory one and SQL."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from router.clock import ManualClock
from router.domains.certificates import LIFETIME, Attempt, Outcome, Seen
from router.gate.ledger import CertificateLog
from router.gate.memory import MemoryCertificateLog
from router.store import Store
from tests.support.database import Databases

pytestmark = pytest.mark.asyncio

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL = 10_000


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def log(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[CertificateLog]:
    if request.param == "memory":
        yield MemoryCertificateLog(ManualClock())
        return
    async with databases.new(request.param) as database:
        store = await Store.open(database, clock=ManualClock())
        yield store.certificate_log
        await store.close()


def attempt(number: int, **values: object) -> Attempt:
    given = {"id": str(number), "host": f"x{number}.org", "domain": f"x{number}.org", "tenant_id": None}
    return Attempt(**(given | {"opened_at": 1000.0 + number} | values))  # type: ignore[arg-type]


async def outcomes(log: CertificateLog) -> dict[str, Outcome]:
    return {one.id: one.outcome for one in (await log.news(None, 0.0, ALL)).attempts}


async def test_attempts_are_kept(log: CertificateLog) -> None:
    """With everything that counts; those that are too old to count are left out."""
    old, new = attempt(1), attempt(2, tenant_id="acme", outcome=Outcome.FAILED, closed_at=1003.5)
    await log.save_attempts([old, new])
    await log.save_attempts([])
    assert sorted((await log.news(None, 0.0, ALL)).attempts, key=lambda one: one.id) == [old, new]
    assert (await log.news(None, 1001.5, ALL)).attempts == (new,)


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [
        (Outcome.OPEN, Outcome.EXPIRED, Outcome.EXPIRED),
        (Outcome.OPEN, Outcome.ISSUED, Outcome.ISSUED),
        (Outcome.EXPIRED, Outcome.ISSUED, Outcome.ISSUED),
        (Outcome.EXPIRED, Outcome.FAILED, Outcome.FAILED),
        (Outcome.FAILED, Outcome.ISSUED, Outcome.ISSUED),
        (Outcome.FAILED, Outcome.EXPIRED, Outcome.FAILED),
        (Outcome.ISSUED, Outcome.OPEN, Outcome.ISSUED),
        (Outcome.ISSUED, Outcome.FAILED, Outcome.ISSUED),
    ],
)
async def test_who_knows_more_wins(log: CertificateLog, first: Outcome, then: Outcome, kept: Outcome) -> None:
    """Of two nodes that saw the same attempt end, whichever writes last."""
    await log.save_attempts([attempt(1, outcome=first)])
    await log.save_attempts([attempt(1, outcome=then)])
    assert await outcomes(log) == {"1": kept}


async def test_visits_are_evidence(log: CertificateLog) -> None:
    """For as long as a certificate can live; an older visit takes nothing back."""
    await log.save_visits([Seen("a.org", AT, "acme"), Seen("b.org", AT)])
    await log.save_visits([Seen("a.org", AT + timedelta(days=1)), Seen("b.org", AT - timedelta(days=1))])
    await log.save_visits([])
    live = (await log.news(None, 0.0, ALL)).live
    assert live == {"a.org": AT + timedelta(days=1) + LIFETIME, "b.org": AT + LIFETIME}


async def test_of_too_many_the_newest(log: CertificateLog) -> None:
    """The newest first."""
    for day in range(5):
        await log.save_visits([Seen(f"x{day}.org", AT + timedelta(days=day))])
    live = (await log.news(None, 0.0, 3)).live
    assert set(live) <= {f"x{day}.org" for day in range(5)}
    assert len(live) == 3


async def test_news_are_what_changed(log: CertificateLog) -> None:
    """Nothing that was written after the last look is missing; what was written before may come again."""
    await log.save_attempts([attempt(1)])
    first = await log.news(None, 0.0, ALL)
    await log.save_attempts([attempt(2), replace(attempt(1), outcome=Outcome.ISSUED, closed_at=1001.0)])
    await log.save_visits([Seen("a.org", AT)])
    second = await log.news(first.until, 0.0, ALL)
    assert {one.id: one.outcome for one in second.attempts} == {"1": Outcome.ISSUED, "2": Outcome.OPEN}
    assert set(second.live) == {"a.org"}


async def test_what_no_longer_counts_is_pruned(log: CertificateLog) -> None:
    """Attempts and hosts, each by its time."""
    await log.save_attempts([attempt(1), attempt(2)])
    await log.save_visits([Seen("a.org", AT), Seen("b.org", AT + timedelta(days=1))])
    prune = log.prune  # type: ignore[attr-defined]
    assert await prune(1001.5, AT + timedelta(hours=1)) == 2
    assert await prune(1001.5, AT + timedelta(hours=1)) == 0
    news = await log.news(None, 0.0, ALL)
    assert ([one.id for one in news.attempts], list(news.live)) == (["2"], ["b.org"])
