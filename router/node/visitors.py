"""What the process that has the store does for visitors of previews, its own and its workers'."""

from router.base.clock import Clock
from router.store import Store
from router.tenancy.preview_secrets import PreviewSecrets


class StoreVisitors:
    """access.visitors.Visitors, on an open store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._secrets = PreviewSecrets(store, clock)

    async def use_up(self, secret_id: str) -> bool:
        return await self._secrets.use_up(secret_id)
