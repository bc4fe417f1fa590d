"""When the store is looked at in place of the bus: as soon as that may have fallen silent, and not before."""

import asyncio

import pytest

from router.cache.subscriber import _BusSilence

pytestmark = pytest.mark.asyncio


async def test_nothing_is_looked_at_while_the_bus_is_heard() -> None:
    """Who pauses is woken when the silence may have begun, not every moment before."""
    left = 0.05
    silence = _BusSilence(lambda: left)
    assert not silence.moved()
    await asyncio.wait_for(silence.pause(), 30.0)  # its time, were nothing more heard
    left = 0.0
    assert silence.moved()
    await asyncio.wait_for(silence.pause(), 30.0)  # a moment


async def test_a_lost_connection_ends_the_pause_at_once() -> None:
    """Nobody waits for the silence of a bus that is known to be lost, or for one that a heartbeat has put off."""
    left = 3600.0
    silence = _BusSilence(lambda: left)
    pausing = asyncio.ensure_future(silence.pause())
    await asyncio.sleep(0)  # one turn of the loop: it waits now
    left = 0.0
    silence.news()
    await asyncio.wait_for(pausing, 30.0)
    assert silence.moved()
