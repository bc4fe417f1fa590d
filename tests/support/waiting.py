"""Waiting for what must come true: conditions with deadlines, in place of sleeps."""

import asyncio
import time
from collections.abc import Callable

PAUSE = 0.02


def until(condition: Callable[[], object], what: str, within: float = 30.0) -> None:
    """Wait until `condition()` is true. Fails, naming `what` did not come true, after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(PAUSE)


async def eventually(condition: Callable[[], object], what: str, within: float = 30.0) -> None:
    """As `until`, while the event loop goes on."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(PAUSE)
