"""What is open in one worker, and its end at an operator's word: exchanges and tunnels end as they do when access is withdrawn."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from router import errors
from router.observe import endings
from router.observe.ended_exchange import Finished

if TYPE_CHECKING:
    from router.proxy.exchange import Exchange
    from router.proxy.tunnel import Tunnel
    from router.proxy.worker_state import WorkerState

Open = tuple[Finished, str, float]
"""An exchange that has not ended, its phase (`observe/endings.py`), and for how many seconds its tunnel has carried nothing; -1 where it is
none."""

_PER_TURN: Final = 64  # that are ended at once, at some 20 µs each

_log = structlog.get_logger("router.proxy")


def open_exchanges(worker: "WorkerState") -> list[Open]:
    """All of this worker, those of tunnels among them."""
    found: list[Open] = [(one, one.phase, -1.0) for one in _exchanges(worker)]
    found += [(one.exchange, one.exchange.phase, max(0.0, worker.now - one.active_at)) for one in worker.tunnels]
    return found


def cut(worker: "WorkerState", chosen: Callable[[Finished], bool]) -> tuple[int, int]:
    """End those that are chosen: how many exchanges and tunnels these are. Tunnels hear a goodbye, responses that have begun break off, and
    all others are answered. Thousands end in several turns of the loop."""
    exchanges = [one for one in _exchanges(worker) if chosen(one)]
    tunnels = [one for one in worker.tunnels if chosen(one.exchange)]
    if (exchanges or tunnels) and not worker.tasks.closed:  # a worker that closes ends them itself
        worker.tasks.start("cut", _cut(exchanges, tunnels))
    return len(exchanges), len(tunnels)


def _exchanges(worker: "WorkerState") -> "list[Exchange]":
    running = [client.exchange for client in worker.clients if client.exchange is not None]
    return [exchange for exchange in running if not exchange.over]


async def _cut(exchanges: "Sequence[Exchange]", tunnels: "Sequence[Tunnel]") -> None:
    for start in range(0, len(tunnels), _PER_TURN):
        for tunnel in tunnels[start : start + _PER_TURN]:
            try:
                tunnel.finish(endings.EDGE_IN_TUNNEL, goodbye=True)
            except Exception:  # noqa: BLE001 - one connection's fault is not the others'
                _log.exception("a tunnel could not be cut, closing it")
                tunnel.drop()
        await asyncio.sleep(0)
    for start in range(0, len(exchanges), _PER_TURN):
        for exchange in exchanges[start : start + _PER_TURN]:
            try:
                exchange.stop(errors.SESSION_CLOSED)
            except Exception:  # noqa: BLE001 - as above
                _log.exception("an exchange could not be cut, closing it", request_id=exchange.request_id)
                exchange.crash()
        await asyncio.sleep(0)
