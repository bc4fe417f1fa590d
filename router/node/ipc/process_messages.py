"""Every message between the supervisor and the processes that it starts. Each is one packet of a `ControlSocket`
(`processes/control_socket.py`), some with a socket. Apart from those of `messages.py`, which the supervisor would load for nothing.

| message           | sent by         | to              | answered with |
|-------------------|-----------------|-----------------|---------------|
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
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.node.ipc.wire import Direction, Message

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
    """The supervisor asks for a heartbeat at once, because a client has connected: the next regular one may be a second away."""

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


TO_CHILD = Direction(Start, Connect, StandIn, StandBack, HeartbeatRequest, ReopenLogs, Drain, End)
TO_SUPERVISOR = Direction(Ready, Failed, Heartbeat, SetLogLevels)
