"""Connecting to a backend. The one place of the data plane where something is awaited besides a look-up.

A refusal or a reset at once means that nothing has been acted on, so it is tried again: a dev server that restarts
refuses for some hundred milliseconds. A time-out is not: the time is spent.
"""

import asyncio

from router.errors import BACKEND_TIMEOUT, PORT_CLOSED, Problem
from router.proxy.backend import BackendConnection
from router.proxy.edge import Edge
from router.proxy.pool import Pool

_FIRST_PAUSE = 0.05  # doubled each time: 50, 100, 200 ms fit four tries into the default window of 1 s


class DialError(Exception):
    """No connection. `problem` is what to answer, `kind` the metric's label, `by_time` whether time ran out."""

    def __init__(self, problem: Problem, kind: str, tries: int, *, by_time: bool) -> None:
        self.problem = problem
        self.kind = kind
        self.tries = tries
        self.by_time = by_time
        super().__init__(kind)


async def dial(edge: Edge, pool: Pool) -> tuple[BackendConnection, int]:
    """A new connection for `pool`, and how many tries it took. Raises DialError."""
    loop = asyncio.get_running_loop()
    limits = edge.limits
    started = edge.time()
    pause = _FIRST_PAUSE
    tries = 0
    while True:
        tries += 1
        backend = BackendConnection(edge, pool)
        try:
            async with asyncio.timeout(limits.dial):
                await loop.create_connection(lambda made=backend: made, pool.address, pool.port)  # type: ignore[misc]
        except asyncio.CancelledError:
            # It may have come up at this very moment; the loop then closes it without a word to the protocol.
            backend.forget()
            raise
        except TimeoutError:
            backend.forget()
            raise DialError(BACKEND_TIMEOUT, "dial_timeout", tries, by_time=True) from None
        except (ConnectionRefusedError, ConnectionResetError) as error:
            if tries >= limits.dial_tries or edge.time() - started + pause > limits.dial_window:
                kind = "dial_refused" if isinstance(error, ConnectionRefusedError) else "dial_reset"
                raise DialError(PORT_CLOSED, kind, tries, by_time=False) from None
            await asyncio.sleep(pause)
            pause *= 2
        except OSError as error:
            raise DialError(PORT_CLOSED, "dial_unreachable", tries, by_time=False) from error
        else:
            return backend, tries
