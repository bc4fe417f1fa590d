"""What every CertificateLog does: the in-memory one and SQL."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.domains.certificates import UNREAD_LIFETIME, Attempt, Leaf, Outcome, Read, Seen
from router.gate.sync import CertificateLog
from router.store import Store
from tests.support.database import Databases
from tests.support.memory_certificates import MemoryCertificateLog

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
    return {one.id: one.outcome for one in (await log.changes_since(None, 0.0, ALL)).attempts}


async def test_attempts_are_kept(log: CertificateLog) -> None:
    """With everything that counts; those that are too old to count are left out."""
    old, new = attempt(1), attempt(2, tenant_id="acme", outcome=Outcome.FAILED, closed_at=1003.5)
    await log.save_attempts([old, new])
    await log.save_attempts([])
    assert sorted((await log.changes_since(None, 0.0, ALL)).attempts, key=lambda one: one.id) == [old, new]
    assert (await log.changes_since(None, 1001.5, ALL)).attempts == (new,)


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
    live = (await log.changes_since(None, 0.0, ALL)).live
    assert live == {"a.org": AT + timedelta(days=1) + UNREAD_LIFETIME, "b.org": AT + UNREAD_LIFETIME}


@pytest.mark.parametrize("since", [None, 0.0])
async def test_many_come_in_parts(log: CertificateLog, since: float | None) -> None:
    """Each once, whatever their order; attempts with the first part."""
    await log.save_attempts([attempt(1)])
    await log.save_visits([Seen(f"x{number}.org", AT) for number in range(25)])
    await log.save_visits([Seen(f"y{number}.org", AT) for number in range(5)])
    part = await log.changes_since(since, 0.0, 7)
    found, attempts = list(part.live), [part.attempts]
    while part.next is not None:
        part = await log.changes_since(since, 0.0, 7, part.next)
        found += part.live
        attempts.append(part.attempts)
    assert sorted(found) == sorted(
        [f"x{number}.org" for number in range(25)] + [f"y{number}.org" for number in range(5)]
    )
    assert [len(some) for some in attempts] == [1, 0, 0, 0, 0]


async def test_single_hosts_can_be_asked_for(log: CertificateLog) -> None:
    """Those that have a certificate."""
    await log.save_visits([Seen("a.org", AT), Seen("b.org", AT)])
    assert await log.live(["a.org", "c.org"]) == {"a.org": AT + UNREAD_LIFETIME}


def leaf(serial: str = "1", days: float = 90.0) -> Leaf:
    return Leaf(issuer="CA", serial=serial, not_before=AT, not_after=AT + timedelta(days=days))


async def test_a_reading_is_exact_until_its_renewal_is_due(log: CertificateLog) -> None:
    """Visits before that change nothing; one after it may have met another certificate, until that is read, too."""
    await log.save_visits([Seen("a.org", AT, "acme")])
    await log.save_readings([Read("a.org", AT, leaf(), "acme"), Read("b.org", AT, leaf(days=6))])
    await log.save_readings([])
    await log.save_visits([Seen("a.org", AT + timedelta(days=59)), Seen("b.org", AT + timedelta(days=3))])
    news = await log.changes_since(None, 0.0, ALL)
    assert news.live == {"a.org": AT + timedelta(days=90), "b.org": AT + timedelta(days=6)}
    assert news.due == {"a.org": AT + timedelta(days=60), "b.org": AT + timedelta(days=4)}
    late = AT + timedelta(days=61)
    await log.save_visits([Seen("a.org", late)])
    assert (await log.live(["a.org"])) == {"a.org": late + timedelta(days=90)}
    await log.save_readings([Read("a.org", late, leaf("2", 150))])
    assert (await log.live(["a.org"])) == {"a.org": AT + timedelta(days=150)}
    await log.save_readings([Read("a.org", AT, leaf("1"))])
    assert (await log.live(["a.org"])) == {"a.org": AT + timedelta(days=150)}


@pytest.mark.parametrize("days", [6, 45, 64, 90])
async def test_a_visit_counts_for_as_long_as_the_certificate_that_was_read_lives(
    log: CertificateLog, days: int
) -> None:
    """While it is fresh nothing changes; once it is due, or has ended, the next one may have been met."""
    lifetime = timedelta(days=days)
    await log.save_readings([Read("a.org", AT, leaf(days=days))])
    await log.save_visits([Seen("b.org", AT)])
    news = await log.changes_since(None, 0.0, ALL)
    assert news.lifetimes == {"a.org": lifetime}
    for age, until in ((0.5, AT + lifetime), (0.7, AT + 1.7 * lifetime), (1.2, AT + 2.2 * lifetime)):
        await log.save_visits([Seen("a.org", AT + age * lifetime)])
        found = (await log.live(["a.org"]))["a.org"]
        assert abs(found - until) < timedelta(seconds=1)
    news = await log.changes_since(None, 0.0, ALL)
    assert (news.lifetimes, news.due) == ({"a.org": lifetime}, {})


async def test_news_are_what_changed(log: CertificateLog) -> None:
    """Nothing that was written after the last look is missing; what was written before may come again."""
    await log.save_attempts([attempt(1)])
    first = await log.changes_since(None, 0.0, ALL)
    await log.save_attempts([attempt(2), replace(attempt(1), outcome=Outcome.ISSUED, closed_at=1001.0)])
    await log.save_visits([Seen("a.org", AT)])
    second = await log.changes_since(first.until, 0.0, ALL)
    assert {one.id: one.outcome for one in second.attempts} == {"1": Outcome.ISSUED, "2": Outcome.OPEN}
    assert set(second.live) == {"a.org"}
