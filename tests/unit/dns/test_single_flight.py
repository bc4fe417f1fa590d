"""Searches in progress, shared by their callers."""

import asyncio

import pytest

from router.base.clock import ManualClock
from router.base.tasks import Tasks
from router.dns.single_flight import Search, SingleFlight


class Work:
    """A search that ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.result: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def find(self, search: Search[int]) -> int:
        self.begun += 1
        self.search = search
        try:
            return await self.result
        finally:
            self.ended += 1


@pytest.mark.asyncio
async def test_the_same_is_searched_once() -> None:
    """All who want it get what the one search finds, as long as it goes on."""
    clock, tasks, work = ManualClock(), Tasks("test"), Work()
    searches = SingleFlight[str, int](tasks, clock)
    joining = [asyncio.ensure_future(searches.join("a", until, work.find)) for until in (10.0, 20.0, 15.0)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.begun == 1
    assert work.search.until == 20.0
    work.result.set_result(7)
    assert await asyncio.gather(*joining) == [7, 7, 7]
    assert await searches.join("a", 10.0, work.find) == 7
    assert work.begun == 2


@pytest.mark.asyncio
async def test_the_last_to_go_ends_it() -> None:
    """Who stays keeps it going; nothing is left when nobody waits, and the next begins anew."""
    clock, tasks, work = ManualClock(), Tasks("test"), Work()
    searches = SingleFlight[str, int](tasks, clock)
    one, other = (asyncio.ensure_future(searches.join("a", 10.0, work.find)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait([one])
    assert work.ended == 0
    other.cancel()
    await asyncio.wait([other])
    await asyncio.sleep(0)
    assert (work.begun, work.ended, len(tasks)) == (1, 1, 0)
    again = asyncio.ensure_future(searches.join("a", 10.0, work.find))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.begun == 2
    again.cancel()
    await asyncio.wait([again])


@pytest.mark.asyncio
async def test_nobody_waits_longer_than_they_may() -> None:
    """One whose time is over goes; the search goes on for the others."""
    clock, tasks, work = ManualClock(), Tasks("test"), Work()
    searches = SingleFlight[str, int](tasks, clock)
    patient = asyncio.ensure_future(searches.join("a", 10.0, work.find))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await searches.join("a", 0.0, work.find)
    assert (work.begun, work.ended) == (1, 0)
    work.result.set_result(7)
    assert await patient == 7


@pytest.mark.asyncio
async def test_a_failure_is_everybodys() -> None:
    """And is not kept."""
    clock, tasks, work = ManualClock(), Tasks("test"), Work()
    searches = SingleFlight[str, int](tasks, clock)
    joining = [asyncio.ensure_future(searches.join("a", 10.0, work.find)) for _ in range(2)]
    await asyncio.sleep(0)
    work.result.set_exception(ValueError("broken"))
    for one in joining:
        with pytest.raises(ValueError, match="broken"):
            await one
