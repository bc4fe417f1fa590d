"""What processes tell each other over Redis (the bus): one JSON object per message.

    {"from": 41, "to": 43, "keys": {"slug:shop": 43, "name:shop.org": 42}, "moved": ["slug:shop"], "at": 1767225600.5}

In the rows of the outbox after `from` up to `to` these records changed, each in the row whose number stands beside it;
of those in `moved` only the endpoint's address changed. `at` is when the first of them was committed, in seconds since
1970. Without keys it is a heartbeat: everything up to `from` has been published before. `{"probe": …}` is for its sender
alone, who checks that its subscription works.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BusMessage:
    """One message."""

    start: int
    to: int
    changes: Mapping[str, int] = field(default_factory=dict)
    at: float | None = None
    moved: frozenset[str] = frozenset()


PROBE = b'{"probe":true}'


def encode_message(message: BusMessage) -> bytes:
    found = {"from": message.start, "to": message.to, "keys": dict(message.changes), "at": message.at}
    if message.moved:
        found["moved"] = sorted(message.moved)
    return json.dumps(found, separators=(",", ":")).encode()


def decode_message(data: bytes) -> BusMessage | None:
    """The message, or None for a probe. Raises ValueError for what is neither."""
    try:
        message = json.loads(data)
        if "probe" in message:
            return None
        keys = {str(key): int(number) for key, number in message["keys"].items()}
        at = message.get("at")
        moved = frozenset(str(key) for key in message.get("moved", ()))
        return BusMessage(int(message["from"]), int(message["to"]), keys, None if at is None else float(at), moved)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a message of the bus: {type(error).__name__}: {error}") from error
