"""A running proxy for each wire test, on the loop that it runs on in production."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest_asyncio
import uvloop

from tests.support.edge import RunningEdge

BuildEdge = Callable[..., Awaitable[RunningEdge]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture
async def build_edge() -> AsyncIterator[BuildEdge]:
    """Starts proxies: `await build_edge(body_idle=0.1)`. Each is checked for what it left when the test is over."""
    async with contextlib.AsyncExitStack() as running:

        async def build(**options: object) -> RunningEdge:
            edge = RunningEdge(**options)  # type: ignore[arg-type]
            await edge.start()
            running.push_async_callback(edge.stop)
            return edge

        yield build


@pytest_asyncio.fixture
async def edge(build_edge: BuildEdge) -> RunningEdge:
    """A proxy with the default limits."""
    return await build_edge()
