"""The node that runs with the same settings, for what only its memory has."""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from router.outbound.connector import open_session
from router.settings.types import split_bind

_TIMEOUT: Final = 3.0  # seconds for the whole answer
_MAX_SIZE: Final = 1 << 20  # bytes of it
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def explained_by_node(bind: str, host: str) -> Mapping[str, Any] | None:
    """What `/explain?host=` says on the admin listener at `bind`; None where no node answers there."""
    address, port = split_bind(bind)
    url = URL.build(scheme="http", host=_ANY.get(address, address), port=port, path="/explain", query={"host": host})
    try:
        async with open_session(total=_TIMEOUT) as session, session.get(url, allow_redirects=False) as response:
            size = response.content_length
            known = response.status == 200 and size is not None and size <= _MAX_SIZE
            found = json.loads(await response.read()) if known else None
    except (OSError, aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return found if isinstance(found, dict) else None
