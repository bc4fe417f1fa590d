"""The addresses that this node listens on: free, or held by it."""

import asyncio

from router.cli.checks.finding import Finding, Report, error
from router.cli.checks.known import Known
from router.cli.running_node import NodeResponse, get
from router.node.sockets import ListenError, listen
from router.proxy.local_responses import HEALTH
from router.settings import Settings

_MAX_SIZE = 64 * 1024  # bytes of a stranger's answer


async def check(known: Known) -> Report:
    binds = bound(known.settings)
    found = await asyncio.gather(*(_look(name, bind, known) for name, bind in binds.items()))
    state = "held by the running node" if known.runs else "free"
    return Report(
        [one for one in found if one is not None],
        f"{', '.join(f'{name} {bind}' for name, bind in binds.items())}: {state}",
    )


def bound(settings: Settings) -> dict[str, str]:
    """The listeners of the node's roles, and where each is bound."""
    binds = {"proxy": settings.proxy_bind, "api": settings.api_bind, "admin": settings.admin_bind}
    return {name: bind for name, bind in binds.items() if name in settings.roles}


async def _look(name: str, bind: str, known: Known) -> Finding | None:
    setting = f"`{name}_bind`"
    try:
        await asyncio.to_thread(_try, name, bind)
    except ListenError as refused:
        if await answers_as_ours(name, bind):
            return None
        return error(
            "port_taken",
            f"{refused}, and what has it does not answer as the {name} listener of a router",
            "so a node cannot start, or another program gets its requests",
            f"end that program (`ss -ltnp` names it), or set {setting} to a free address",
        )
    if known.runs:
        return error(
            "not_listening",
            f"nothing listens on {bind} ({setting}), although a node runs with this `admin_bind`",
            f"so nobody reaches its {name} listener",
            "restart the node if the setting has changed since its start, else look at its log",
        )
    return None


def _try(name: str, bind: str) -> None:
    listen(name, bind, backlog=None).close()


async def answers_as_ours(name: str, bind: str) -> bool:
    """Whether what answers at `bind` is that listener of a router."""
    if name == "proxy":
        response = await get(bind, "/livez", headers={"Host": HEALTH.decode()}, limit=_MAX_SIZE)
        return is_edge(response)
    response = await get(bind, "/", limit=_MAX_SIZE)
    document = None if response is None else response.document
    if document is None:
        return False
    return document.get("listener") == "admin" if name == "admin" else "/openapi.json" in (document.get("links") or {})


def is_edge(response: NodeResponse | None) -> bool:
    """Whether that is how a proxy listener answers a health check, be it through Caddy."""
    return response is not None and "miosa" in response.headers.get("Proxy-Status", "")
