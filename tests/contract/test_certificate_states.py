"""Names counted by the state of their certificate, as the metric `certificates` shows them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from router.base.clock import ManualClock
from router.certificates.delegation import DelegationState
from router.certificates.held import Origin
from router.domains.certificates import Certificate, CertificateStatus, Leaf, Read, Seen, Source
from router.settings import Settings
from router.store import Store
from router.store.inspection import inspect
from tests.support.database import Databases
from tests.support.held_certificates import a_held

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NONE = dict.fromkeys(("pending", "issued", "expiring", "expired", "failed", "rate_limited"), 0)


def leaf(left: timedelta, days: float = 90.0) -> Leaf:
    """A certificate of so many days, so much of which is left now."""
    end = NOW + left
    return Leaf(issuer="R1", serial="0a", not_before=end - timedelta(days=days), not_after=end)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_names_are_counted(databases: Databases, kind: str) -> None:
    """Each once; one that ends is told apart by its own time, and removed ones are not counted."""
    async with databases.new(kind) as database:
        store = await Store.open(database, clock=ManualClock())
        log = store.certificate_log
        assert await log.count_by_state(NOW.timestamp()) == NONE
        lefts = {"fresh": timedelta(days=50), "near": timedelta(hours=23), "over": timedelta(seconds=-1)}
        seen = NOW - timedelta(days=30)
        await log.save_readings([Read(f"{name}.org", seen, leaf(left)) for name, left in lefts.items()])
        await log.save_visits([Seen("visited.org", NOW)])
        async with store.begin() as tx:
            for host, status in (("a.org", "expiring"), ("b.org", "failed"), ("c.org", "removed")):
                certificate = Certificate(
                    host=host,
                    status=CertificateStatus(status),
                    leaf=leaf(timedelta(days=9)),
                    seen_at=seen,
                    source=Source.PROBE,
                )
                await tx.certificates.put(certificate)
        found = await log.count_by_state(NOW.timestamp())
        await store.close()
    assert found == NONE | {"issued": 2, "expiring": 2, "expired": 1, "failed": 1}


@pytest.mark.parametrize("days", [6, 45, 64, 90])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_near_its_end_is_a_share_of_the_lifetime(databases: Databases, kind: str, days: int) -> None:
    """After five sixths of it, whatever it is."""
    lifetime = timedelta(days=days)
    lefts = {
        "fresh": lifetime,
        "due": lifetime / 3,
        "before": lifetime / 6 + timedelta(seconds=1),
        "late": lifetime / 6 - timedelta(seconds=1),
        "last": timedelta(seconds=1),
        "ended": timedelta(),
        "yesterday": timedelta(days=-1),
    }
    async with databases.new(kind) as database:
        store = await Store.open(database, clock=ManualClock())
        log = store.certificate_log
        await log.save_readings([Read(f"{name}.org", NOW, leaf(left, days)) for name, left in lefts.items()])
        found = await log.count_by_state(NOW.timestamp())
        await store.close()
    assert found == NONE | {"issued": 3, "expiring": 2, "expired": 2}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_held_certificates_are_counted(databases: Databases, kind: str) -> None:
    """Zones' by their share of the lifetime; uploaded ones near their end for two weeks. What has ended counts only for a zone
    that is delegated: elsewhere hosts get certificates of their own."""
    rows = {
        ("fresh.org", Origin.MANAGED): timedelta(days=16),
        ("late.org", Origin.MANAGED): timedelta(days=14),
        ("over.org", Origin.MANAGED): timedelta(),
        ("lost.org", Origin.MANAGED): timedelta(),
        ("*.fresh.org", Origin.UPLOADED): timedelta(days=14),
        ("*.late.org", Origin.UPLOADED): timedelta(days=13, hours=23),
        ("*.over.org", Origin.UPLOADED): timedelta(),
    }
    async with databases.new(kind) as database:
        store = await Store.open(database, clock=ManualClock())
        async with store.begin() as tx:
            for (domain, origin), left in rows.items():
                lives = {"not_before": NOW + left - timedelta(days=90), "not_after": NOW + left}
                await tx.held_certificates.put(a_held(domain, NOW, origin=origin, **lives))
            await tx.held_certificates.put(a_held("gone.org", NOW, not_after=NOW))
            await tx.held_certificates.remove("gone.org", Origin.MANAGED, NOW)
            for domain, state in (("over.org", DelegationState.PRESENT), ("lost.org", DelegationState.MISSING)):
                made = await tx.delegations.make(domain, None, NOW)
                await tx.delegations.save(replace(made, state=state))
        found = await store.certificate_log.count_by_state(NOW.timestamp())
        await store.close()
        seen = await inspect(database, Settings().database, ManualClock(NOW), window=60.0)
    assert found == NONE | {"issued": 2, "expiring": 2, "expired": 1}
    assert seen.rows is not None
    assert [(one.host, one.origin) for one in seen.rows.near_end] == [
        ("over.org", Origin.MANAGED),
        ("*.late.org", Origin.UPLOADED),
        ("late.org", Origin.MANAGED),
    ]
