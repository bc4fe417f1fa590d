"""Evidence that a name has a live certificate: a visitor reached it by https through Caddy, or somebody looked.

`CertificateEvidence` is the gate's need; `MemoryEvidence` is what this process knows: what it learns from its own
traffic, and what `ledger.py` brings from the store and from the node's copy.

A visitor can put any Host into a connection that was opened for another name; deploy/Caddyfile has Caddy refuse that
(`strict_sni_host`). And only names that the gate would allow anyway leave evidence: a stranger can't talk the gate into a
certificate for a name that is not served here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from router.clock import Clock
from router.domains import certificates
from router.gate.policy import may_be_issued
from router.observe.finished import Finished

LIFETIME = certificates.LIFETIME.total_seconds()
MOST = 100_000  # names; about 20 MB
_ANEW = 86400.0  # seconds by which a visit must make evidence last longer before anybody hears of it again
_GONE = 10_000  # removed names that are remembered as such

_Value = TypeVar("_Value")

# Called with a name, the instant of the monotonic clock at which it was reached, and the tenant where that is known.
Listener = Callable[[str, float, str | None], object]


class CertificateEvidence(Protocol):
    """What is known about live certificates."""

    def seen(self, host: str) -> bool:
        """Whether a canonical name has a live certificate, as far as is known. At once: no I/O."""


class MemoryEvidence:
    """Names, and until when each has a certificate. The one that was noted the longest ago goes first when there are too
    many. All instants are of the monotonic clock, except those that `hold` and `live` speak of."""

    def __init__(self, clock: Clock, *, most: int = MOST, lifetime: float = LIFETIME) -> None:
        self._clock = clock
        self._now = clock.monotonic
        self._most = most
        self._lifetime = lifetime
        self._until: dict[str, float] = {}
        # When a name was reached by https, and when we learnt of it: a stream is learnt of when it ends. By the latter.
        self._recent: dict[str, tuple[float, float]] = {}
        self._gone: dict[str, float] = {}
        self._told: dict[str, float] = {}  # until when the listeners, or whoever told us, take the name to have one
        self._listeners: list[Listener] = []

    def __len__(self) -> int:
        return len(self._until)

    def on_visit(self, listener: Listener) -> None:
        """Call `listener` for each name that is reached by https, at most once a day or so."""
        self._listeners.append(listener)

    def seen(self, host: str) -> bool:
        """See `CertificateEvidence`."""
        until = self._until.get(host)
        return until is not None and self._now() <= until

    def note(self, host: str, at: float | None = None, tenant_id: str | None = None) -> None:
        """A canonical name has a live certificate now, or had one at that instant."""
        now = self._now()
        at = now if at is None else at
        if at <= self._gone.get(host, float("-inf")):
            return
        reached, _ = self._recent.get(host, (at, now))
        _put(self._recent, host, (max(at, reached), now), self._most)
        until, before = at + self._lifetime, self._until.get(host, float("-inf"))
        self._keep(host, max(until, before))
        if until - self._told.get(host, float("-inf")) >= _ANEW:
            _put(self._told, host, until, self._most)
            for listener in self._listeners:
                listener(host, at, tenant_id)

    def hold(self, live: Mapping[str, float]) -> None:
        """Names that have certificates until these instants, in seconds since 1970."""
        shift = self._shift()
        for host, until in live.items():
            self._keep(host, until - shift)
            _put(self._told, host, until - shift, self._most)

    def forget(self, host: str) -> None:
        """A name is no longer served. Who reached it before that proves nothing any more."""
        self._until.pop(host, None)
        self._recent.pop(host, None)
        self._told.pop(host, None)
        _put(self._gone, host, self._now(), _GONE)

    def since(self, instant: float) -> dict[str, float]:
        """What we have learnt of from then on, and when it was reached: for another process."""
        found: dict[str, float] = {}
        for host, (at, learnt) in reversed(self._recent.items()):
            if learnt < instant:
                break
            found[host] = at
        return found

    def live(self) -> dict[str, float]:
        """Every name that has a certificate, and until when, in seconds since 1970."""
        shift, now = self._shift(), self._now()
        return {host: until + shift for host, until in self._until.items() if now <= until}

    def learn(self, batch: Sequence[Finished]) -> None:
        """Take what ended exchanges tell. Their `scheme` is https only where a trusted proxy said so.

        What counts is when they began: that is when there was a certificate, and when the name was still served.
        """
        found: dict[int, Finished] = {
            id(done.route): done for done in batch if done.route is not None and done.scheme == "https"
        }
        for done in found.values():
            route = done.route
            if route is not None and may_be_issued(route.decision.reason):
                self.note(route.host, done.started, None if route.resource is None else route.resource.tenant_id)

    def _keep(self, host: str, until: float) -> None:
        _put(self._until, host, until, self._most)

    def _shift(self) -> float:
        """From the monotonic clock to seconds since 1970, as of now: the wall clock may be set."""
        return self._clock.now().timestamp() - self._now()


def _put(names: dict[str, _Value], host: str, value: _Value, most: int) -> None:
    names.pop(host, None)
    while len(names) >= most:
        del names[next(iter(names))]
    names[host] = value
