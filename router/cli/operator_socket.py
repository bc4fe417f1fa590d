"""The running node, asked at its operators' sockets: for tools that show or change what only its processes have."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from router.cli.run_command import CommandError
from router.operator.listening import ACT_SOCKET, READ_SOCKET

if TYPE_CHECKING:
    from router.settings import Settings

_TIMEOUT: Final = 10.0  # seconds for a whole answer
_MAX_LINE: Final = 1 << 20


async def read(settings: "Settings", path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the node answers to a question. Raises CommandError."""
    async with _called(settings, "GET", path, query=query) as response:
        return await _document(response)


async def act(settings: "Settings", path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Have the node do something; what it answers. Raises CommandError."""
    async with _called(settings, "POST", path, body=body) as response:
        return await _document(response)


async def lines(settings: "Settings", path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """The JSON lines of a stream, until the node ends it. Raises CommandError."""
    async with _called(settings, "GET", path, query=query, total=None) as response:
        try:
            async for line in response.content:
                yield json.loads(line)
        except (aiohttp.ClientError, ValueError) as error:
            raise CommandError("node_gone", "the node has ended the connection") from error


@asynccontextmanager
async def _called(
    settings: "Settings",
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    total: float | None = _TIMEOUT,
) -> AsyncIterator[aiohttp.ClientResponse]:
    file = _socket(settings, acts=method != "GET")
    url = URL.build(scheme="http", host="node", path=path, query=query or {})
    connector = aiohttp.UnixConnector(str(file))
    timeout = aiohttp.ClientTimeout(total=total, sock_connect=_TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_MAX_LINE) as session:
        try:
            response = await session.request(method, url, json=body)
        except (aiohttp.ClientConnectorError, FileNotFoundError) as error:
            raise _unreachable(file, error) from error
        except TimeoutError:
            raise CommandError("node_silent", f"no answer at {file} within {_TIMEOUT:g} s") from None
        except aiohttp.ClientError as error:
            raise CommandError("node_gone", f"the node ended the connection at {file}") from error
        async with response:
            if response.status != 200:
                raise await _refused(response)
            yield response


def _socket(settings: "Settings", *, acts: bool) -> Path:
    folder = settings.runtime_dir
    if folder is None:
        raise CommandError(
            "no_runtime_dir",
            "the running node can't be reached: set `runtime_dir` in its settings, restart it, and give this command the same"
            " settings (--config)",
        )
    return folder / (ACT_SOCKET if acts else READ_SOCKET)


def _unreachable(file: Path, error: OSError) -> CommandError:
    reason = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(reason, PermissionError):
        return CommandError(
            "not_permitted",
            f"you may not write to {file}: its mode and group (`operator.*`) say who may use it, and so do the folders above",
        )
    return CommandError("node_away", f"no node with these settings answers at {file}: {reason.strerror or reason}")


async def _document(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        found = await response.json()
    except (aiohttp.ClientError, ValueError, TimeoutError) as error:
        raise CommandError("node_gone", "the node's answer broke off") from error
    if not isinstance(found, dict):
        raise CommandError("not_a_node", "what answers at the socket is not a node of this version")
    return found


async def _refused(response: aiohttp.ClientResponse) -> CommandError:
    error = (await _document(response)).get("error") or {}
    return CommandError(error.get("code") or "refused", error.get("message") or f"HTTP {response.status}")
