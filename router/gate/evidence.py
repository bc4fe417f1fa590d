"""Evidence that a name has a live certificate: visitors reach it by https through Caddy.

`CertificateEvidence` is the gate's need; `MemoryEvidence` learns it from the traffic of this process.

A visitor can put any Host into a connection that was opened for another name, and Caddy passes it on as https. So
only names that the gate would allow anyway leave evidence: a stranger can't talk the gate into a certificate for a name
that is not served here.
"""

from collections.abc import Sequence
from typing import Protocol

from router.clock import Clock
from router.gate.policy import may_be_issued
from router.observe.finished import Finished, SeenRoute

LIFETIME = 90 * 86400.0  # seconds: no certificate authority that Caddy uses by default issues for longer
MOST = 100_000  # names; about 20 MB


class CertificateEvidence(Protocol):
    """What is known about live certificates."""

    def seen(self, host: str) -> bool:
        """Whether a canonical name has a live certificate, as far as is known. At once: no I/O."""


class MemoryEvidence:
    """Names by when they were last reached by https, the longest ago first. The oldest go when there are too many."""

    def __init__(self, clock: Clock, *, most: int = MOST, lifetime: float = LIFETIME) -> None:
        self._now = clock.monotonic
        self._most = most
        self._lifetime = lifetime
        self._seen: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, host: str) -> bool:
        """See `CertificateEvidence`."""
        last = self._seen.get(host)
        return last is not None and self._now() - last <= self._lifetime

    def note(self, host: str, at: float | None = None) -> None:
        """A canonical name has a live certificate now, or had one at an instant of the monotonic clock."""
        at = self._now() if at is None else at
        at = max(at, self._seen.pop(host, at))
        while len(self._seen) >= self._most:
            del self._seen[next(iter(self._seen))]
        self._seen[host] = at

    def since(self, instant: float) -> dict[str, float]:
        """What was seen from then on: for another process."""
        found: dict[str, float] = {}
        for host, at in reversed(self._seen.items()):
            if at < instant:
                break
            found[host] = at
        return found

    def learn(self, batch: Sequence[Finished]) -> None:
        """Take what ended exchanges tell. Their `scheme` is https only where a trusted proxy said so."""
        routes: dict[int, SeenRoute] = {
            id(done.route): done.route for done in batch if done.route is not None and done.scheme == "https"
        }
        for route in routes.values():
            if may_be_issued(route.decision.reason):
                self.note(route.host)
