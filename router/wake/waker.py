"""How a request has a resource woken. What came of it is in the record under `routes.wakes.wake_key`."""

import enum
from typing import Protocol


class Reason(enum.StrEnum):
    """What kind of request it was."""

    HTTP = "http"
    WEBSOCKET = "websocket"


class Waker(Protocol):
    """Asks for wakes: the platform is called once per resource over the whole fleet, however often this is."""

    async def ask(self, resource_id: str, port: int, reason: Reason, request_id: str) -> bool:
        """Have it woken. Returns once that is noted: it is being woken, waits in the queue, or could not be woken lately, as
        the record says from then on. No record: it does not sleep, or may not be woken. False: the queue is full, and nothing
        is noted.

        Who waits asks again, three times in each `wake.budget`: what nobody has asked for in that loses its place in the queue.
        Raises StoreUnavailableError."""
