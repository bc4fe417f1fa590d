"""A developer who asks a running router's API with a key, by plain HTTP."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.router import Router

_TIME = 30.0  # seconds until what was asked for is there


class Developer:
    """One of a tenant, with a key of the whole tenant."""

    def __init__(self, router: Router, name: str) -> None:
        self.router = router
        self.tenant_id = router.tenant(name)
        self._key = router.key(self.tenant_id)

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The status, and the answer's `data`, or its `error`."""
        status, found = await asyncio.to_thread(self.router.ask, self._key, method, path, body)
        return status, found.get("data", found.get("error"))

    async def records(self, resource_id: str, kind: str = "sandboxes") -> list[Mapping[str, Any]]:
        """The newest records of a resource."""
        status, found = await self.ask("GET", f"/{kind}/{resource_id}/request-logs")
        assert status == 200, found
        return list(found["items"])

    async def record(self, resource_id: str, wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """The newest such record, once there is one."""
        async with asyncio.timeout(_TIME):
            while True:
                for item in await self.records(resource_id):
                    if wanted(item):
                        return item
                await asyncio.sleep(0.1)

    async def until(self, path: str) -> Any:
        """What is there, once it is."""
        async with asyncio.timeout(_TIME):
            while True:
                status, found = await self.ask("GET", path)
                if status == 200:
                    return found
                await asyncio.sleep(0.1)
