"""How many made-up keys of `X-Miosa-Debug` are looked up."""

import asyncio

import pytest

from router.proxy import debug_timing
from router.proxy.client import ClientConnection
from router.proxy.debug_timing import KeyLookUps
from router.proxy.exchange import Exchange
from tests.unit.proxy.build import Line, build_worker


def test_so_many_a_second() -> None:
    """Twenty, and again as time passes."""
    look_ups = KeyLookUps(0.0)
    begun = 0
    for _ in range(100):
        if look_ups.begin(0.0):
            begun += 1
            look_ups.end(known=False)
    assert begun == 20
    assert look_ups.begin(0.1)
    look_ups.end(known=False)
    assert look_ups.begin(0.1)
    assert not look_ups.begin(0.1)


def test_keys_that_are_somebodys_do_not_count() -> None:
    look_ups = KeyLookUps(0.0)
    for _ in range(100):
        assert look_ups.begin(0.0)
        look_ups.end(known=True)


def test_so_many_at_once() -> None:
    look_ups = KeyLookUps(0.0)
    assert [look_ups.begin(0.0) for _ in range(17)] == [True] * 16 + [False]
    look_ups.end(known=True)
    assert look_ups.begin(0.0)


@pytest.mark.asyncio
async def test_who_leaves_before_the_look_up_has_begun_takes_no_place() -> None:
    """A task that is cancelled before its first step runs nothing that could give the place back."""
    worker = build_worker()
    client = ClientConnection(worker)
    client.connection_made(Line(peer="127.0.0.1"))
    head = worker.requests.read(b"GET / HTTP/1.1\r\nHost: shop.miosa.app\r\nX-Miosa-Debug: msk_live_x\r\n\r\n")
    assert head is not None
    for _ in range(16):
        assert worker.debug_look_ups.begin(0.0)
        exchange = Exchange(worker, client, head, 0.0)
        debug_timing._start(exchange, "a hash", 0.0)
        exchange.release(reusable=False)
    assert not worker.debug_look_ups.begin(10.0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert worker.debug_look_ups.begin(10.0)
    await worker.tasks.close()
