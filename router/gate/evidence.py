"""Evidence that a name has a live certificate: a visitor reached it by https through Caddy, or it was read.

`MemoryEvidence` is what this process knows: from its own traffic, and through `sync.py` from the store and from the
snapshot on disk. It holds every name that the store has, in little memory (`name_table.py`): if evidence were dropped
for lack of room, Caddy would throw away a valid certificate.

    a visit      there was a certificate then; from that instant it may live for as long as the one that was read last
                 does, or for `UNREAD_LIFETIME` where none was, and no longer
    a reading    it lives until the instant that it says (`certificate_reader.py`, `prefetch.py`). Visits change nothing until its
                 renewal is due; from then on there may be another, so that a visit counts as one again

Evidence never ends before the certificate does, and as soon after it as can be known. A name that visitors reach by an
operator's wildcard has no certificate of its own: what lies under a `*.` that was read or set leaves no evidence. Nor does
what lies under one that the router holds (`handover.py`); what a name had before counts until it ends.

A visitor can put any Host into a connection that was opened for another name; deploy/Caddyfile has Caddy refuse that
(`@misdirected`). And only names that the gate would allow anyway leave evidence: a stranger can't talk the gate into a
certificate for a name that is not served here.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta

from router.base.clock import Clock
from router.domains.certificates import RENEWED_AFTER, UNREAD_LIFETIME, Leaf
from router.gate.name_table import READ, REMOVED, VISITED, Entry, HostTable, Segment
from router.gate.policy import may_be_issued
from router.observe.ended_exchange import Finished

_UNREAD = UNREAD_LIFETIME.total_seconds()
_ANEW = 1 / 90  # of the lifetime, by which a visit must make evidence last longer before listeners hear of it again
_LONGEST = 2**32 - 1  # seconds that a lifetime is counted in
_BRIEF = 10.0  # seconds in which a second visit says nothing new
_RECENT = 300.0  # seconds that a visit can be asked for: more than between two questions of a control process
_MAX_RECENT = 100_000  # names that can be asked for so
_GONE = float("-inf")

# Called with a name, the instant of the monotonic clock at which it was reached, and the tenant where that is known.
# Whether the visit is kept: else the next one is told of again.
Listener = Callable[[str, float, str | None], bool]


class MemoryEvidence:
    """Names, and until when each has a certificate. `wildcards` are domains under whose `*.` the operator has one. All
    instants are of the monotonic clock, except those that `hold` and `live` speak of."""

    def __init__(self, clock: Clock, *, wildcards: Collection[str] = ()) -> None:
        self._clock = clock
        self._now = clock.monotonic
        self._wildcards = frozenset(wildcards)
        self._names = HostTable()
        self._has_wildcards = False  # in the table: most have none, and each visit asks
        self._base = 0.0  # what is added to the instants in the table
        # When a name was reached by https, and when we learnt of it: a stream is learnt of when it ends. By the latter.
        self._recent: dict[str, tuple[float, float]] = {}
        self._listeners: list[Listener] = []
        self._held: Callable[[str], bool] | None = None
        self.complete = True  # or some of what the store knows has not been read yet
        self.copied = False  # while it is not: a snapshot of the last hour had all that the store had then

    def __len__(self) -> int:
        return len(self._names)

    def on_visit(self, listener: Listener) -> None:
        """Call `listener` for each name that is reached by https, at most some ninety times in a certificate's life."""
        self._listeners.append(listener)

    def on_held(self, covers: Callable[[str], bool]) -> None:
        """`covers(domain)` says whether names right under a domain are served by a wildcard that the router holds."""
        self._held = covers

    def seen(self, host: str) -> bool:
        """Whether a canonical name has a live certificate of its own, as far as is known. At once: no I/O."""
        entry = self._names.get(host)
        return entry is not None and self._now() <= entry.until + self._base

    def served(self, host: str) -> bool:
        """Whether visitors reach a name by https: with a certificate of its own, or under a wildcard."""
        return self.seen(host) or self.covers(host.partition(".")[2])

    def covers(self, domain: str) -> bool:
        """Whether the operator or the router has a certificate for `*.` this domain, which the names right under it are
        served with."""
        return self._operator_covers(domain) or self._is_held(domain)

    def _operator_covers(self, domain: str) -> bool:
        return domain in self._wildcards or (self._has_wildcards and self.seen(f"*.{domain}"))

    def _is_held(self, domain: str) -> bool:
        return self._held is not None and self._held(domain)

    def is_sure(self, host: str) -> bool:
        """Whether the certificate that Caddy has of its own for a name is valid for certain: its end was read, or a visitor has
        met it within five minutes."""
        entry, now = self._names.get(host), self._now()
        if entry is None or now > entry.until + self._base:
            return False
        recent = self._recent.get(host)
        return entry.state == READ or (recent is not None and now - recent[0] <= _RECENT)

    def renew(self, host: str) -> None:
        """Caddy may renew the certificate that it has of its own for a name, where visits leave no evidence of that: one that
        the router holds covers it."""
        entry, now = self._names.get(host), self._now()
        lifetime = 0 if entry is None else entry.lifetime
        self._put(host, now + (lifetime or _UNREAD), _GONE, VISITED, lifetime)

    def note(self, host: str, at: float | None = None, tenant_id: str | None = None) -> None:
        """A canonical name has a live certificate now, or had one at that instant. One that lives for longer than the one
        that was read last is known by its reading."""
        self._note(host, at, tenant_id, 0)

    def _note(self, host: str, at: float | None, tenant_id: str | None, shown: int) -> None:
        """`shown` is how long the certificate lives that was met, in seconds; 0 where that is not known."""
        now = self._now()
        at = now if at is None else at
        recent = self._recent.get(host)
        if recent is not None and at - recent[0] < _BRIEF and now - recent[1] < _BRIEF and at <= now:
            return
        zone = host.partition(".")[2]
        if self._operator_covers(zone):
            return
        if self._is_held(zone):
            self._remember(host, at, now)
            return
        base, entry = self._base, self._names.get(host)
        if entry is not None and entry.state == REMOVED and at <= entry.mark + base:
            return
        self._remember(host, at, now)
        known = shown or (0 if entry is None else entry.lifetime)
        lifetime = known or _UNREAD
        until, told = at + lifetime, _GONE
        if entry is not None:
            if entry.state == READ and entry.until + base > at and entry.mark + base > at:
                return  # the certificate that was read, and not due yet
            if entry.state == VISITED:
                until, told = max(until, entry.until + base), entry.mark + base
            elif entry.state == READ:
                until = max(until, entry.until + base)
        if at + lifetime - told >= lifetime * _ANEW:
            kept = [listener(host, at, tenant_id) for listener in self._listeners]
            told = at + lifetime if all(kept) else told
        self._put(host, until, told, VISITED, known)

    def hold(
        self,
        live: Mapping[str, float],
        due: Mapping[str, float] | None = None,
        lifetimes: Mapping[str, timedelta] | None = None,
    ) -> None:
        """Names that have certificates until these instants, in seconds since 1970. They have been read, and are due for
        renewal at the instants `due`, or some time before their end."""
        shift = self._shift()
        for host, until in live.items():
            lifetime = self._lifetime(host, lifetimes)
            early = (lifetime or _UNREAD) * (1 - RENEWED_AFTER)
            self._put(host, until - shift, (until - early if due is None else due[host]) - shift, READ, lifetime)

    def hold_visited(self, live: Mapping[str, float], lifetimes: Mapping[str, timedelta] | None = None) -> None:
        """Names that others know to have been reached: certificates live until these instants at the latest, in seconds
        since 1970. Certificates that were read last live for `lifetimes`."""
        shift = self._shift()
        for host, until in live.items():
            if self._operator_covers(host.partition(".")[2]):
                continue
            entry = self._names.get(host)
            known = _GONE if entry is None else entry.until + self._base
            self._put(host, max(until - shift, known), until - shift, VISITED, self._lifetime(host, lifetimes))

    def read(self, host: str, leaf: Leaf) -> None:
        """Caddy has just shown a name's certificate."""
        if leaf.not_after <= self._clock.now():  # it is live for all that: our clock is ahead
            self._note(host, None, None, self._lifetime(host, {host: leaf.lifetime}))
            return
        self.hold({host: leaf.not_after.timestamp()}, {host: leaf.due_at.timestamp()}, {host: leaf.lifetime})

    def forget(self, host: str) -> None:
        """A name is no longer served. Who reached it before that proves nothing any more."""
        self._recent.pop(host, None)
        self._put(host, _GONE, self._now(), REMOVED)

    def since(self, instant: float) -> dict[str, float]:
        """What we have learnt of from then on, and when it was reached: for another process."""
        found: dict[str, float] = {}
        for host, (at, learnt) in reversed(self._recent.items()):
            if learnt < instant:
                break
            found[host] = at
        return found

    def until(self, host: str) -> float | None:
        """Until when a name has a certificate of its own, in seconds since 1970; None where it has none."""
        entry = self._names.get(host)
        if entry is None or self._now() > entry.until + self._base:
            return None
        return entry.until + self._base + self._shift()

    def is_read(self, host: str) -> bool:
        """Whether a name's certificate was read, and is the one that it has now as far as is known."""
        entry = self._names.get(host)
        return entry is not None and entry.state == READ and self._now() <= entry.mark + self._base

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

    # For the snapshot on disk (`snapshot.py`).

    @property
    def key(self) -> bytes:
        """The secret of the table's hashes."""
        return self._names.key

    @property
    def shift(self) -> float:
        """What is to be added to the table's instants to have seconds since 1970, as of now."""
        return self._shift() + self._base

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """The table's parts, with their numbers."""
        for number, part in enumerate(self._names.segments):
            if part is not None:
                yield number, part

    def take(self, key: bytes, shift: float, segments: Mapping[int, Segment]) -> None:
        """Replace everything by the content of a snapshot. Raises ValueError where it is none."""
        names = HostTable(key)
        for number, segment in segments.items():
            names.put_segment(number, segment)
        self._names, self._base, self._has_wildcards = names, shift - self._shift(), True

    def _remember(self, host: str, at: float, now: float) -> None:
        recent = self._recent
        before = recent.pop(host, None)
        recent[host] = (at if before is None else max(at, before[0]), now)
        while recent:
            oldest = next(iter(recent))
            if now - recent[oldest][1] <= _RECENT and len(recent) <= _MAX_RECENT:
                break
            del recent[oldest]

    def _lifetime(self, host: str, lifetimes: Mapping[str, timedelta] | None) -> int:
        """How long the name's certificate lives, of those that are given or else as is known, in seconds; 0 for unknown."""
        given = None if lifetimes is None else lifetimes.get(host)
        if given is not None:
            return min(max(math.ceil(given.total_seconds()), 0), _LONGEST)
        entry = self._names.get(host)
        return 0 if entry is None else entry.lifetime

    def _put(self, host: str, until: float, mark: float, state: int, lifetime: int = 0) -> None:
        base = self._base
        self._has_wildcards = self._has_wildcards or host.startswith("*.")
        self._names.put(host, Entry(until - base, mark - base, state, lifetime), self._now() - base)

    def _shift(self) -> float:
        """From the monotonic clock to seconds since 1970, as of now: the wall clock may be set."""
        return self._clock.now().timestamp() - self._now()
