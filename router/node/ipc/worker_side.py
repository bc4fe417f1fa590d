"""A worker's side of its control process: it hears of changes, sends requests to the store, and reports what it has seen."""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

from router.errors import StoreUnavailableError
from router.node.ipc.channel import Channel
from router.node.ipc.messages import (
    TO_WORKER,
    Change,
    ErrorSeen,
    FiguresRequest,
    HostRefused,
    OperatorEvent,
    OperatorRequest,
    OutboxMoved,
    ReplayRequest,
    RequestCaptured,
    RequestRecords,
    Serving,
    Stats,
    StatsRequest,
    StoreReady,
    StoreRequest,
    records_line,
)
from router.node.ipc.wire import Message
from router.observe.figures import Figures
from router.records.lost import Lost, add_lost, tally
from router.records.packing import FORM
from router.routes.changed_keys import Touched
from router.routes.error_notes import ErrorNote
from router.routes.host_notes import HostNote

A = TypeVar("A")


class WorkerSide:
    """A worker's side. It has one control process, or two for a while during a reload.

    `on_change(keys, number)` hears of a change that the control process has committed.
    `on_outbox(start, to, keys)` hears of what other processes have committed: rows of the outbox after `start` up to
    `to`. It returns False where it does not know everything up to `start`; then, or where the control process does not
    know either, `changed` returns and `signals` grows: there is reason to read the outbox.
    `used(since)`, `https(since)` and `secrets(since)` give when resources were used, hosts reached by https and secrets let
    somebody in, at or after that instant of the monotonic clock, which all processes of a machine share. `figures(exemplars)` are the metrics. `on_host_refused(note)`
    hears what other workers have found out about programs. `operator(question, arguments)` answers operators' tools.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[Sequence[str], int], object],
        on_outbox: Callable[[int, int, Sequence[str]], bool],
        used: Callable[[float], Mapping[str, float]],
        https: Callable[[float], Mapping[str, float]],
        figures: Callable[[bool], Figures],
        secrets: Callable[[float], Mapping[str, float]] = lambda _: {},
        on_host_refused: Callable[[HostNote], object] = lambda _: None,
        operator: Callable[[str, Mapping[str, Any]], Any] = lambda _question, _arguments: None,
        replay: Callable[[Mapping[str, Any]], object] = lambda _: None,
    ) -> None:
        self._on_change = on_change
        self._on_outbox = on_outbox
        self._used = used
        self._https = https
        self._figures = figures
        self._secrets = secrets
        self._on_host_refused = on_host_refused
        self._operator = operator
        self._replay = replay
        self._channels: set[Channel] = set()
        self._with_store: list[Channel] = []  # those that answer requests; a successor comes after those before it
        self._lost_records: Lost = {}
        self._serving = False
        self._changed = asyncio.Event()
        self.signals = 0

    async def connect(self, end: socket.socket) -> None:
        """Talk to the control process at the other end."""
        channel = await Channel.over(end, TO_WORKER, self._hear, self._lost)
        if not channel.closed:
            self._channels.add(channel)
            channel.send(Serving(self._serving))

    def serving(self, serving: bool) -> None:
        """Whether we take connections, from now on."""
        self._serving = serving
        for channel in self._channels:
            channel.send(Serving(serving))

    def host_refused(self, note: HostNote) -> None:
        """A program refuses the name that it is visited under."""
        message = HostRefused(**asdict(note))
        for channel in self._channels:
            channel.send(message)

    def error_seen(self, note: ErrorNote) -> None:
        """Visitors got an error that their port's owner may read about."""
        message = ErrorSeen(**asdict(note))
        for channel in self._channels:
            channel.send(message)

    def operator_event(self, event: str, about: Mapping[str, Any]) -> bool:
        """Tell operators' tools. False where no control process reads."""
        message = OperatorEvent(event, about)
        sent = [channel.send(message) for channel in self._channels]
        return any(sent)

    def keep_records(self, pack: bytes) -> None:
        """Send a pack of request records. Without a control process, or where that does not read, they are lost, and that is said with the next
        pack that gets through."""
        if self._lost_records:
            lost = [(tenant.hex(), resource.hex(), number) for (tenant, resource), number in self._lost_records.items()]
            message = RequestRecords("", FORM, lost)
            if any(channel.send(message) for channel in reversed(self._with_store)):
                self._lost_records.clear()
        line = records_line(FORM, pack)
        if not any(channel.write(line) for channel in reversed(self._with_store)):
            add_lost(self._lost_records, tally(pack))

    def take_capture(self, told: Mapping[str, Any]) -> bool:
        """Send what was captured of an exchange; False where no control process takes it."""
        message = RequestCaptured(told)
        return any(channel.send(message) for channel in reversed(self._with_store))

    async def ask(self, request: Callable[[float], StoreRequest[A]], within: float) -> A:
        """What a control process answers within so many seconds; `request(left)` makes the request.

        Raises StoreUnavailableError where none does, FaultError where it failed on the request because of a bug.

        While serving, fail at once if no control process is connected: the resolver falls back to remembered routes.
        While starting, wait: during a reload the old control process may leave before the new one connects.
        """
        asked: set[Channel] = set()
        try:
            async with asyncio.timeout(within) as limit:
                while True:
                    channel = next((one for one in reversed(self._with_store) if one not in asked), None)
                    if channel is not None:
                        asked.add(channel)
                        left = (limit.when() or 0.0) - asyncio.get_running_loop().time()
                        with suppress(ConnectionError):  # it has gone or does not read: another may be there by now
                            return await channel.call(request(left))
                    elif self._serving:
                        raise StoreUnavailableError("the control process is away")
                    else:
                        await self.changed()
        except TimeoutError as error:
            raise StoreUnavailableError(f"the control process did not answer within {within:g} s") from error

    async def until_ready(self, within: float) -> None:
        """Wait until a control process answers requests. Raises StoreUnavailableError where none does in time."""
        try:
            async with asyncio.timeout(within):
                while not self._with_store:
                    await self.changed()
        except TimeoutError as error:
            raise StoreUnavailableError("the control process does not answer requests") from error

    async def changed(self) -> None:
        """Wait for a reason to read the outbox: something unknown was committed, or there is a store to ask again."""
        await self._changed.wait()

    def close(self) -> None:
        """Send the last stats, and close every channel."""
        for channel in tuple(self._channels):
            channel.send(self._stats(float("-inf")))
            channel.close()

    def _lost(self, channel: Channel) -> None:
        self._channels.discard(channel)
        if channel in self._with_store:
            self._with_store.remove(channel)

    def _hear(self, channel: Channel, message: Message) -> object:
        match message:
            case Change():
                self._on_change(Touched(message.keys, message.moved), message.number)
                return True
            case OutboxMoved():
                keys = Touched(message.keys, message.moved)
                if message.to is None or not self._on_outbox(message.start, message.to, keys):
                    self._signal()
            case StatsRequest():
                return self._stats(message.since)
            case FiguresRequest():
                return self._figures(message.exemplars)
            case OperatorRequest():
                return self._operator(message.question, message.arguments)
            case ReplayRequest():
                return self._replay(message.order)
            case HostRefused():
                self._on_host_refused(HostNote(**asdict(message)))
            case StoreReady():
                self._with_store.append(channel)
                self._signal()
        return None

    def _stats(self, since: float) -> Stats:
        return Stats(used=self._used(since), https=self._https(since), secrets=self._secrets(since))

    def _signal(self) -> None:
        self.signals += 1
        self._changed.set()
        self._changed = asyncio.Event()
