"""An event loop whose time stands still until a test moves it: timers are due when the test says so."""

import asyncio

from router.base.clock import ManualClock


class StillLoop(asyncio.SelectorEventLoop):
    """Its `time` is that of `clock`, by default one of its own."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        super().__init__()

    def time(self) -> float:
        return self.clock.monotonic()


def still_clock() -> ManualClock:
    """The clock of the running loop, a StillLoop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    return loop.clock


async def turns(count: int = 20) -> None:
    """Let the loop run; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


async def pass_time(seconds: float) -> None:
    """Move the running loop's time forward, and let what is due then happen."""
    await turns()
    still_clock().advance(seconds)
    await turns()
