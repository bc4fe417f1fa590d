"""The loops that tests of a worker run on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A module's `LOOP`, where it has one: with a StillLoop none of its tests waits for real time."""
    assert isinstance(item, pytest.Function)
    loop = getattr(item.module, "LOOP", asyncio.new_event_loop)
    return {loop.__name__: loop}
