"""What a worker asks its control process for visitors of previews."""

from functools import partial

from router.node.ipc.messages import UseUpRequest
from router.node.ipc.worker_side import WorkerSide


class VisitorsClient:
    """access.visitors.Visitors, in the control process. Each request has `within` seconds."""

    def __init__(self, worker_side: WorkerSide, *, within: float) -> None:
        self._worker_side = worker_side
        self._within = within

    async def use_up(self, secret_id: str) -> bool:
        """Whether this was the first visitor by the link, on any node. Raises StoreUnavailableError: it may have been."""
        answer = await self._worker_side.ask(partial(UseUpRequest, secret_id), self._within)
        return answer.first
