"""A running data plane for wire tests, with everything around it in memory, and the checks that it leaves nothing."""

import asyncio
import ipaddress
import socket
import weakref
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol

from structlog.testing import capture_logs

from router.access.keys import AccessKeys
from router.base.addresses import Network
from router.base.clock import SystemClock
from router.base.secret_box import SecretBox
from router.node.sockets import listen
from router.observe.ended_exchange import Finished
from router.observe.endings import COMBINATIONS
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.pages import Pages
from router.proxy import Captures, PlainHttp, Proxy, WakeConfig, sweep
from router.proxy.pool import Pool
from router.records.captures import Capture, CaptureCodec
from router.records.masking import Masks
from router.routes.error_notes import ErrorNote, ErrorNotes
from router.routes.records import Endpoint, Record
from router.routes.resolver import Resolver
from router.settings import Cache, Limits
from router.wake.waker import Waker
from tests.support.access import MemoryKeys
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, resource
from tests.support.wire import DEADLINE, Backend, End

LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
# Whoever connects from here is a trusted front; a client without a `source` is not.
FRONT = "127.0.0.1"
OUTSIDE = "127.0.0.2"


class Listens(Protocol):
    """A program on a port."""

    address: str
    port: int


class ShiftedClock(SystemClock):
    """The machine's clock, which a test can put forward."""

    def __init__(self) -> None:
        self.shift = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.shift

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.shift)


class RunningEdge:
    """One proxy on a port of its own, its records, and all connections that the test opened."""

    # Tasks that go on for as long as a proxy does, of all proxies.
    _lasting: ClassVar[weakref.WeakSet[asyncio.Task[Any]]] = weakref.WeakSet()

    def __init__(
        self,
        records: MemoryRecords | None = None,
        *,
        platform: str = PLATFORM,
        backend_networks: tuple[Network, ...] = LOOPBACK,
        fetch_time: float = 2.0,
        plain: PlainHttp | None = None,
        cookie_zones: tuple[str, ...] = (),
        trusted_headers: dict[Network, tuple[str, ...]] | None = None,
        access: AccessKeys | None = None,
        waker: Waker | None = None,
        wake_times: Mapping[str, float] | None = None,
        **limits: float,
    ) -> None:
        self.records = records or MemoryRecords()
        # Kept connections stay where tests need them, however slow the machine; what closes them early has tests of its own.
        kept = {"backend_idle_unsaid": 30.0, "backend_idle_unproven": 30.0}
        self.limits = Limits().model_copy(update={**kept, **limits})
        self.clock = clock = ShiftedClock()
        self.resolver = Resolver(
            self.records,
            platform_domain=platform,
            reserved_ports=frozenset(),
            limits=Cache(fetch_time=fetch_time),
            clock=clock,
        )
        self.metrics = Metrics()
        self.captured: list[dict[str, Any]] = []  # what captures were handed on, as the proxy tells them
        self._captures = Captures(self._take_capture, self.metrics)
        self.recorder = Recorder(metrics=self.metrics, clock=clock)
        self.own_listeners: set[tuple[str, int]] = set()
        self.error_notes = ErrorNotes()
        self.proxy = Proxy(
            resolver=self.resolver,
            pages=Pages("https://docs.miosa.ai/errors"),
            recorder=self.recorder,
            metrics=self.metrics,
            limits=self.limits,
            trusted_proxies=(ipaddress.IPv4Network(f"{FRONT}/32"),),
            backend_networks=backend_networks,
            own_listeners=self.own_listeners,
            clock=clock,
            plain=plain,
            cookie_zones=cookie_zones,
            trusted_headers=trusted_headers,
            access=access or MemoryKeys(),
            on_error=self.error_notes.add,
            wake=None if waker is None else WakeConfig(waker, self.records, **(wake_times or {})),
            captures=self._captures,
        )
        self.faults: list[dict[str, Any]] = []
        self.expected_errors: set[str] = set()
        self.logs: list[MutableMapping[str, Any]] = []
        self._files = 0
        self._ends: list[End] = []
        self._backends: list[Backend] = []
        self._capture = capture_logs()

    # Before and after.

    async def start(self) -> None:
        """Listen on a free port."""
        self.logs = self._capture.__enter__()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.faults.append(context))
        before = asyncio.all_tasks()
        listener = listen("proxy", "127.0.0.1:0", backlog=None)
        self.address: tuple[str, int] = listener.getsockname()
        await self.proxy.serve(listener)
        self.own_listeners.add(self.address)
        self._lasting.update(asyncio.all_tasks() - before)
        self._files = open_files() - 1  # the listener; a loop with one keeps a file of its own (libuv's for EMFILE)

    async def stop(self) -> None:
        """Close the test's connections, check that the proxy lets go of all it held for them, and end it."""
        try:
            for end in self._ends:
                end.close()
            await self.turns()
            # Whoever hangs up might still read for so long, as far as the proxy knows; nobody has to wait for that here.
            self.advance(self.limits.half_close)
            await self.settled()
            self.check_pools()
        finally:
            # Also after a failure: a loop of uvloop that is closed with a server on it never returns.
            await self.proxy.close()
            await self.resolver.close()
            for backend in self._backends:
                backend.close()
            self._capture.__exit__(None, None, None)
        worker = self.proxy._worker
        await until(lambda: open_files() <= self._files, lambda: f"{open_files()} open files, {self._files} before")
        assert not worker.clients
        assert worker.connection_limits.addresses.held() == {}
        assert not worker.backends
        assert not self._strays()
        assert not self.faults, self.faults
        errors = [line for line in self.logs if line["log_level"] in ("error", "critical")]
        assert {line["event"] for line in errors} <= self.expected_errors, errors
        assert {exchange.ending for exchange in self.finished} <= COMBINATIONS.keys()

    async def settled(self) -> None:
        """Wait until nothing is under way: no client, no exchange, no tunnel, no task but the proxy's own."""
        await until(lambda: not self.busy(), self.busy)

    async def idle(self) -> None:
        """Wait until no exchange is under way; clients may stay connected."""
        await until(lambda: not [what for what in self.busy() if not what.startswith("client")], self.busy)

    def advance(self, seconds: float) -> None:
        """Put the clock forward and look at all deadlines and all that is open, as happens now and then by itself."""
        self.clock.shift += seconds
        sweep.run(self.proxy._worker)
        self.proxy.check_open()

    async def turns(self, count: int = 20) -> None:
        """Let the proxy read what is there. For what can't be seen from outside; loopback delivers at once."""
        for _ in range(count):
            await asyncio.sleep(0)

    def busy(self) -> list[str]:
        """What is still under way, in words."""
        worker = self.proxy._worker
        pools = self.pools()
        found = [f"client {client.peer}" for client in worker.clients]
        found += [f"exchange of {client.exchange!r}" for client in worker.clients if client.exchange is not None]
        found += [f"tunnel {tunnel!r}" for tunnel in worker.tunnels]
        found += [f"task {task.get_name()}" for task in self._strays()]
        found += [
            f"exchanges of {key}"
            for key, activity in worker.activities.items()
            if activity.exchanges or activity.tunnels or activity.queue is not None
        ]
        held = {**worker.connection_limits.addresses.held(), **worker.connection_limits.tenants.held()}
        found += [f"share of {who}" for who, (_, exchanges) in held.items() if exchanges]
        kept = sum(len([backend for backend in pool.idle if not backend.closing]) for pool in pools)
        if len(worker.backends) != kept:
            found.append(f"{len(worker.backends)} backend connections, {kept} of them in pools")
        return found

    def _strays(self) -> set[asyncio.Task[Any]]:
        """Tasks that are neither the test's (those are named so) nor meant to last."""
        current = asyncio.current_task()
        return {
            task
            for task in asyncio.all_tasks()
            if task is not current
            and task not in self._lasting
            and not task.get_name().startswith("test: ")
            and not task.done()
        }

    def check_pools(self) -> None:
        """What is kept is idle: no exchange, no half-read answer, nothing left to write, reading."""
        for pool in self.pools():
            for kept in pool.idle:
                if not kept.closing:
                    assert kept.exchange is None
                    assert (kept.left, kept.chunks, kept.until_close, kept.buffer) == (0, None, False, b"")
                    assert kept.transport.get_write_buffer_size() == 0
                    assert kept.transport.is_reading()

    def pools(self) -> list[Pool]:
        """All pools, each with its idle connections."""
        return list(self.proxy._worker.pools)

    def kept(self) -> int:
        """How many connections to backends are kept for later."""
        return sum(len([backend for backend in pool.idle if not backend.closing]) for pool in self.pools())

    def held(self) -> int:
        """The most bytes that one direction of an exchange holds at this moment."""
        sizes = [0]
        for client in self.proxy._worker.clients:
            sizes.append(client.transport.get_write_buffer_size())
            outgoing = client.exchange.outgoing if client.exchange is not None else None
            sizes.append(len(client.buffer) + (outgoing.transport.get_write_buffer_size() if outgoing else 0))
        return max(sizes)

    def held_by_tunnels(self) -> int:
        """The most bytes that one direction of a tunnel holds at this moment."""
        ends = [end for tunnel in self.proxy._worker.tunnels for end in (tunnel.client, tunnel.backend)]
        return max((end.transport.get_write_buffer_size() for end in ends), default=0)

    # What is behind it.

    def put(self, *records: Record) -> None:
        """Store records, and let the proxy know."""
        keys = self.records.put(*records)
        self.resolver.drop(keys)
        self.proxy.drop(keys)

    def backend(self, slug: str = "shop", **changes: Any) -> Backend:
        """A backend on a free port, as the program of the resource `slug`, on its default port.

        `listening`, `address` and `receive_buffer` are the backend's; all else is the resource's.
        """
        own = {key: changes.pop(key) for key in ("address", "listening", "receive_buffer") if key in changes}
        backend = Backend(**own)
        self._backends.append(backend)
        self.point(slug, backend, **changes)
        return backend

    def point(self, slug: str, backend: Listens, generation: str = "boot-1", **changes: Any) -> None:
        """Let the resource `slug` listen where `backend` does."""
        endpoint = Endpoint(backend.address, generation, changes.pop("ports", {}))
        values = {"default_port": backend.port, "endpoint": endpoint} | changes
        self.put(resource(slug, **values))

    # Whoever comes to it.

    async def client(self, source: str = OUTSIDE, *, receive_buffer: int | None = None) -> End:
        """A connection to the proxy, from `source`."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((source, 0))
        end = End(sock)
        self._ends.append(end)
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_connect(sock, self.address)
        return end

    @property
    def finished(self) -> list[Finished]:
        """The exchanges that have ended, oldest first."""
        return self.recorder.finished

    def _take_capture(self, told: dict[str, Any]) -> bool:
        self.captured.append(told)
        return True

    async def captures(self, count: int = 1) -> list[Capture]:
        """What was captured, with secrets masked, once so many exchanges have ended."""
        await self.ended(count)
        self._captures.consume(())
        codec = CaptureCodec(Masks(), SecretBox())
        return [codec.masked(told) for told in self.captured]

    @property
    def endings(self) -> list[str]:
        return [exchange.ending for exchange in self.finished]

    async def noted(self, port: int, count: int = 1) -> Sequence[ErrorNote]:
        """What the owner of `shop` reads about a port, once visitors got so many errors there."""

        def found() -> Sequence[ErrorNote]:
            return self.error_notes.of(resource("shop").id, port)

        def enough() -> bool:
            sweep.run(self.proxy._worker)
            return sum(note.count for note in found()) >= count

        await until(enough, found)
        return found()

    async def ended(self, count: int) -> list[Finished]:
        """The exchanges that have ended, once there are `count`."""
        await until(lambda: len(self.finished) >= count, lambda: self.endings)
        return self.finished


def open_files() -> int:
    """How many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def until(condition: Callable[[], bool], state: Callable[[], object] = lambda: "") -> None:
    """Let the loop run until `condition` holds; `state` goes into the failure."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE
    turns = 0
    while not condition():
        if loop.time() > deadline:
            raise AssertionError(f"not reached within {DEADLINE} s: {state()}")
        turns += 1
        # Most conditions hold within a few turns; a proxy that waits for a limit is not spun for.
        await asyncio.sleep(0 if turns < 50 else 0.002)
