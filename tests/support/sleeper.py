"""A resource that sleeps, on a running proxy, and the control process's side of waking it, played by the test."""

import time
from typing import Any

from router.routes.records import Endpoint, State
from router.routes.wakes import Wake, WakeRecord, WakeState
from router.wake.waker import Reason
from tests.support.edge import RunningEdge
from tests.support.records import resource
from tests.support.wire import Backend


class FakeWaker:
    """Notes what is asked of it. `fault`: why it cannot be asked. `full`: whether its queue is."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, Reason]] = []
        self.fault: type[Exception] | None = None
        self.full = False

    async def ask(self, resource_id: str, port: int, reason: Reason, request_id: str) -> bool:
        assert request_id
        self.asked.append((resource_id, port, reason))
        if self.fault is not None:
            raise self.fault("the test says so")
        return not self.full


class Sleeper:
    """The resource `shop`, whose program is `backend`."""

    def __init__(self, edge: RunningEdge, waker: FakeWaker, *, listening: bool = True, **changes: Any) -> None:
        self.edge = edge
        self.waker = waker
        self.backend: Backend = edge.backend("shop", listening=listening)
        self._changes = {"wake": Wake.ANY} | changes
        self._version = 1
        self.becomes(State.PAUSED)

    def becomes(self, state: State, **changes: Any) -> None:
        """The platform says what it is doing now."""
        self._version += 1
        endpoint = Endpoint("127.0.0.1", "boot-1") if state is State.RUNNING else None
        values = {"state": state, "endpoint": endpoint, "default_port": self.backend.port, "version": self._version}
        self.record = resource("shop", **self._changes | values | changes)
        self.edge.put(self.record)

    def says(self, state: WakeState, **changes: Any) -> None:
        """How far its wake has come."""
        self._version += 1
        now = time.time()
        values: dict[str, Any] = {"since": now, "until": now + 60, "version": self._version} | changes
        self.edge.put(WakeRecord("id-of-shop", state, **values))

    @property
    def held(self) -> int:
        """How many wait for it."""
        wakes = self.edge.proxy._worker.wakes
        return 0 if wakes is None else wakes.held

    @property
    def results(self) -> dict[str, int]:
        """What became of those that did, by the metric."""
        return {labels[0]: number for labels, number in self.edge.metrics._counts["hold_results"].items() if number}
