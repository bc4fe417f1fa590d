"""Waking as a worker sees it: it asks its control process."""

from functools import partial

from router.node.ipc.messages import WakeRequest
from router.node.ipc.worker_side import WorkerSide
from router.wake.waker import Reason


class WakeClient:
    """wake.waker.Waker. Each request has `within` seconds."""

    def __init__(self, worker_side: WorkerSide, *, within: float) -> None:
        self._worker_side = worker_side
        self._within = within

    async def ask(self, resource_id: str, port: int, reason: Reason, request_id: str) -> bool:
        ask = partial(WakeRequest, resource_id, port, reason, request_id)
        return not (await self._worker_side.ask(ask, self._within)).full
