"""Deadlines of connections, enforced by a pass over all of them twice a second; once a second while nothing is open.

A timer per connection would be set and cancelled with every request. One pass over 20,000 connections takes about a
millisecond, so a pass per second costs a tenth of a percent, and a deadline is at most a second late. Where a limit is
shorter than that, passes are as frequent as it needs.

A fault in one connection ends that connection, not the sweep: without it no other deadline would be kept.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Union

import structlog

from router.base.ticks import until_tick
from router.proxy import socket_state
from router.proxy.worker_state import WorkerState
from router.settings import Limits

if TYPE_CHECKING:
    from router.proxy.client import ClientConnection
    from router.proxy.tunnel import Tunnel

Connection = Union["ClientConnection", "Tunnel"]

_MAX_PAUSE: Final = 0.5
_MIN_PAUSE: Final = 0.01
_SHARE: Final = 5  # passes in the shortest limit
_REST_PAUSE: Final = 1.0  # where nothing is open
_PER_TURN: Final = 500  # connections of which the kernel is asked in one turn of the loop, at some 2 µs
_PROGRESS_EVERY: Final = 0.1  # of `body_idle`: between two checks of whether what was written is being taken
_EXPIRED_PER_TURN: Final = 32  # connections that are ended at once, at some 20 µs each
_USE_EVERY: Final = 50.0  # between two notes of what an open stream or tunnel uses: the platform relies on one a minute
_FORGET_ACTIVITY: Final = 3600.0  # seconds that the last use of a resource is remembered

_log = structlog.get_logger("router.proxy")


def pause_of(limits: Limits) -> float:
    """Seconds between two passes: a fifth of the shortest limit that the sweep keeps."""
    shortest = min(
        limits.head_time,
        limits.client_idle,
        limits.backend_idle,
        limits.backend_idle_unsaid,
        limits.first_byte,
        limits.body_idle,
        limits.half_close,
        limits.linger,
        limits.linger_idle,
        limits.tunnel_idle,
        limits.tunnel_lifetime,
        limits.queue_time or limits.tunnel_lifetime,
    )
    return max(_MIN_PAUSE, min(_MAX_PAUSE, shortest / _SHARE))


async def sweep(worker: WorkerState) -> None:
    """Enforce the deadlines until cancelled."""
    pause = pause_of(worker.limits)
    rest = min(_REST_PAUSE, pause * _SHARE)  # what comes meanwhile has a limit longer than that
    while True:
        await asyncio.sleep(pause if worker.open else until_tick(rest))
        try:
            await _pass(worker)
        except Exception:  # noqa: BLE001 - without the sweep no deadline would be kept
            _log.exception("sweep failed, next one follows")


async def _pass(worker: WorkerState) -> None:
    """As `run`, in several turns of the loop where there is much to do."""
    began = worker.time()
    unread = unread_clients(worker)
    gone = 0
    for start in range(0, len(unread), _PER_TURN):
        worker.now = worker.time()
        gone += tell_hung_up(unread[start : start + _PER_TURN])
        began = await _next_turn(worker, began)
    worker.without_client = gone
    timed = due_for_progress(worker)
    for start in range(0, len(timed), _PER_TURN):
        worker.now = worker.time()
        note_progress(timed[start : start + _PER_TURN])
        began = await _next_turn(worker, began)
    busy = due_for_use(worker)
    for start in range(0, len(busy), _PER_TURN):
        note_use(busy[start : start + _PER_TURN], worker.time())
        began = await _next_turn(worker, began)
    more = enforce(worker)
    while more:
        began = await _next_turn(worker, began)
        worker.now = worker.time()
        more = worker.pools.sweep(worker.now)
    _note_turn(worker, began)


async def _next_turn(worker: WorkerState, began: float) -> float:
    """Go on in the next turn of the loop; when that begins. This one began at `began`."""
    _note_turn(worker, began)
    await asyncio.sleep(0)
    return worker.time()


def _note_turn(worker: WorkerState, began: float) -> None:
    worker.metrics.observe("loop_step_seconds", worker.time() - began, "sweep")


def run(worker: WorkerState) -> bool:
    """One pass in one go; as `enforce`."""
    worker.now = worker.time()
    worker.without_client = tell_hung_up(unread_clients(worker))
    note_progress(due_for_progress(worker))
    note_use(due_for_use(worker), worker.now)
    return enforce(worker)


def unread_clients(worker: WorkerState) -> list[Connection]:
    """Connections whose client is not being read from, so that its end or reset would not be noticed."""
    unread: list[Connection] = [client for client in worker.clients if client.unread]
    unread += [tunnel for tunnel in worker.tunnels if tunnel.unread]
    return unread


def tell_hung_up(unread: list[Connection]) -> int:
    """Tell those whose client has left, which the kernel knows; how many there were."""
    by_file = {one.client_file(): one for one in unread if one.unread}
    by_file.pop(-1, None)
    gone = socket_state.hung_up(by_file)
    for file, broken in gone:
        connection = by_file[file]
        _guarded(connection, partial(connection.hung_up, broken=broken))
    return len(gone)


def due_for_progress(worker: WorkerState) -> list[Connection]:
    """Connections whose time without progress is limited, when the next check is due; else none."""
    if worker.now < worker.progress_at:
        return []
    worker.progress_at = worker.now + worker.body_idle * _PROGRESS_EVERY
    timed: list[Connection] = [client for client in worker.clients if client.timed]
    timed += worker.tunnels
    return timed


def note_progress(timed: list[Connection]) -> None:
    """Check of each whether the other side has taken what is written to it: that counts as a sign of life."""
    for one in timed:
        if one.timed:
            _guarded(one, one.note_progress)


def due_for_use(worker: WorkerState) -> list[Connection]:
    """Connections that may be using a resource, when the next note of that is due; else none."""
    if worker.now < worker.use_at:
        return []
    worker.use_at = worker.now + _USE_EVERY
    busy: list[Connection] = [client for client in worker.clients if client.exchange is not None]
    busy += worker.tunnels
    return busy


def note_use(busy: list[Connection], now: float) -> None:
    """Note of each whether its resource is in use."""
    for one in busy:
        _guarded(one, partial(one.note_use, now))


def enforce(worker: WorkerState) -> bool:
    """Enforce all deadlines; whether idle backend connections are left open that are due, since closing all of them at
    once would delay others."""
    worker.now = now = worker.time()
    due = [client for client in worker.clients if client.deadline < now]
    for client in due[:_EXPIRED_PER_TURN]:
        _guarded(client, client.expired)
    for client in due[_EXPIRED_PER_TURN:]:  # thousands may be due at once: they stand in line
        worker.budget.later(partial(_expire, worker, client))
    for tunnel in tuple(worker.tunnels):
        _guarded(tunnel, partial(tunnel.check, now))
    for connection in (*worker.http2_clients, *worker.http2_backends):
        connection.check(now)
    worker.abort_leaving(now)
    worker.connection_limits.check()
    worker.tell_errors()
    worker.heap.check(len(worker.clients) + len(worker.tunnels))
    worker.forget_idle_activities(now - _FORGET_ACTIVITY)
    return worker.pools.sweep(now)


def _expire(worker: WorkerState, client: "ClientConnection") -> None:
    if client.deadline < worker.now:
        _guarded(client, client.expired)


def _guarded(connection: Connection, step: Callable[[], None]) -> None:
    """Do `step` for this connection; where it fails, log it and end the connection."""
    try:
        step()
    except Exception:  # noqa: BLE001 - one connection's fault is not the others'
        _log.exception("sweep failed for a connection, closing it", connection=repr(connection))
        connection.drop()
