"""What a process that carries traffic does for `tap`: of the exchanges that end, pass on those that an operator wants to see.

While nobody taps, none of this runs: the consumer of ended exchanges is added with the first tap and removed with the last.
A tap is a lease, which the control process renews: one whose control process has gone ends by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from router.base.clock import Clock
from router.observe.ended_exchange import Finished
from router.observe.endings import COMBINATIONS
from router.observe.recorder import Recorder
from router.observe.secrets import mask_keys
from router.records.record import network_of

LEASE: Final = 10.0  # seconds
MAX_TAPS: Final = 8  # at once, on a node
_MAX_TEXT: Final = 1024  # bytes of one field
_MAX_ROWS: Final = 200  # of one message between processes

Send = Callable[[str, Mapping[str, Any]], bool]


class TapFilter:
    """Which exchanges. `wanted` has conditions, all of which must hold: `host`, or one of `resource` (id or slug) and `tenant` (id);
    `path` (a part of it), `status` (lowest and highest), `ending`."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._host: str | None = wanted.get("host")
        self._resource: str | None = wanted.get("resource")
        self._tenant: str | None = wanted.get("tenant")
        path = wanted.get("path")
        self._path = None if path is None else path.encode()
        status = wanted.get("status")
        self._status = None if status is None else (int(status[0]), int(status[1]))
        self._ending: str | None = wanted.get("ending")

    def matches(self, done: Finished) -> bool:
        """Whether it is one of them."""
        if self._status is not None and not self._status[0] <= done.status <= self._status[1]:
            return False
        if self._ending is not None and done.ending != self._ending:
            return False
        if self._path is not None and self._path not in done.target.partition(b"?")[0]:
            return False
        if self._host is not None:
            return _host(done) == self._host
        resource = None if done.route is None else done.route.resource
        if resource is None:
            return False
        # A name that may be either's, as an id is, is given for both.
        return self._resource in (resource.id, resource.slug) or self._tenant == resource.tenant_id


class _Tap:
    def __init__(self, identity: str, wanted: Mapping[str, Any], per_second: int, until: float) -> None:
        self.identity = identity
        self.filter = TapFilter(wanted)
        self.per_second = per_second
        self.until = until
        self.dropped = 0
        self.second = 0.0
        self.left = per_second

    def may(self, now: float) -> bool:
        """Whether another one may be shown in this second."""
        if now >= self.second + 1:
            self.second = now
            self.left = self.per_second
        if self.left == 0:
            return False
        self.left -= 1
        return True


class Tapping:
    """The taps of this process. `send(event, about)` tells the control process, and is False where that does not read."""

    def __init__(self, recorder: Recorder, send: Send, clock: Clock) -> None:
        self._recorder = recorder
        self._send = send
        self._clock = clock
        self._taps: dict[str, _Tap] = {}

    def tap(self, arguments: Mapping[str, Any]) -> bool:
        """Begin with a tap, or go on with it for as long as a lease: `tap` names it, `wanted` says which exchanges, `per_second` how
        many at most."""
        until = self._clock.monotonic() + LEASE
        identity = str(arguments["tap"])
        known = self._taps.get(identity)
        if known is not None:
            known.until = until
        elif len(self._taps) >= MAX_TAPS:
            return False
        else:
            if not self._taps:
                self._recorder.add_consumer(self._consume)
            self._taps[identity] = _Tap(identity, arguments["wanted"], int(arguments["per_second"]), until)
        return True

    def untap(self, arguments: Mapping[str, Any]) -> bool:
        """End one."""
        return self._end(str(arguments["tap"]))

    def _end(self, identity: str) -> bool:
        found = self._taps.pop(identity, None) is not None
        if found and not self._taps:
            self._recorder.remove_consumer(self._consume)
        return found

    def _consume(self, batch: Sequence[Finished]) -> None:
        now = self._clock.monotonic()
        epoch = self._clock.now().timestamp() - now
        for tap in list(self._taps.values()):
            if now >= tap.until:
                self._end(tap.identity)
                continue
            rows: list[dict[str, Any]] = []
            for done in batch:
                if not tap.filter.matches(done):
                    continue
                if len(rows) < _MAX_ROWS and tap.may(now):
                    rows.append(shown(done, epoch))
                else:
                    tap.dropped += 1
            if not rows and not tap.dropped:
                continue
            dropped, tap.dropped = tap.dropped, 0
            if not self._send("tap", {"tap": tap.identity, "rows": rows, "dropped": dropped}):
                tap.dropped = dropped + len(rows)


def shown(done: Finished, epoch: float, now: float | None = None) -> dict[str, Any]:
    """An exchange as tools show it: names as in request records, `at` in seconds since 1970. Nothing of bodies, headers and queries. `now`
    is the instant until which times are of one that has not ended."""
    route = done.route
    resource = None if route is None else route.resource
    ended = done.ended if now is None else now
    return {
        "at": round(ended + epoch, 3),
        "request_id": _text(done.id),
        "host": _host(done),
        "method": _text(done.method),
        "path": _text(done.target.partition(b"?")[0]),
        "status": done.status,
        "ending": done.ending,
        "ending_text": COMBINATIONS.get(done.ending),
        "error": None if done.problem is None else done.problem.code,
        "bytes_in": done.received,
        "bytes_out": done.sent,
        "duration_ms": _milliseconds(done.started, ended),
        "first_byte_ms": _milliseconds(done.started, done.first_byte) if done.first_byte else None,
        "queue_ms": _milliseconds(done.queued_at, done.admitted_at or ended) if done.queued_at else 0.0,
        "dial_ms": _milliseconds(done.dialled_at, done.connected_at or ended) if done.dialled_at else 0.0,
        "wake_ms": _milliseconds(done.held_at, done.woken_at or ended) if done.held_at else 0.0,
        "tunnel": done.tunnel,
        "client_network": network_of(done.client.encode("ascii", "replace")) or None,
        "resource_id": None if resource is None else resource.id,
        "tenant_id": None if resource is None else resource.tenant_id,
        "version_id": None if resource is None else resource.deployment_version or None,
        "backend": done.backend or None,
    }


def _host(done: Finished) -> str:
    """The visited host without its port, in lower case."""
    if done.route is not None:
        return done.route.host
    host = done.host[:_MAX_TEXT].decode("ascii", "backslashreplace").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].removesuffix(".")


def _text(raw: bytes) -> str:
    raw = mask_keys(raw)
    text = raw[:_MAX_TEXT].decode("utf-8", "backslashreplace")
    return text if len(raw) <= _MAX_TEXT else text + "…"


def _milliseconds(since: float, until: float) -> float:
    return round((until - since) * 1000, 3)
