"""Every message between the processes of a node: what it says, who sends it, and what is answered.

Two kinds of socket carry them, each message as one JSON object whose `do` names its type:

    Channel        control process <-> worker: one line per message (`channel.py`)
    ControlSocket  supervisor <-> control process or worker: one packet per message (`processes/control_socket.py`)

| message           | sent by         | to              | answered with |
|-------------------|-----------------|-----------------|---------------|
| `Change`          | control process | worker          | `True`: the worker has dropped what it remembered |
| `OutboxMoved`     | control process | worker          | -             |
| `StoreReady`      | control process | worker          | -             |
| `StatsRequest`    | control process | worker          | `Stats`       |
| `FiguresRequest`  | control process | worker          | its metrics   |
| `ReplayRequest`   | control process | worker          | what became of it |
| `HostRefused`     | either          | the other       | -             |
| `OperatorRequest` | control process | worker          | what `operator/processes.py` says |
| `OperatorEvent`   | worker          | control process | -             |
| `ErrorSeen`       | worker          | control process | -             |
| `RequestRecords`  | worker          | control process | -             |
| `RequestCaptured` | worker          | control process | -             |
| `Serving`         | worker          | control process | -             |
| `Stats`           | worker          | control process | - (its last ones, before it ends) |
| `RecordsRequest`  | worker          | control process | `RecordsAnswer` |
| `NewestRequest`   | worker          | control process | `NumberAnswer` |
| `OldestRequest`   | worker          | control process | `NumberAnswer` |
| `ChangesRequest`  | worker          | control process | `ChangesAnswer` |
| `UseUpRequest`    | worker          | control process | `UseUpAnswer` |
| `WakeRequest`     | worker          | control process | `WakeNoted`   |
| `SignInRequest`   | worker          | control process | `SignInAnswer` |
| `HandOverRequest` | worker          | control process | `HandOverAnswer` |
| `EndSessionRequest` | worker        | control process | `EndSessionAnswer` |
| `VerifyCiRequest` | worker          | control process | `VerifyCiAnswer` |
| `PasswordRequest` | worker          | control process | `PasswordAnswer` |
| `Start`           | supervisor      | child           | - (`Ready` or `Failed` follows) |
| `Connect`         | supervisor      | child           | - (comes with a socket) |
| `StandIn`         | supervisor      | worker          | - (comes with a socket) |
| `StandBack`       | supervisor      | worker          | -             |
| `ReopenLogs`      | supervisor      | child           | -             |
| `HeartbeatRequest` | supervisor     | worker          | - (`Heartbeat` follows) |
| `Drain`           | supervisor      | child           | -             |
| `End`             | supervisor      | child           | -             |
| `Ready`, `Failed` | child           | supervisor      | -             |
| `Heartbeat`       | child           | supervisor      | -             |
| `SetLogLevels`    | control process | supervisor      | -             |

During a reload processes of two versions talk to each other. So names on the wire (`do`, and each field's, or its
`wire` name) stay; a new field has a default; a field that the reader does not know is skipped; a message whose type it
does not know is logged and dropped. Any request to the store may be answered with `Unavailable` or `Fault` instead.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, TypeVar, cast

from router.errors import StoreUnavailableError
from router.observe.figures import Figures

A = TypeVar("A")


class FaultError(Exception):
    """The control process failed on a request because of a bug: a fault of ours, not an outage."""


class Message:
    """Something one process tells another."""

    __slots__ = ()
    do: ClassVar[str]


class Request(Message, Generic[A]):
    """A message that is answered with an `A`."""

    __slots__ = ()

    def answer(self, value: Any) -> A:
        """The answer, from what came over the wire. May raise StoreUnavailableError or FaultError."""
        return cast(A, value)


# Control process to worker.


@dataclass(frozen=True, slots=True)
class Change(Request[bool]):
    """This node has committed a change. `moved` are those of `keys` of which only the endpoint's address changed; `number`
    is the newest row of the outbox that belongs to it."""

    do = "change"
    keys: Sequence[str]
    number: int
    moved: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class OutboxMoved(Message):
    """Other processes have committed something: `keys`, in the rows after `start` up to `to`. Without `to`: it is not known
    what, so the worker reads the outbox."""

    do = "moved"
    start: int = 0
    to: int | None = None
    keys: Sequence[str] = ()
    moved: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StoreReady(Message):
    """From now on the control process answers requests to the store."""

    do = "ready"


@dataclass(frozen=True, slots=True)
class Stats(Message):
    """When each resource was last used, when each host was reached by https, and when each secret let somebody in: seconds of
    the monotonic clock, which all processes of a machine share."""

    do = "news"
    used: Mapping[str, float]
    https: Mapping[str, float]
    secrets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatsRequest(Request[Stats]):
    """What was seen at or after `since`."""

    do = "news"
    since: float

    def answer(self, value: Any) -> Stats:
        return _read(Stats, value)


@dataclass(frozen=True, slots=True)
class FiguresRequest(Request[Figures]):
    """The worker's metrics, with `exemplars` for OpenMetrics."""

    do = "figures"
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class ReplayRequest(Request[Any]):
    """A request that was captured is to be sent once more: an order of `records.replays`; the answer is what `proxy.replay.replay` tells."""

    do = "replay"
    order: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperatorRequest(Request[Any]):
    """What an operator's tool asks every process; the answer is a JSON value, null where the worker knows no such question."""

    do = "operator request"
    question: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


# Worker to control process.


@dataclass(frozen=True, slots=True)
class OperatorEvent(Message):
    """Something happened that an operator's tool asked to hear of: `event` says what, with JSON values about it."""

    do = "operator event"
    event: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Serving(Message):
    """Whether the worker takes connections from now on."""

    do = "serving"
    serving: bool


@dataclass(frozen=True, slots=True)
class HostRefused(Message):
    """A program refuses the name that it is visited under: the fields of `routes.host_notes.HostNote`. The control process
    tells the other workers, so that all of them tell the program the same."""

    do = "host refused"
    resource_id: str
    slug: str
    port: int
    generation: str
    refuser: str
    told: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorSeen(Message):
    """Visitors got an error that their port's owner may read about: the fields of `routes.error_notes.ErrorNote`; `count`
    since this worker last said so."""

    do = "error seen"
    resource_id: str
    port: int
    code: str
    reason: str | None
    message: str
    first_at: float
    last_at: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class RequestRecords(Message):
    """Records of requests: `pack` as `records/packing.py` packs them, in base64, and `form` says how. `lost` are those that could not be sent
    before, by the ids of tenant and resource in hexadecimal."""

    do = "request records"
    pack: str
    form: int = 1
    lost: Sequence[tuple[str, str, int]] = ()


@dataclass(frozen=True, slots=True)
class RequestCaptured(Message):
    """What was captured of an exchange, as `proxy.capture.ExchangeCapture.told` tells it: secrets are masked where it is stored."""

    do = "request captured"
    told: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unavailable(Message):
    """Answer to any request to the store: it could not be read, and why."""

    do = "unavailable"
    error: str


@dataclass(frozen=True, slots=True)
class Fault(Message):
    """Answer to any request to the store: a bug, and its exception."""

    do = "fault"
    fault: str


class StoreRequest(Request[A]):
    """A request that the control process answers from its store within `within` seconds."""

    __slots__ = ()
    within: float

    def answer(self, value: Any) -> A:
        if "fault" in value:
            raise FaultError(value["fault"])
        if "error" in value:
            raise StoreUnavailableError(value["error"])
        return self.found(value)

    def found(self, value: Any) -> A:
        """The answer where the store could be read."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RecordsAnswer(Message):
    """`records` as `routes/encoding.py` writes them (`7 {…}`), `seen` the newest row of the outbox at that instant."""

    do = "records"
    seen: int
    records: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecordsRequest(StoreRequest[RecordsAnswer]):
    """The records under `keys`, as of one instant."""

    do = "records"
    keys: Sequence[str]
    within: float

    def found(self, value: Any) -> RecordsAnswer:
        return _read(RecordsAnswer, value)


@dataclass(frozen=True, slots=True)
class NumberAnswer(Message):
    """The number of a row of the outbox, 0 for none."""

    do = "number"
    number: int


@dataclass(frozen=True, slots=True)
class NewestRequest(StoreRequest[NumberAnswer]):
    """The newest row of the outbox."""

    do = "newest"
    within: float

    def found(self, value: Any) -> NumberAnswer:
        return _read(NumberAnswer, value)


@dataclass(frozen=True, slots=True)
class OldestRequest(StoreRequest[NumberAnswer]):
    """The oldest row of the outbox that is still kept."""

    do = "oldest"
    within: float

    def found(self, value: Any) -> NumberAnswer:
        return _read(NumberAnswer, value)


@dataclass(frozen=True, slots=True)
class ChangesAnswer(Message):
    """Rows of the outbox: number, key, time (ISO 8601), whether only the endpoint's address changed."""

    do = "changes"
    changes: Sequence[tuple[int, str, str, bool]]


@dataclass(frozen=True, slots=True)
class ChangesRequest(StoreRequest[ChangesAnswer]):
    """At most `limit` rows of the outbox after `number`."""

    do = "after"
    number: int
    within: float
    limit: int = field(metadata={"wire": "most"})

    def found(self, value: Any) -> ChangesAnswer:
        return _read(ChangesAnswer, value)


@dataclass(frozen=True, slots=True)
class UseUpAnswer(Message):
    """Whether this was the first visitor by the link."""

    do = "use up"
    first: bool


@dataclass(frozen=True, slots=True)
class UseUpRequest(StoreRequest[UseUpAnswer]):
    """A visitor comes by the link with this id, which works once."""

    do = "use up"
    secret_id: str
    within: float

    def found(self, value: Any) -> UseUpAnswer:
        return _read(UseUpAnswer, value)


@dataclass(frozen=True, slots=True)
class WakeNoted(Message):
    """What comes of it stands in the record of the wake from now on, unless the queue is `full`."""

    do = "wake"
    full: bool


@dataclass(frozen=True, slots=True)
class WakeRequest(StoreRequest[WakeNoted]):
    """Somebody waits for a resource that sleeps: the arguments of `wake.waker.Waker.ask`."""

    do = "wake"
    resource_id: str
    port: int
    reason: str
    request_id: str
    within: float

    def found(self, value: Any) -> WakeNoted:
        return _read(WakeNoted, value)


@dataclass(frozen=True, slots=True)
class SignInAnswer(Message):
    """The fields of `access.login.LoginResponse`."""

    do = "sign in"
    location: str = field(default="", repr=False)
    cookies: Sequence[str] = field(default=(), repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SignInRequest(StoreRequest[SignInAnswer]):
    """Somebody signs in by their tenant's login: the fields of `access.login.LoginRequest`."""

    do = "sign in"
    step: str
    client: str
    parameters: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    tenant_id: str
    within: float

    def found(self, value: Any) -> SignInAnswer:
        return _read(SignInAnswer, value)


@dataclass(frozen=True, slots=True)
class HandOverAnswer(Message):
    """The fields of `access.login.HandedOver`; without a session where the code is for nobody who brings it like that."""

    do = "hand over"
    session_id: str = ""
    tenant_id: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class HandOverRequest(StoreRequest[HandOverAnswer]):
    """Somebody has come to a preview with the code of a hand-over."""

    do = "hand over"
    code: str = field(repr=False)
    host: str
    binding: str = field(repr=False)
    within: float

    def found(self, value: Any) -> HandOverAnswer:
        return _read(HandOverAnswer, value)


@dataclass(frozen=True, slots=True)
class EndSessionAnswer(Message):
    """The session has ended."""

    do = "end session"
    ended: bool = True


@dataclass(frozen=True, slots=True)
class EndSessionRequest(StoreRequest[EndSessionAnswer]):
    """Somebody logs out."""

    do = "end session"
    session_id: str
    within: float

    def found(self, value: Any) -> EndSessionAnswer:
        return _read(EndSessionAnswer, value)


@dataclass(frozen=True, slots=True)
class VerifyCiAnswer(Message):
    """What the token is worth: the fields of `access.ci_tokens.CiVerdict`."""

    do = "verify ci"
    outcome: str
    met: Sequence[tuple[str, int]]
    subject: str
    until: float


@dataclass(frozen=True, slots=True)
class VerifyCiRequest(StoreRequest[VerifyCiAnswer]):
    """A visitor brings the token of a CI system to a preview of this tenant."""

    do = "verify ci"
    tenant_id: str
    token: str = field(repr=False)
    within: float

    def found(self, value: Any) -> VerifyCiAnswer:
        return _read(VerifyCiAnswer, value)


@dataclass(frozen=True, slots=True)
class PasswordAnswer(Message):
    """Whether it was the password, or in how many seconds one is looked at again."""

    do = "check password"
    right: bool
    wait: int = 0


@dataclass(frozen=True, slots=True)
class PasswordRequest(StoreRequest[PasswordAnswer]):
    """A visitor, `client`, has typed this for the password with this id."""

    do = "check password"
    secret_id: str
    password: str = field(repr=False)
    client: str
    within: float

    def found(self, value: Any) -> PasswordAnswer:
        return _read(PasswordAnswer, value)


# Supervisor to child.


@dataclass(frozen=True, slots=True)
class Start(Message):
    """How the child is to start: its number (0 the control process, from 1 the workers), what its settings are made of, the
    values of them that only a restart can change, the node's listeners, the seconds between two heartbeats (0: none),
    and what to do while the store is away (a value of `store.Start`)."""

    do = "start"
    number: int
    values: Mapping[str, Any]
    fixed: Mapping[str, Any]
    addresses: Mapping[str, tuple[str, int]]
    heartbeat: float = field(default=0.0, metadata={"wire": "beat"})
    start: str = "first"


@dataclass(frozen=True, slots=True)
class Connect(Message):
    """The socket that comes with this leads to the process with this number."""

    do = "join"
    number: int


@dataclass(frozen=True, slots=True)
class StandIn(Message):
    """Accept on the socket that comes with this, too: its worker has died or hangs. `socket` is its number."""

    do = "stand in"
    socket: int


@dataclass(frozen=True, slots=True)
class StandBack(Message):
    """That socket's own worker accepts again."""

    do = "stand back"
    socket: int


@dataclass(frozen=True, slots=True)
class HeartbeatRequest(Message):
    """Send a heartbeat now: somebody has connected, and the next one may be a while."""

    do = "heartbeat"


@dataclass(frozen=True, slots=True)
class ReopenLogs(Message):
    """Open the access log again: logrotate has moved it away."""

    do = "reopen"


@dataclass(frozen=True, slots=True)
class Drain(Message):
    """Finish what is under way, then end. `replaced`: a successor serves already. `stay`: wait for `End` before ending."""

    do = "drain"
    replaced: bool
    stay: bool


@dataclass(frozen=True, slots=True)
class End(Message):
    """End now."""

    do = "end"


# Child to supervisor.


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """It serves. `drain` is how many seconds a drain may take; `stands_in` whether it knows `StandIn`, `answers` whether it knows
    `HeartbeatRequest`."""

    do = "ready"
    drain: float = field(metadata={"wire": "ready"})
    stands_in: bool = False
    answers: bool = False


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """It could not start, and why; `settings` are the problems of its settings, where it was them."""

    do = "failed"
    reason: str = field(metadata={"wire": "failed"})
    settings: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """Its event loop goes round."""

    do = "alive"
    alive: bool = True


@dataclass(frozen=True, slots=True)
class SetLogLevels(Message):
    """Which modules log from other levels on than the settings say: as `observe/log_levels.py` writes them."""

    do = "log levels"
    levels: Mapping[str, Sequence[Any]]


def records_line(form: int, pack: bytes) -> bytes:
    """`RequestRecords` of a pack as it is written, where nothing was lost: made past `json`, which takes three times as long as the
    rest of it, since a worker sends one with every 64 requests."""
    return b'{"do":"request records","form":%d,"pack":"%b"}\n' % (form, b64encode(pack))


class Direction:
    """The types that one side hears from the other."""

    def __init__(self, *types: type[Message]) -> None:
        self._types = {one.do: one for one in types}

    def decode(self, message: Mapping[str, Any]) -> Message:
        """The message. Raises LookupError for a type that this side does not know, TypeError where a field is missing."""
        # Before 1.0 children named their messages by their first field.
        do = message.get("do") or next((name for name in self._types if name in message), None)
        found = self._types.get(do or "")
        if found is None:
            raise LookupError(f"unknown message {do!r}")
        return _read(found, message)


TO_WORKER = Direction(
    Change, OutboxMoved, StoreReady, StatsRequest, FiguresRequest, ReplayRequest, HostRefused, OperatorRequest
)
TO_CONTROL = Direction(
    Serving,
    Stats,
    HostRefused,
    ErrorSeen,
    RequestRecords,
    OperatorEvent,
    RequestCaptured,
    RecordsRequest,
    NewestRequest,
    OldestRequest,
    ChangesRequest,
    UseUpRequest,
    WakeRequest,
    SignInRequest,
    HandOverRequest,
    EndSessionRequest,
    VerifyCiRequest,
    PasswordRequest,
)
TO_CHILD = Direction(Start, Connect, StandIn, StandBack, HeartbeatRequest, ReopenLogs, Drain, End)
TO_SUPERVISOR = Direction(Ready, Failed, Heartbeat, SetLogLevels)

_WIRE_NAMES: dict[type[Message], tuple[tuple[str, str], ...]] = {}


def encode(message: Message) -> dict[str, Any]:
    """The message as JSON will have it."""
    return {"do": message.do, **{wire: getattr(message, name) for name, wire in _wire_names(type(message))}}


M = TypeVar("M", bound=Message)


def _read(kind: type[M], value: Mapping[str, Any]) -> M:
    return kind(**{name: value[wire] for name, wire in _wire_names(kind) if wire in value})


def _wire_names(kind: type[Message]) -> tuple[tuple[str, str], ...]:
    """Each field's name and its name on the wire."""
    names = _WIRE_NAMES.get(kind)
    if names is None:
        made = ((one.name, one.metadata.get("wire", one.name)) for one in fields(cast(Any, kind)))
        names = _WIRE_NAMES[kind] = tuple(made)
    return names
