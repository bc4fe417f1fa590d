r"""Exchanges without sockets, written down as dialogues: `play(text)` acts a transcript out on a fake network.

    client  → GET / HTTP/1.1|Host: shop.miosa.app||      the client sends; `|` is a line end, `\x89` a byte
    backend ← GET / HTTP/1.1|Host: shop.miosa.app|…      the backend has received this; with `…`, and more behind it
    backend → HTTP/1.1 200 OK|Content-Length: 2||ok
    client  ← HTTP/1.1 200 OK|Content-Length: 2||ok
    [--]                                                 the exchange has ended so; with one letter: is in this phase

Other lines say what happens: those of `_EVENTS`, and `31 seconds pass`, which also has the sweep look at all deadlines.
What a line expects is waited for, by turns of the loop; time stands still but for `seconds pass`.
"""

import asyncio
import errno
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from router.base.clock import ManualClock
from router.observe import endings
from router.observe.metrics import Metrics
from router.observe.recorder import Recorder
from router.pages import Pages
from router.proxy import sweep
from router.proxy.backend import BackendConnection
from router.proxy.client import ClientConnection
from router.proxy.exchange import Exchange
from router.proxy.wakes import WakeConfig, Wakes
from router.proxy.worker_state import Activity, WorkerState
from router.routes.records import Record
from router.routes.resolver import Resolver
from router.routes.wakes import Wake, WakeRecord, WakeState
from router.settings import Cache, Limits
from tests.support.access import MemoryKeys
from tests.support.edge import LOOPBACK
from tests.support.memory_records import MemoryRecords
from tests.support.records import PLATFORM, resource
from tests.support.sleeper import FakeWaker
from tests.support.still_loop import StillLoop, turns

_TURNS: Final = 200  # of the loop, that an expectation is waited for
_LINE: Final = re.compile(r"(client|backend) +([→←]) ?(.*)")
_BYTE: Final = re.compile(rb"\\x([0-9a-f]{2})")
_RESPONSE_ID: Final = re.compile(
    rb"X-Request-ID: req_[0-9a-f]+\r\n(?=\r\n)"
)  # of each response, which transcripts leave out
_SECONDS: Final = re.compile(r"([0-9.]+) seconds pass")


class _NoSocket:
    """Stands for the socket of a transport that has none: no descriptor, options go nowhere."""

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: object) -> None:
        pass


class FakeTransport(asyncio.Transport):
    """One side's connection. `sent` is what the other side has received and a transcript has not read yet."""

    def __init__(self, protocol: Any, peer: str) -> None:
        super().__init__({"peername": (peer, 40000), "socket": _NoSocket()})
        self._protocol = protocol
        self._held = b""
        self._arrived = b""
        self._ended = False  # the other side will send no more
        self._lost = False
        self._reading = True
        self._closing = False
        self._high: int | None = None
        self.taking = True  # the other side reads
        self.sent = b""
        self.ended = False  # we will send no more
        self.closed = False
        protocol.connection_made(self)

    # What the proxy calls.

    def write(self, data: Any) -> None:
        if self._closing:
            return
        if self.taking:
            self.sent += bytes(data)
        else:
            self._held += bytes(data)
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return len(self._held)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        asyncio.get_running_loop().call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = self.ended = True
        if not self._held:
            self._lose(None)

    def abort(self) -> None:
        self._held = b""
        self.close()

    # What the other side does.

    def receive(self, data: bytes) -> None:
        """The other side sends `data`."""
        self._arrived += data
        self._deliver()

    def end(self) -> None:
        """The other side shuts down its sending half."""
        self._ended = True
        self._deliver()

    def reset(self) -> None:
        """The other side resets the connection."""
        self._lose(ConnectionResetError())

    def _deliver(self) -> None:
        while self._arrived and self.is_reading():
            if not hasattr(self._protocol, "get_buffer"):
                data, self._arrived = self._arrived, b""
                self._protocol.data_received(data)
                continue
            buffer = self._protocol.get_buffer(-1)
            size = min(len(buffer), len(self._arrived))
            buffer[:size], self._arrived = self._arrived[:size], self._arrived[size:]
            self._protocol.buffer_updated(size)
        if self._ended and not self._arrived and self.is_reading():
            self._ended = False
            if not self._protocol.eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            asyncio.get_running_loop().call_soon(self._connection_lost, error)

    def _connection_lost(self, error: Exception | None) -> None:
        self.closed = self.ended = True
        self._protocol.connection_lost(error)


class _Loop(StillLoop):
    """A loop whose connections go to fake backends."""

    def __init__(self, stage: "Stage") -> None:
        super().__init__(stage.clock)
        self._stage = stage

    async def create_connection(self, factory: Callable[[], Any], *_: object, **__: object) -> Any:
        return await self._stage.connect(factory)


class Stage:
    """A worker on a fake network, one client, and the backend connection that was made last."""

    def __init__(self, *records: Record, **limits: float) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.recorder = Recorder(metrics=self.metrics, clock=self.clock)
        self.records = source = MemoryRecords()
        source.put(*records)
        self.worker = WorkerState(
            resolver=Resolver(
                source, platform_domain=PLATFORM, reserved_ports=frozenset(), limits=Cache(), clock=self.clock
            ),
            pages=Pages("https://docs.miosa.ai/errors"),
            recorder=self.recorder,
            metrics=self.metrics,
            limits=Limits().model_copy(update={"backend_idle_unproven": 30.0, **limits}),
            trusted_proxies=(),
            backend_networks=LOOPBACK,
            own_listeners=(),
            clock=self.clock,
            access=MemoryKeys(),
        )
        self.worker.wakes = Wakes(self.worker, WakeConfig(FakeWaker(), source))
        self.client: FakeTransport
        self.backend: FakeTransport
        self.dials = 0
        self.dialling: Callable[[FakeTransport], None] | None = lambda _: None  # None: no dial is accepted yet
        self.refusal: OSError | None = None
        self._connection: ClientConnection
        self._seen = 0

    # The network.

    async def connect(self, factory: Callable[[], Any]) -> tuple[FakeTransport, Any]:
        """What a dial comes to."""
        self.dials += 1
        if self.refusal is not None:
            raise self.refusal
        while self.dialling is None:
            await asyncio.sleep(0)
        protocol = factory()
        self.backend = FakeTransport(protocol, "127.0.0.1")
        self.dialling(self.backend)
        return self.backend, protocol

    def connect_client(self) -> ClientConnection:
        """A client connects, the only one."""
        self._connection = ClientConnection(self.worker)
        self.client = FakeTransport(self._connection, "192.0.2.9")
        return self._connection

    # The lines.

    async def play(self, transcript: str) -> None:
        """Act all lines out. Raises AssertionError, naming the line, where one is not true."""
        self.connect_client()
        for line in filter(str.strip, transcript.splitlines()):
            try:
                await self._act(line.strip())
            except AssertionError as error:
                raise AssertionError(f"{line.strip()!r}: {error}") from None
        await self.worker.tasks.close()
        await self.worker.resolver.close()

    async def _act(self, line: str) -> None:
        if line in _EVENTS:
            _EVENTS[line](self)
        elif line.startswith("["):
            await self._until(lambda: self.state == line[1:-1], lambda: f"it is {self.state}")
        elif (seconds := _SECONDS.fullmatch(line)) is not None:
            await turns()
            self.clock.advance(float(seconds[1]))
            sweep.run(self.worker)
        elif (spoken := _LINE.fullmatch(line)) is not None:
            side, arrow, text = spoken.groups()
            data = _BYTE.sub(lambda found: bytes.fromhex(found[1].decode()), text.replace("|", "\r\n").encode())
            if arrow == "→":
                (self.client if side == "client" else self.backend).receive(data)
            else:
                await self._receive(side, data)
        else:
            raise AssertionError("not a line of transcripts")

    async def _receive(self, side: str, data: bytes) -> None:
        wanted, rest, _ = data.partition("…".encode())

        def got() -> FakeTransport | None:
            return self.client if side == "client" else getattr(self, "backend", None)

        await self._until(
            lambda: (end := got()) is not None and len(_RESPONSE_ID.sub(b"", end.sent)) >= len(wanted),
            lambda: f"received only {getattr(got(), 'sent', b'')!r}",
        )
        end = cast(FakeTransport, got())
        sent = end.sent if b" HTTP/1." in wanted else _RESPONSE_ID.sub(b"", end.sent)
        assert sent.startswith(wanted) if rest else sent == wanted, f"received {sent!r}"
        end.sent = b""

    @property
    def state(self) -> str:
        """The ending of an exchange that has just ended, else the phase of the one under way, `R` between two."""
        finished = self.recorder.finished
        if len(finished) > self._seen:
            self._seen = len(finished)
            return finished[-1].ending
        running: Exchange | None = self._connection.exchange
        if running is None:
            running = next((tunnel.exchange for tunnel in self.worker.tunnels), None)
        return endings.REQUEST_HEAD if running is None else running.phase

    async def _until(self, condition: Callable[[], bool], state: Callable[[], str]) -> None:
        for _ in range(_TURNS):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError(state())

    # What happens besides words.

    def put(self, *records: Record) -> None:
        """Store records, and let the worker know."""
        keys = self.records.put(*records)
        self.worker.resolver.drop(keys)
        if self.worker.wakes is not None:
            self.worker.wakes.drop(keys)

    def stop(self) -> None:
        """The drain has run out, as `Proxy.drain` ends what is left."""
        self.worker.draining = True
        for tunnel in tuple(self.worker.tunnels):
            tunnel.finish(endings.EDGE_IN_TUNNEL, goodbye=True)
        if self._connection.exchange is not None:
            self._connection.exchange.stop()


def _take_nothing(stage: Stage) -> None:
    stage.client.taking = False


def _hang(stage: Stage) -> None:
    stage.dialling = None


def _accept(stage: Stage) -> None:
    stage.dialling = lambda _: None


def _activity(stage: Stage) -> Activity:
    return stage.worker.activities.setdefault("id-of-shop", Activity())


def _fill(stage: Stage) -> None:
    _activity(stage).exchanges = stage.worker.max_exchanges


def _give_back(stage: Stage) -> None:
    (pool,) = stage.worker.pools
    backend = BackendConnection(stage.worker, pool)
    stage.backend = FakeTransport(backend, "127.0.0.1")
    pool.sent(backend)
    pool.answered(backend, stage.worker.now)
    pool.give(backend, stage.worker.now)


def _refuse(stage: Stage) -> None:
    stage.refusal = ConnectionRefusedError()


def _run(stage: Stage) -> None:
    stage.put(resource("asleep", wake=Wake.ANY, version=2))


def _refuse_to_wake(stage: Stage) -> None:
    stage.put(WakeRecord("id-of-asleep", WakeState.REFUSED, 0.0, math.inf, 2, code=403))


def _run_out(stage: Stage) -> None:
    stage.refusal = OSError(errno.EMFILE, "no descriptor is left")


def _speak_first(stage: Stage) -> None:
    stage.dialling = lambda backend: backend.receive(b"SSH-2.0-OpenSSH_9.9\r\n")


def _respond_first(stage: Stage) -> None:
    stage.dialling = lambda backend: backend.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


_EVENTS: Final[dict[str, Callable[[Stage], None]]] = {
    "client closes its sending side": lambda stage: stage.client.end(),
    "client resets": lambda stage: stage.client.reset(),
    "client takes nothing": _take_nothing,
    "backend closes": lambda stage: stage.backend.end(),
    "backend resets": lambda stage: stage.backend.reset(),
    "backend refuses connections": _refuse,
    "backend does not accept": _hang,
    "backend accepts": _accept,
    "backend speaks first": _speak_first,
    "backend responds first": _respond_first,
    "no descriptor is left": _run_out,
    "the resource has no place left": _fill,
    "another connection is given back": _give_back,
    "the resource runs": _run,
    "the resource may not be woken": _refuse_to_wake,
    "a place becomes free": lambda stage: stage.worker.queues.pass_on(_activity(stage)),
    "the drain runs out": Stage.stop,
}


def play(transcript: str, *records: Record, **limits: float) -> Stage:
    """Act a transcript out against a worker that knows `records`."""
    stage = Stage(*records, **limits)
    run(stage, stage.play(transcript))
    return stage


def run(stage: Stage, acting: Coroutine[Any, Any, None]) -> None:
    """Let `acting` happen on the stage's network."""
    with asyncio.Runner(loop_factory=lambda: _Loop(stage)) as runner:
        runner.run(acting)
