"""Every message between a node's control process and its workers: what it says, who sends it, and what is answered. Each is one
line of a `Channel` (`channel.py`).

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

Any request to the store may be answered with `Unavailable` or `Fault` instead. What two versions owe each other stands in
`wire.py`, and the messages of the supervisor in `process_messages.py`.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from router.errors import StoreUnavailableError
from router.node.ipc.wire import Direction, Message, read_as
from router.observe.figures import Figures

A = TypeVar("A")


class FaultError(Exception):
    """The control process failed on a request because of a bug: a fault of ours, not an outage."""


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
        return read_as(Stats, value)


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
        return read_as(RecordsAnswer, value)


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
        return read_as(NumberAnswer, value)


@dataclass(frozen=True, slots=True)
class OldestRequest(StoreRequest[NumberAnswer]):
    """The oldest row of the outbox that is still kept."""

    do = "oldest"
    within: float

    def found(self, value: Any) -> NumberAnswer:
        return read_as(NumberAnswer, value)


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
        return read_as(ChangesAnswer, value)


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
        return read_as(UseUpAnswer, value)


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
        return read_as(WakeNoted, value)


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
        return read_as(SignInAnswer, value)


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
        return read_as(HandOverAnswer, value)


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
        return read_as(EndSessionAnswer, value)


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
        return read_as(VerifyCiAnswer, value)


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
        return read_as(PasswordAnswer, value)


def records_line(form: int, pack: bytes) -> bytes:
    """`RequestRecords` of a pack as it is written, where nothing was lost: made past `json`, which takes three times as long as the
    rest of it, since a worker sends one with every 64 requests."""
    return b'{"do":"request records","form":%d,"pack":"%b"}\n' % (form, b64encode(pack))


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
