"""What goes over the bus: one JSON object a message.

    {"from": 41, "to": 43, "keys": {"slug:shop": 43, "name:shop.org": 42}, "at": 1767225600.5}

Between the changes with the numbers `from` (excluded) and `to` (included), these records changed, each in the change
whose number stands beside it; `at` is when the first of them was committed, in seconds of the epoch. Without keys it
is a heartbeat: everything up to `from` has been told before. `{"probe": …}` asks nothing of anybody: whoever sent it
wants to hear itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class News:
    """One message."""

    start: int
    to: int
    changes: Mapping[str, int] = field(default_factory=dict)
    at: float | None = None


PROBE = b'{"probe":true}'


def encode_news(news: News) -> bytes:
    message = {"from": news.start, "to": news.to, "keys": dict(news.changes), "at": news.at}
    return json.dumps(message, separators=(",", ":")).encode()


def decode_news(data: bytes) -> News | None:
    """The news, or None for a probe. Raises ValueError for what is neither."""
    try:
        message = json.loads(data)
        if "probe" in message:
            return None
        keys = {str(key): int(number) for key, number in message["keys"].items()}
        at = message.get("at")
        return News(int(message["from"]), int(message["to"]), keys, None if at is None else float(at))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not news: {type(error).__name__}: {error}") from error
