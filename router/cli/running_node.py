"""The node that runs with the same settings, for what only its memory has: it is asked at its admin listener."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from router.outbound.connector import open_session
from router.settings.types import split_bind

_TIMEOUT: Final = 3.0  # seconds for the whole answer
_MAX_SIZE: Final = 8 << 20  # bytes of it: metrics of many workers
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class NodeResponse:
    """What a listener answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The body as a JSON object; None where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of /metrics, without our prefix in its name."""

    name: str
    labels: Mapping[str, str]
    value: float


def dialled(bind: str) -> tuple[str, int]:
    """Where a listener that is bound to `bind` is reached from this machine."""
    address, port = split_bind(bind)
    return _ANY.get(address, address), port


async def get(
    bind: str,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    limit: int = _MAX_SIZE,
) -> NodeResponse | None:
    """What answers a GET at the listener `bind`; None where nothing answers by HTTP, in time, with at most `limit` bytes."""
    address, port = dialled(bind)
    url = URL.build(scheme="http", host=address, port=port, path=path, query=query or {})
    resolver = None if _is_literal(address) else aiohttp.ThreadedResolver()
    try:
        async with (
            open_session(resolver=resolver, total=_TIMEOUT) as session,
            session.get(url, allow_redirects=False, headers=headers) as response,
        ):
            size = response.content_length
            if size is not None and size > limit:
                return None
            body = await response.content.read(limit) if size is None else await response.read()
            return NodeResponse(response.status, response.headers, body)
    except (OSError, aiohttp.ClientError, TimeoutError, ValueError):
        return None


async def explained_by_node(bind: str, host: str) -> Mapping[str, Any] | None:
    """What `/explain?host=` says on the admin listener at `bind`; None where no node answers there."""
    response = await get(bind, "/explain", {"host": host})
    return None if response is None or response.status != 200 else response.document


async def node_readiness(bind: str) -> Mapping[str, Any] | None:
    """What `/readyz` says on the admin listener at `bind`; None where no node answers there."""
    response = await get(bind, "/readyz")
    document = None if response is None else response.document
    return document if document is not None and _is_readiness(document) else None


def _is_readiness(document: Mapping[str, Any]) -> bool:
    """Whether that has the form of a node's /readyz: another program may listen there."""
    names = ("checks", "workers", "platform_names", "held_certificates")
    checks, workers, platform, held = (document.get(key) for key in names)
    return (
        isinstance(document.get("status"), str)
        and isinstance(checks, dict)
        and all(isinstance(one, dict) and {"ok", "detail"} <= one.keys() for one in checks.values())
        and (workers is None or (isinstance(workers, dict) and {"serving", "of"} <= workers.keys()))
        and (platform is None or (isinstance(platform, dict) and _is_platform(platform)))
        and (held is None or (isinstance(held, dict) and {"held", "fetched"} <= held.keys()))
    )


def _is_platform(found: Mapping[str, Any]) -> bool:
    return found.get("wildcard") is True or {"wildcard", "spent", "of"} <= found.keys()


async def node_metrics(bind: str) -> Sequence[Sample] | None:
    """What `/metrics` says on the admin listener at `bind`; None where no node answers there."""
    from prometheus_client.parser import text_string_to_metric_families

    from router.observe.metric_table import PREFIX

    response = await get(bind, "/metrics")
    if response is None or response.status != 200:
        return None
    try:
        families = list(text_string_to_metric_families(response.body.decode()))
    except ValueError:
        return None
    return [
        Sample(one.name.removeprefix(PREFIX), one.labels, one.value) for family in families for one in family.samples
    ]


def _is_literal(address: str) -> bool:
    return address.replace(".", "").isdecimal() or ":" in address
