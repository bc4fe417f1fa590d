"""Deadlines of connections, kept by looking at all of them now and then.

A timer per connection would be set and cancelled with every request. One pass over 20,000 connections takes about a
millisecond, so a pass per second costs a tenth of a percent, and a deadline is at most a second late. Where a limit is
shorter than that, passes are as frequent as it needs.
"""

import asyncio

from router.proxy.edge import Edge
from router.settings import Limits

_LONGEST_PAUSE = 0.5
_SHORTEST_PAUSE = 0.01
_FORGET_LOADS = 3600.0  # seconds that the last use of a resource is remembered


def pause_of(limits: Limits) -> float:
    """Seconds between two passes: a fifth of the shortest limit that the sweep keeps."""
    shortest = min(
        limits.head_time,
        limits.client_idle,
        limits.backend_idle,
        limits.body_idle,
        limits.half_close,
        limits.tunnel_idle,
        limits.tunnel_lifetime,
    )
    return max(_SHORTEST_PAUSE, min(_LONGEST_PAUSE, shortest / 5))


async def sweep(edge: Edge) -> None:
    """Keep the deadlines until cancelled."""
    pause = pause_of(edge.limits)
    while True:
        await asyncio.sleep(pause)
        more = run(edge)
        while more:
            await asyncio.sleep(0)
            edge.now = edge.time()
            more = edge.pools.sweep(edge.now - edge.limits.backend_idle)


def run(edge: Edge) -> bool:
    """One pass; whether it has left idle connections open that are due, so that nobody has to wait for long."""
    edge.now = now = edge.time()
    for client in [client for client in edge.clients if client.deadline < now]:
        client.expired()
    for tunnel in tuple(edge.tunnels):
        tunnel.check(now)
    edge.abort_leaving(now)
    edge.forget_idle_loads(now - _FORGET_LOADS)
    return edge.pools.sweep(now - edge.limits.backend_idle)
