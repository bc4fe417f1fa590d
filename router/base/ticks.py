"""What recurs at the same instants, so that a process at rest is woken once for all of it.

Waking a process that sleeps takes some 100 µs of a core, and what most of them do then is to see that there is nothing to do.
"""

import asyncio

_SHORTEST = 0.1  # of the interval: a timer that came a millisecond early does not come again at once


def until_tick(every: float) -> float:
    """Seconds until the loop's time is a multiple of `every`: no more than `every` and a tenth."""
    if every <= 0:
        return 0.0
    left = every - asyncio.get_running_loop().time() % every
    return left if left >= every * _SHORTEST else left + every


async def tick(every: float) -> None:
    """Sleep until then."""
    await asyncio.sleep(until_tick(every))
