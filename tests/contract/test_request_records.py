"""Where request records are kept, on SQLite and on PostgreSQL."""

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from router.base.clock import ManualClock
from router.errors import StoreUnavailableError
from router.records.kept import KeptRecords
from router.records.record import Record, RecordFilter
from router.settings import Database, Records
from router.store.request_records_postgres import PostgresRecords
from router.store.request_records_sqlite import SqliteRecords
from tests.support.database import Databases, spoil
from tests.support.request_records import ACME, DESK, GLOBEX, SHOP, row, totals

pytestmark = pytest.mark.asyncio

HOUR = 3_600_000_000
MINUTE = 60_000_000
_MIB = 1024 * 1024


@pytest.fixture
def settings() -> Records:
    return Records(max_bytes_per_tenant=_MIB, max_bytes=4 * _MIB)


def opened(database: str, settings: Records, clock: ManualClock, tmp_path: Path) -> KeptRecords:
    if database.startswith("sqlite"):
        return SqliteRecords(tmp_path / "requests", settings, clock)
    spoil(database)
    return PostgresRecords(database, Database(), settings, clock)


@pytest_asyncio.fixture
async def kept(database: str, settings: Records, clock: ManualClock, tmp_path: Path) -> AsyncIterator[KeptRecords]:
    store = opened(database, settings, clock, tmp_path)
    yield store
    await store.close()


def now(clock: ManualClock) -> int:
    return int(clock.now().timestamp() * 1e6)


async def ids(kept: KeptRecords, tenant: uuid.UUID = ACME, **where: object) -> list[str]:
    """The request ids of what is found, the newest first."""
    found = await kept.find(RecordFilter(tenant=tenant.bytes, **where), limit=1000)  # type: ignore[arg-type]
    return [one.request_id for one in found]


async def test_what_is_stored_is_found(kept: KeptRecords) -> None:
    """As it was, the newest first, with ids that rise."""
    await kept.append([row(0), row(1)], [])
    await kept.append([row(0, request_id="later")], [])
    found = await kept.find(RecordFilter(tenant=ACME.bytes), limit=10)
    assert [one.request_id for one in found] == ["later", "req-1", "req-0"]
    assert found[0].id > found[1].id > found[2].id
    assert found[2] == Record(*row(0))._replace(id=found[2].id)
    assert await kept.newest() == found[0].id


async def test_nothing_is_found_before_anything_is_stored(kept: KeptRecords) -> None:
    """A new installation has no records, and no error."""
    assert await kept.find(RecordFilter(tenant=ACME.bytes), limit=10) == []
    assert await kept.newest() == 0
    assert await kept.totals(ACME.bytes, SHOP.bytes, 0, HOUR) == []


async def test_each_condition_narrows(kept: KeptRecords) -> None:
    """Alone and together."""
    at = 1_700_000_000_000_000
    await kept.append(
        [
            row(0, request_id="plain"),
            row(1, request_id="desk", resource=DESK.bytes, host="desk.miosa.app"),
            row(2, request_id="post", method="POST", path="/api/orders/%"),
            row(3, request_id="bad", status=502, ending="BH", fault=2),
            row(4, request_id="slow", total=9_000_000),
            row(5, request_id="old", at=at - HOUR),
        ],
        [],
    )
    assert await ids(kept, resource=DESK.bytes) == ["desk"]
    assert await ids(kept, host="desk.miosa.app") == ["desk"]
    assert await ids(kept, method="POST") == ["post"]
    assert await ids(kept, path_contains="orders/%") == ["post"]
    assert await ids(kept, path_contains="%orders") == []
    assert await ids(kept, status=(500, 599)) == ["bad"]
    assert await ids(kept, ending="BH") == ["bad"]
    assert await ids(kept, fault=2) == ["bad"]
    assert await ids(kept, min_total=1_000_000) == ["slow"]
    assert await ids(kept, until=at) == ["old"]
    assert len(await ids(kept, since=at)) == 5
    assert await ids(kept, request_id="plain") == ["plain"]
    assert await ids(kept, request_id="plain", method="POST") == []


async def test_pages_go_on_where_the_last_ended(kept: KeptRecords, clock: ManualClock) -> None:
    """Backwards for a list and forwards for a listener, over the hours, whatever is stored meanwhile."""
    for hour in range(3):
        await kept.append([row(number, request_id=f"{hour}-{number}") for number in range(3)], [])
        clock.advance(3600)
    where = RecordFilter(tenant=ACME.bytes)
    everything = await kept.find(where, limit=100)
    first = await kept.find(where, limit=4)
    await kept.append([row(0, request_id="new")], [])
    second = await kept.find(where, limit=100, before=first[-1].id)
    assert first + second == everything
    assert [one.request_id for one in await kept.find(where, limit=2, after=everything[-1].id)] == ["0-1", "0-2"]
    assert [one.request_id for one in await kept.find(where, limit=9, after=everything[0].id)] == ["new"]


async def test_a_tenant_sees_its_own_only(kept: KeptRecords) -> None:
    """Also by the id of another's resource or host."""
    await kept.append([row(0), row(1, tenant=GLOBEX.bytes, request_id="theirs")], [totals(0)])
    assert await ids(kept, ACME) == ["req-0"]
    assert await ids(kept, GLOBEX) == ["theirs"]
    assert await ids(kept, GLOBEX, resource=SHOP.bytes, request_id="req-0") == []
    assert await kept.totals(GLOBEX.bytes, SHOP.bytes, 0, HOUR) == []


async def test_a_clock_that_goes_back_leaves_the_order(kept: KeptRecords, clock: ManualClock) -> None:
    """What is stored later has a higher id."""
    await kept.append([row(0, request_id="first")], [])
    clock.set_ahead(-7200)
    await kept.append([row(0, request_id="second")], [])
    assert await ids(kept) == ["second", "first"]


async def test_two_who_store_at_once(
    database: str, kept: KeptRecords, settings: Records, clock: ManualClock, tmp_path: Path
) -> None:
    """Two nodes, or two control processes during a reload: each record has an id of its own."""
    other = opened(database, settings, clock, tmp_path)
    try:
        minute = now(clock)
        for number in range(5):
            await kept.append([row(0, request_id=f"a{number}")], [totals(minute, part=1)])
            await other.append([row(0, request_id=f"b{number}")], [totals(minute, part=2)])
        found = await kept.find(RecordFilter(tenant=ACME.bytes), limit=100)
        assert [one.request_id for one in reversed(found)] == [f"{name}{n}" for n in range(5) for name in "ab"]
        assert len({one.id for one in found}) == 10
        assert {one.part for one in await kept.totals(ACME.bytes, SHOP.bytes, minute, minute + 1)} == {1, 2}
    finally:
        await other.close()


async def test_numbers_of_the_same_part_replace_each_other(kept: KeptRecords, clock: ManualClock) -> None:
    """A minute's numbers are stored while it goes on."""
    minute = now(clock) // MINUTE * MINUTE
    await kept.append([], [totals(minute, requests=5), totals(minute, route="GET /a", requests=1)])
    await kept.append([], [totals(minute, requests=7, histogram=b"\x01\x00\x02\x00\x00\x00")])
    found = await kept.totals(ACME.bytes, SHOP.bytes, minute, minute + 1)
    assert {one.route: one.requests for one in found} == {"GET /": 7, "GET /a": 1}
    assert totals(minute, requests=7, histogram=b"\x01\x00\x02\x00\x00\x00") in found
    assert await kept.totals(ACME.bytes, SHOP.bytes, minute + 1, minute + HOUR) == []


async def test_what_is_old_goes(kept: KeptRecords, clock: ManualClock) -> None:
    """By the hour, after `retention_hours`; the numbers too."""
    begun = now(clock)
    await kept.append([row(0, request_id="old")], [totals(begun)])
    clock.advance(24 * 3600)
    await kept.append([row(0, request_id="new")], [])
    await kept.prune(now(clock))
    assert await ids(kept) == ["new", "old"]
    clock.advance(3600)
    await kept.prune(now(clock))
    assert await ids(kept) == ["new"]
    assert await kept.totals(ACME.bytes, SHOP.bytes, 0, now(clock)) == []


async def test_a_tenant_has_no_more_than_it_may(kept: KeptRecords, clock: ManualClock) -> None:
    """The oldest of its records go, and nobody else's."""
    await kept.append([row(0, tenant=GLOBEX.bytes, request_id="theirs")], [])
    for _ in range(3):
        await kept.append([row(number, path="/" + "x" * 1000) for number in range(500)], [])
        clock.advance(3600)
    await kept.prune(now(clock))
    left = len(await ids(kept))
    assert 850 <= left <= 920  # a megabyte at about 1,170 bytes each
    assert (await kept.find(RecordFilter(tenant=ACME.bytes), limit=1))[0].request_id == "req-499"
    assert await ids(kept, GLOBEX) == ["theirs"]
    await kept.prune(now(clock))
    assert len(await ids(kept)) == left


async def test_all_have_no_more_than_they_may(kept: KeptRecords, clock: ManualClock) -> None:
    """The oldest hour goes first."""
    for hour in range(8):
        tenant = uuid.UUID(int=100 + hour).bytes
        await kept.append([row(n, tenant=tenant, path="/" + "x" * 1000) for n in range(800)], [])
        clock.advance(3600)
    await kept.prune(now(clock))
    left = [hour for hour in range(8) if await ids(kept, uuid.UUID(int=100 + hour))]
    assert left == list(range(8 - len(left), 8))
    assert 2 <= len(left) <= 4  # of 0.9 MB each


async def test_a_store_that_is_closed_says_so(kept: KeptRecords) -> None:
    """Whoever still writes or reads gets the error of an outage."""
    await kept.append([row(0)], [])
    await kept.close()
    with pytest.raises(StoreUnavailableError):
        await kept.append([row(0)], [])
    with pytest.raises(StoreUnavailableError):
        await kept.find(RecordFilter(tenant=ACME.bytes), limit=1)


@pytest_asyncio.fixture
async def postgres_records(
    databases: Databases, settings: Records, clock: ManualClock
) -> AsyncIterator[PostgresRecords]:
    async with databases.new("postgresql") as url:
        spoil(url)
        kept = PostgresRecords(url, Database(), settings, clock)
        await kept.append([row(0, request_id="first")], [])
        yield kept
        await kept.close()


async def test_a_connection_that_breaks_in_its_use(postgres_records: PostgresRecords) -> None:
    """It is the error of an outage, whatever the driver makes of it: with any other the node would store no records from then on."""

    async def use(breaks: Callable[[Any], object]) -> None:
        async with postgres_records._connected("write") as connection:
            breaks(connection)
            await connection.execute("SELECT 1")

    def lose(connection: Any) -> None:
        """As where it is lost while the driver waits for a statement that it has cancelled."""
        connection.terminate()

    def confuse(_connection: Any) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    for breaks in (lose, confuse):
        with pytest.raises(StoreUnavailableError):
            await use(breaks)
    await postgres_records.append([row(0, request_id="second")], [])
    assert await ids(postgres_records) == ["second", "first"]


async def test_a_connection_whose_statement_was_given_up(postgres_records: PostgresRecords) -> None:
    """Nobody gets it again: the driver is still cancelling what it was at. One whose statement the server refused is used again."""
    with pytest.raises(StoreUnavailableError):
        async with postgres_records._connected("write") as given_up:
            await given_up.execute("SELECT pg_sleep(60)", timeout=0.05)
    assert given_up.is_closed()
    with pytest.raises(StoreUnavailableError, match="division"):
        async with postgres_records._connected("write") as refused:
            await refused.execute("SELECT 1 / 0")
    async with postgres_records._connected("write") as again:
        assert again is refused
