"""The operators' sockets of a node, asked as a tool asks them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=20)


@asynccontextmanager
async def runtime_folder() -> AsyncIterator[Path]:
    """A folder with a short name: the kernel takes 107 characters for a socket's."""
    with TemporaryDirectory(prefix="op-") as folder:
        yield Path(folder)


async def call(
    socket: Path, method: str, path: str, body: object = None, query: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """(status, JSON) of one call."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=_TIMEOUT) as session,
        session.request(method, f"http://node{path}", json=body, params=query) as response,
    ):
        return response.status, await response.json()
