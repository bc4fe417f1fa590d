"""A call of the platform that wakes a resource: what it says, and what is made of each answer. Pure.

| answer                      | what it means                        | the wake is |
|-----------------------------|--------------------------------------|-------------|
| 2xx                         | it is on its way                     | `starting`  |
| 402, 403                    | it may not: no credit, not allowed   | `refused`   |
| 409                         | it can't                             | `refused`   |
| none, 408, 425, 429, 5xx    | the platform is in trouble           | asked again, and `failed` in the end |
| anything else               | it does not know what we want        | `failed`    |
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from router.routes.wakes import WakeState
from router.tenancy.deliveries import Attempt
from router.tenancy.signatures import signatures
from router.tenancy.wakes import Sleeper, StoredWake

_REFUSALS = frozenset({402, 403, 409})
_LATER = frozenset({408, 425, 429})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds; doubled each time


class Caller(Protocol):
    async def call(self, body: bytes, headers: Mapping[str, str], within: float) -> Attempt:
        """POST it to the platform, within so many seconds. What goes wrong is in the result, never raised."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means. `state` None: ask again after `pause` seconds, and if there is no time left, it has failed.
    `result` is its name in the metric `wake_calls`, `usable` whether the platform answered as it should."""

    state: WakeState | None
    result: str
    usable: bool
    pause: float = 0.0


def judge(attempt: Attempt, tries: int, jitter: float) -> Verdict:
    """What an answer means, after that many tries; `jitter` varies the pause."""
    code = attempt.status
    if attempt.delivered:
        return Verdict(WakeState.STARTING, "accepted", usable=True)
    if code in _REFUSALS:
        return Verdict(WakeState.REFUSED, "refused", usable=True)
    if code is not None and code < 500 and code not in _LATER:
        return Verdict(WakeState.FAILED, "not_understood", usable=True)
    pause = min(_FIRST_PAUSE * 2.0 ** min(tries - 1, 10), _LONGEST_PAUSE) * jitter
    result = "no_answer" if code is None else "trouble"
    return Verdict(None, result, usable=False, pause=max(pause, attempt.wait))


def message(wake: StoredWake, sleeper: Sleeper, secret: str, now: datetime) -> tuple[bytes, Mapping[str, str]]:
    """The body and the headers of one call. Its id is the wake's: the platform may see it more than once."""
    body = json.dumps(
        {
            "resource_id": wake.resource_id,
            "tenant_id": sleeper.tenant_id,
            "kind": sleeper.kind,
            "slug": sleeper.slug,
            "port": wake.port,
            "reason": wake.reason,
            "request_id": wake.request_id,
        }
    ).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "miosa-router wake"}
    return body, headers | signatures(body, wake.id, (secret,), int(now.timestamp()))
