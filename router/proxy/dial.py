"""Connect to a backend. Besides look-ups of hosts this is the only place of the data plane that awaits.

After a refusal or an immediate reset the dial is tried again, since nothing can have been acted on: a dev server that
restarts refuses for some hundred milliseconds. Where there is no answer, it begins anew after 0.3 s, twice that, and so on:
the kernel would repeat its SYN after one, three and seven seconds, and where a listener's short queue was full that is
long. What has come while this process stood still is looked at before it gives up, so that a connection that is up is
not thrown away. After `limits.dial` it is over, unless the backend has accepted or answered anything meanwhile. If we have no
descriptor or port left, idle connections are closed and the dial is tried again too; what fails then is our fault, not
the backend's.

A port whose scheme is https is spoken to over TLS, the handshake within the same deadline. Its certificate is not looked
at: programs in sandboxes make their own, and who can stand between us and a sandbox is the platform itself. What TLS is
for here is that such programs can be reached at all.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar, cast

from router.errors import CONNECT_TIMEOUT, OVERLOADED, PORT_CLOSED, TLS_EXPECTED, WRONG_PROTOCOL, Problem
from router.proxy.backend import BackendConnection
from router.proxy.h2_backend import Http2Backend
from router.proxy.pool import Pool
from router.proxy.worker_state import WorkerState
from router.routes.records import H2C

_FIRST_PAUSE = 0.05  # seconds, doubled each time: 50, 100, 200 ms fit four tries into the default window of 1 s
_FIRST_PATIENCE: Final = 0.3  # seconds for an answer to a SYN, doubled each time
_LOOKS: Final = 10  # turns of the loop; from a socket that is connected to its protocol it takes about five
_SLACK: Final = 0.001  # seconds by which a timer may be early
_USED_UP: Final = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)
)


def _any_certificate(protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


_TLS: Final = _any_certificate("http/1.1")
_TLS_HTTP2: Final = _any_certificate("h2")

Dialled = TypeVar("Dialled", BackendConnection, Http2Backend)


class DialError(Exception):
    """No connection. `problem` is the response, `kind` the metric's label, `by_time` whether time ran out."""

    def __init__(self, problem: Problem, kind: str, tries: int, *, by_time: bool) -> None:
        self.problem = problem
        self.kind = kind
        self.tries = tries
        self.by_time = by_time
        super().__init__(kind)


class _Wait:
    """A limit of so many seconds for what comes from a socket: then the task is cancelled. Where the process stands still, for
    want of a processor, its timers are due before it has seen what came meanwhile; so there are some more turns of the loop
    to see it. `asyncio.timeout` with a limit that is set later would do the same, with two coroutines more for each dial."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[object]", seconds: float) -> None:
        self._loop = loop
        self._task = task
        self._cancelled_before = task.cancelling()
        self._is_due = False
        self._looks = _LOOKS
        self._handle: asyncio.Handle = loop.call_later(seconds, self._look)

    def _look(self) -> None:
        if self._looks:
            self._looks -= 1
            self._handle = self._loop.call_soon(self._look)
        else:
            self._is_due = True
            self._task.cancel()

    def over(self) -> bool:
        """Stop the timer, once the wait has ended. Returns whether this time limit cancelled the task, and nothing else did."""
        self._handle.cancel()
        return self._is_due and self._task.uncancel() <= self._cancelled_before


async def dial(worker: WorkerState, pool: Pool, slow: Callable[[], None]) -> tuple[BackendConnection, int]:
    """A new connection for `pool`, and how many tries it took. `slow` is called where none comes up at once. Raises
    DialError."""
    if pool.protocol == H2C:
        return await _stream(worker, pool)
    return await _connect(worker, pool, lambda: BackendConnection(worker, pool), _TLS, slow)


async def _stream(worker: WorkerState, pool: Pool) -> tuple[BackendConnection, int]:
    """A stream of the pool's connection. Those that come while it is dialled wait for the same dial, which goes on when one
    of them leaves and is given up when all have."""
    known = pool.http2
    if known is not None and known.usable:
        return known.stream(), 1
    dialling = pool.dialling
    if dialling is None or dialling.done():
        dialling = pool.dialling = worker.tasks.start("dial HTTP/2", _connect_http2(worker, pool))
    failed = await asyncio.shield(dialling)
    if failed is not None:
        raise DialError(failed.problem, failed.kind, failed.tries, by_time=failed.by_time)
    made = pool.http2
    if made is None or not made.usable:  # it has ended at once
        raise DialError(WRONG_PROTOCOL, "dial_http2", 1, by_time=False)
    return made.stream(), 1


async def _connect_http2(worker: WorkerState, pool: Pool) -> DialError | None:
    """Dial `pool.http2`, and wait for its settings."""
    try:
        made, tries = await _connect(worker, pool, lambda: Http2Backend(worker, pool), _TLS_HTTP2, _ignore)
    except DialError as error:
        return error
    try:
        async with asyncio.timeout(worker.limits.dial):
            speaks = await made.settled
    except TimeoutError:
        made.forget()
        return DialError(CONNECT_TIMEOUT, "dial_timeout", tries, by_time=True)
    except asyncio.CancelledError:
        made.forget()
        raise
    if not speaks:
        return DialError(WRONG_PROTOCOL, "dial_http2", tries, by_time=False)
    pool.http2 = made
    return None


def _ignore() -> None:
    pass


async def _connect(
    worker: WorkerState, pool: Pool, make: Callable[[], Dialled], tls: ssl.SSLContext, slow: Callable[[], None]
) -> tuple[Dialled, int]:
    """A connection for a protocol that `make` makes, and how many tries it took. Raises DialError."""
    loop = asyncio.get_running_loop()
    task = cast("asyncio.Task[object]", asyncio.current_task())
    limits = worker.limits
    started = patient_since = worker.time()
    patience = _FIRST_PATIENCE if pool.server_name is None else limits.dial  # which a TLS handshake may need
    pause = _FIRST_PAUSE
    tries = 0
    worker.connection_limits.dialling()
    while True:
        tries += 1
        made = make()
        protocol: asyncio.Protocol = cast(asyncio.Protocol, made)
        left = patient_since + limits.dial - worker.time()
        wait = _Wait(loop, task, min(patience, max(left, 0.0)))
        try:
            await loop.create_connection(
                partial(_same, protocol),
                pool.address,
                pool.port,
                ssl=None if pool.server_name is None else tls,
                server_hostname=pool.server_name,
            )
        except (asyncio.CancelledError, TimeoutError) as error:
            # It may have connected at this very moment; the loop then closes it without calling the protocol.
            made.forget()
            if not wait.over() and isinstance(error, asyncio.CancelledError):
                raise
            slow()
            tries -= 1
            patience *= 2
            if worker.time() - patient_since >= limits.dial - _SLACK:
                if pool.progress_at <= patient_since:
                    raise DialError(CONNECT_TIMEOUT, "dial_timeout", tries + 1, by_time=True) from None
                patient_since = worker.time()
                patience = _FIRST_PATIENCE
        except OSError as error:
            wait.over()
            problem, kind = _failure(error, tls=pool.server_name is not None)
            if problem is OVERLOADED:
                worker.connection_limits.used_up(error)
            last = tries >= limits.dial_tries or worker.time() - started + pause > limits.dial_window
            if last or kind in ("dial_unreachable", "dial_tls"):
                raise DialError(problem, kind, tries, by_time=False) from error
            await asyncio.sleep(pause)
            pause *= 2
        except BaseException:
            wait.over()
            raise
        else:
            wait.over()
            return made, tries


def _same(protocol: asyncio.Protocol) -> asyncio.Protocol:
    return protocol


def _failure(error: OSError, *, tls: bool) -> tuple[Problem, str]:
    """The response, and the metric's label."""
    # A program that does not know TLS answers the handshake in its own words, closes, or resets.
    if tls and isinstance(error, (ssl.SSLError, ConnectionResetError, ConnectionAbortedError)):
        return TLS_EXPECTED, "dial_tls"
    if isinstance(error, ConnectionRefusedError):
        return PORT_CLOSED, "dial_refused"
    if isinstance(error, ConnectionResetError):
        return PORT_CLOSED, "dial_reset"
    if error.errno in _USED_UP:
        return OVERLOADED, "no_descriptor"
    return PORT_CLOSED, "dial_unreachable"
